"""Every error this program raises on purpose. Each says what a person does next; none is ever swallowed."""

from __future__ import annotations

from typing import Any

from collector import hush


class CollectorError(Exception):
    """The root of the family. The command line catches this one, prints it, and exits.

    Its words become reasons in evidence, alerts, the log and the terminal, and often quote a library or a cloud: so no
    secret comes into them.
    """

    def __init__(self, *words: Any) -> None:
        super().__init__(*(hush.without(word) if isinstance(word, str) else word for word in words))


class ConfigError(CollectorError):
    """The operator's files cannot be used as they stand: mend the named key."""


class BadCheck(CollectorError):
    """A check breaks the contract; nothing starts until it is mended or removed."""


class StoreError(CollectorError):
    """The database cannot be opened, is of another version, or refuses to be written."""


class LedgerBroken(CollectorError):
    """The ledger does not verify. The message names the first entry, tile or checkpoint that is wrong."""


class ExportError(CollectorError):
    """A package cannot be written as asked."""


class StoodStill(CollectorError):
    """A run took longer than any may: the machine or the process slept in it, and what it read is of no one time."""


class CannotObserve(CollectorError):
    """A cloud gave no answer. Whatever was asked is undetermined: never satisfied, never an empty list."""

    code = "cannot-observe"


class Denied(CannotObserve):
    """The cloud refused: grant the permission that the check declares, or renew the credentials."""

    code = "denied"


class Throttled(CannotObserve):
    """The cloud asked us to slow down for longer than the deadline allows: the next run tries again."""

    code = "throttled"


class Unavailable(CannotObserve):
    """The cloud failed or did not answer in time: the next run tries again."""

    code = "unavailable"


class Disabled(CannotObserve):
    """The service or its API is not enabled here: enable it, or take the check out of the control file."""

    code = "disabled"


class Unreadable(CannotObserve):
    """The cloud answered with something nobody expected: teach the check the new answer."""

    code = "unreadable"


class NeverAsked(CannotObserve):
    """A kept transcript was asked a question that the run never put to the cloud."""

    code = "never-asked"

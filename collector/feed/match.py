"""Which checks and which known subjects an event is about. Pure; what it leaves out, the next full run looks at."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

from collector.feed.event import Asked, Event
from collector.model import Scope

VERB = re.compile(r"[A-Z][a-z]*")
NOUN_CHARACTERS_MIN = 6
LAG = timedelta(seconds=5)  # an event's time is cut to its second, and reads may lag behind writes


class Card(Protocol):
    """What of a check's card is used here."""

    @property
    def permissions(self) -> tuple[str, ...]: ...
    @property
    def parted(self) -> bool: ...


class Pair(NamedTuple):
    """One check over one scope that was run before, and when the newest run began to look."""

    check: str
    scope: Scope
    looked: datetime


def asked(
    event: Event, pairs: Iterable[Pair], cards: Mapping[str, Card], subjects: Callable[[str, str], Collection[str]]
) -> Iterator[Asked]:
    """What to look at again. ``subjects`` gives those that the ledger knows for a check over a scope.

    A check is concerned when it asks the service that the event is of. Of its subjects those are, that the event names
    in full or by their last part; and the only one of a scope, such as an account's setting, when the event and a
    permission of the check speak of the same thing. What checks themselves ask is in the clouds' logs too, as
    ``GenerateCredentialReport`` and ``.../list/action``, and changes nothing: looking again would ask it again, and so
    for ever. A pair that was looked at ``LAG`` after the event has seen it.
    """
    asks = {text.lower() for card in cards.values() for name in card.permissions for text in (name, split(name)[1])}
    for pair in pairs:
        card = cards.get(pair.check)
        scope = pair.scope
        if card is None or (scope.cloud, scope.account) != (event.cloud, event.account) or pair.looked > event.at + LAG:
            continue
        if scope.part and event.part and scope.part != event.part:
            continue
        mine = [
            action
            for service, action in map(split, card.permissions)
            if not event.service or service.lower() == event.service.lower()
        ]
        if not mine or event.action.lower() in asks:
            continue
        known = subjects(pair.check, str(scope))
        found = {subject for subject in known if named(subject, event)}
        if (
            not found
            and event.cloud == "aws"
            and len(known) == 1
            and any(same_thing(event.action, action) for action in mine)
        ):
            found = set(known)
        if found:
            yield Asked(pair.check, scope, frozenset(found))


def named(subject: str, event: Event) -> bool:
    """Whether an event names a subject. AWS says now the ARN, now its last part; Azure writes ids in any case."""
    if event.cloud == "azure":
        return subject.lower() in event.names
    return subject in event.names or (event.cloud == "aws" and last_part(subject) in event.names)


def split(permission: str) -> tuple[str, str]:
    """Service and action of a permission: ``s3:GetBucketPolicy``, ``Microsoft.Storage/.../read``, ``storage.x.get``."""
    if ":" in permission:
        service, _, action = permission.partition(":")
    elif "/" in permission:
        service, _, action = permission.partition("/")
    else:
        service, _, action = permission.partition(".")
    return service, action


def last_part(subject: str) -> str:
    return re.split(r"[:/]", subject)[-1]


def same_thing(changing: str, reading: str) -> bool:
    """Whether two actions have their object in common: DisableEbsEncryptionByDefault, GetEbsEncryptionByDefault."""
    one, other = (VERB.sub("", action, count=1).removesuffix("s") for action in (changing, reading))
    return min(len(one), len(other)) >= NOUN_CHARACTERS_MIN and (one in other or other in one)

"""The witness as it stands in its folder: its key, its memory, and the cosigning that joins them. Speaks no HTTP.

witness.key     its private key, for its own eyes (mode 0600)
witness.vkey    its public key, for the log's operator and for everybody who verifies
witness.db      what it remembers
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from collector.errors import ConfigError
from collector.ledger import cosignature
from collector.ledger.cosignature import WitnessKey
from collector.ledger.note import BadNote, Note, TreeHead, VerifierKey, check_name
from collector.ledger.seal import FileSigner
from collector.witness.service import Accepted, BadRequest, Known, Refusal, Request, decide
from collector.witness.store import LogState, Store, View

KEY, VKEY, DATABASE = "witness.key", "witness.vkey", "witness.db"
ORIGIN_CHARACTERS_MAX = 200
BACKWARDS_SECONDS_MAX = 5  # clocks are slewed; more than that is a clock that was set

log = structlog.get_logger(__name__)

Clock = Callable[[], int]
"""Now, in unix seconds."""


@dataclass(frozen=True)
class Answer:
    """What is sent back for an add-checkpoint request."""

    status: int  # of HTTP
    body: str
    content_type: str = "text/plain; charset=utf-8"


class ClockBehind(Exception):
    """Our own clock is behind our last cosignature: a cosignature now would state what is not known."""


class Keeper:
    """A witness. Safe to use from many threads, and beside other processes on the same folder."""

    def __init__(self, folder: Path, signer: FileSigner, store: Store, clock: Clock) -> None:
        self.folder = folder
        self.key = WitnessKey(signer.key.name, signer.key.public)
        self.store = store
        self._signer = signer
        self._clock = clock

    @classmethod
    def begin(cls, folder: Path, name: str, clock: Clock) -> Keeper:
        """Makes a witness in ``folder``. Raises ConfigError when there is one, or the folder cannot be written."""
        try:
            check_name(name)
        except BadNote as error:
            raise ConfigError(str(error)) from error
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if (folder / VKEY).exists():
                raise ConfigError(f"{folder} already holds a witness; it was not touched")
            signer = FileSigner.open(folder / KEY, name, create=True)
            store = Store.open(folder / DATABASE, create=True)
            keeper = cls(folder, signer, store, clock)
            _write(folder / VKEY, f"{keeper.key}\n")  # last: with it the witness is whole
        except OSError as error:
            raise ConfigError(f"{folder} cannot be written ({error.strerror}); name another folder") from error
        return keeper

    @classmethod
    def open(cls, folder: Path, clock: Clock) -> Keeper:
        """Raises ConfigError or StoreError when there is no witness in ``folder``, or it is not whole."""
        try:
            text = (folder / VKEY).read_text("utf-8")
            key = WitnessKey.parse(text.removesuffix("\n"))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"there is no witness in {folder}; begin one with `collector witness init` or name the right folder"
            ) from error
        except BadNote as error:
            raise ConfigError(f"{folder / VKEY}: {error}") from error
        signer = FileSigner.load(folder / KEY, key.name)
        if signer.key.public != key.public:
            raise ConfigError(f"{folder / KEY} is not the private half of {key}; bring the right one back")
        return cls(folder, signer, Store.open(folder / DATABASE), clock)

    def close(self) -> None:
        self.store.close()

    # --- what the operator says ---

    def trust(self, vkey: str, begin: str | None = None) -> VerifierKey:
        """Serves the log whose key is ``vkey`` from now on; a further key of the same log goes on where it stands.

        ``begin`` is a checkpoint signed by that key: the first one to be cosigned has to continue it. Without it, the
        first checkpoint that comes is believed. Raises ConfigError.
        """
        try:
            key = VerifierKey.parse(vkey.strip())
            head = None if begin is None else _signed_head(begin, key)
        except BadNote as error:
            raise ConfigError(str(error)) from error
        with self.store.writing() as view:
            view.trust(key, self._clock())
            if head is not None and begin is not None:
                state = view.known(key.name, head.size)
                assert state is not None
                if state.size:
                    raise ConfigError(
                        f"{key.name} already stands at {state.size} entries; a beginning can only be given before"
                    )
                self._cosign(view, head, begin, after=0)
        log.info("trusted", origin=key.name, key=str(key), begin=0 if head is None else head.size)
        return key

    def distrust(self, vkey: str) -> VerifierKey:
        """Cosigns nothing more that only ``vkey`` has signed. What is known of the log stays. Raises ConfigError."""
        try:
            key = VerifierKey.parse(vkey.strip())
        except BadNote as error:
            raise ConfigError(str(error)) from error
        with self.store.writing() as view:
            view.distrust(key, self._clock())
        log.info("distrusted", origin=key.name, key=str(key))
        return key

    def logs(self) -> list[LogState]:
        with self.store.reading() as view:
            return view.logs()

    # --- what a log asks ---

    def add(self, body: bytes) -> Answer:
        """Cosigns the checkpoint of an add-checkpoint request, or says why not. Raises StoreError."""
        try:
            request = Request.parse(body)
        except BadRequest as error:
            return Answer(400, f"{error}\n")
        # Looked at twice: without the lock, so that nobody without a log's key can hold it, and then with it.
        with self.store.reading() as view:
            found = decide(request, self._known(view, request))
        if isinstance(found, Refusal) and found.incident is None:
            return _refused(request, found)
        with self.store.writing() as view:
            found = decide(request, self._known(view, request))
            if isinstance(found, Accepted):
                try:
                    line = self._cosign(view, found.head, found.note, after=request.old)
                except ClockBehind as error:
                    return Answer(503, f"{error}\n")
            elif found.incident is not None:
                head, what, text = request.head, found.incident, request.note.text
                if view.keep_incident(head, what, text, body, self._clock()):
                    log.error("incident", origin=head.origin, size=head.size, what=what.value, why=found.words)
        # only now is it on the disk
        if isinstance(found, Refusal):
            return _refused(request, found)
        log.info("cosigned", origin=found.head.origin, size=found.head.size)
        return Answer(200, line)

    @staticmethod
    def _known(view: View, request: Request) -> Known | None:
        return view.known(request.head.origin, request.head.size)

    def _cosign(self, view: View, head: TreeHead, note: str, *, after: int) -> str:
        """Signs and keeps a checkpoint that continues what is known; returns the signature line."""
        now, last = self._clock(), view.time(head.origin)
        if now < last - BACKWARDS_SECONDS_MAX:
            log.error("clock", behind_s=last - now)
            raise ClockBehind(f"the clock of this witness is {last - now} s behind its last cosignature")
        time = max(now, last)
        line = cosignature.sign(self.key, self._signer.sign, Note.parse(note).text, time)
        view.keep(head, note + line, time, after=after)
        return line

    # --- what an auditor takes away ---

    def newest(self, origin: str) -> str | None:
        """The newest checkpoint of a log with the log's signature and ours; None when there is none."""
        with self.store.reading() as view:
            state = view.log(origin)
        return None if state is None else state.note or None

    def export(self, out: Path, origin: str) -> int:
        """Writes a trust folder for packages of one log: every checkpoint cosigned, and the keys that are trusted.

        Incidents go into its folder ``incidents``, as they were sent. Returns the number of checkpoints. Raises
        ConfigError when the log is unknown, has no checkpoint yet, or the folder is not new.
        """
        partial = out.with_name(f"{out.name}.partial")
        if out.exists() or partial.exists():
            raise ConfigError(f"{out if out.exists() else partial} is already there; name a new folder")
        with self.store.reading() as view:
            state = view.log(origin)
            if state is None or not state.note:
                raise ConfigError(f"nothing of {origin} was ever cosigned here")
            try:
                partial.mkdir(parents=True)
                for kept in view.checkpoints(origin):
                    (partial / f"{kept.size:020d}.note").write_text(kept.note, "utf-8", newline="\n")
                # the same size may have been cosigned again since: the newest time says more
                (partial / f"{state.size:020d}.note").write_text(state.note, "utf-8", newline="\n")
                (partial / "log.vkey").write_text("".join(f"{key}\n" for key in state.keys), newline="\n")
                (partial / "witness.vkey").write_text(f"{self.key}\n", newline="\n")
                for incident in view.incidents(origin):
                    (partial / "incidents").mkdir(exist_ok=True)
                    name = f"{incident.seq:08d}-{incident.what.value}-{incident.size}.request"
                    (partial / "incidents" / name).write_bytes(incident.request)
                partial.rename(out)
            except OSError as error:
                raise ConfigError(f"{out} cannot be written ({error.strerror}); name another folder") from error
        return state.checkpoints


def _refused(request: Request, refusal: Refusal) -> Answer:
    # anybody can send anything: what is said about it is short, and no terminal takes it for a command
    origin = repr(request.head.origin[:ORIGIN_CHARACTERS_MAX])
    log.info("refused", origin=origin, size=request.head.size, status=refusal.status, why=refusal.words)
    if refusal.size is not None:
        return Answer(refusal.status, f"{refusal.size}\n", "text/x.tlog.size")
    return Answer(refusal.status, f"{refusal.words}\n")


def _signed_head(checkpoint: str, key: VerifierKey) -> TreeHead:
    note = Note.parse(checkpoint)
    note.verify([key])
    head = TreeHead.parse(note.text)
    if head.origin != key.name:
        raise BadNote(f"the checkpoint is of {head.origin}, the key is of {key.name}")
    return head


def _write(path: Path, text: str) -> None:
    """All of the file or none of it, also when the power fails."""
    new = path.with_suffix(".new")
    with new.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)

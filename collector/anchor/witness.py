"""A C2SP witness as a place: it cosigns a checkpoint only if that continues the one it cosigned before.

Speaks c2sp.org/tlog-witness as a client, to `collector witness serve` as to any other. Keeps nothing: how far the
witness has come is asked of itself.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from urllib.parse import quote

from collector.anchor.base import Ahead, Anchored, Believe, Consistency, anything
from collector.anchor.post import Reply, ask
from collector.config_places import WitnessPlace
from collector.errors import ConfigError, Denied, LedgerBroken, Throttled, Unavailable, Unreadable
from collector.ledger import cosignature, note
from collector.ledger.cosignature import Cosignature, WitnessKey
from collector.ledger.merkle import EMPTY_ROOT
from collector.ledger.note import BadNote, Note, TreeHead, VerifierKey

ANSWER_BYTES_MAX = 131_072  # a checkpoint with 16 post-quantum signatures has 107,000
PROOF_LINES_MAX = 63
TRIES_MAX = 4  # the first with what we remember, one with what the witness says; others may be at it at the same time
CLOCKS_SECONDS_MAX = 300  # docs/decisions/0006: what the verifier allows two clocks to differ
SIZE = "text/x.tlog.size"
NOBODY = "evidence-collector.invalid/probe"


def utc_now() -> datetime:
    return datetime.now(UTC)


class WitnessAnchor:
    """One witness. ``origin`` is this ledger's; without it the witness cannot be asked what it holds before ``put``."""

    def __init__(
        self, name: str, place: WitnessPlace, origin: str = "", clock: Callable[[], datetime] = utc_now
    ) -> None:
        """Raises ConfigError when the configured key is none of a witness."""
        self._name = name
        self._place = place
        self._url = place.url.rstrip("/")
        self._origin = origin
        self._clock = clock
        self._size = 0  # what the witness cosigned last, as far as we know
        try:
            self._key = WitnessKey.parse(place.vkey)
        except BadNote as error:
            raise ConfigError(f"[anchors.witness.{name}] vkey: {error}") from error

    @property
    def id(self) -> str:
        return f"witness/{self._name}"

    def test(self) -> None:
        """Sends a checkpoint that nobody signed, and expects to be refused for exactly that.

        Nothing else of the protocol can be tried without leaving a trace. Raises one of the ``CannotObserve`` family.
        """
        text = TreeHead(self._origin or NOBODY, 0, EMPTY_ROOT).text()
        unsigned = note.signed(text, VerifierKey("probe", bytes(32)), bytes(64))
        reply = self._add(0, (), unsigned.encode())
        if reply.status == 403 or (reply.status == 404 and not self._origin):
            return
        self._refuse(reply)
        raise Unreadable(f"{self.id} answered a checkpoint that nobody signed with HTTP {reply.status}: not a witness")

    def put(self, note: bytes, head: TreeHead, consistency: Consistency) -> Anchored:
        """Has the checkpoint cosigned. The token is the note with the witness's signature line under it.

        Raises LedgerBroken when the witness has cosigned a larger tree (``Ahead``) or another history.
        """
        self._origin = head.origin
        old = self._size if self._size <= head.size else 0
        for _ in range(TRIES_MAX):
            reply = self._add(old, consistency(old) if old else (), note)
            if reply.status != 409 or not _is_size(reply):
                break
            told = _size(reply, self.id)
            if told > head.size:
                raise self._ahead(told, head)
            if told == old:
                raise Unreadable(f"{self.id} stands at {told} entries, and refuses a proof that begins there")
            old = told
        else:
            raise Unavailable(
                f"{self.id} is being moved on by others at the same time; the next checkpoint tries again"
            )
        if reply.status in (409, 422):
            raise LedgerBroken(
                f"{self.id} holds another history: it does not find that the {head.size} entries begin with the {old} "
                "that it cosigned before. Either history was rewritten here, or it was led to cosign a forged one: "
                "keep both for whoever looks into it, and sign nothing"
            )
        self._refuse(reply)
        if reply.status != 200:
            raise Unreadable(f"{self.id} answered HTTP {reply.status}; see that its URL is right")
        given = self._cosigned(Note.parse(note.decode()).text, reply)
        self._size = head.size
        time = datetime.fromtimestamp(given.time, UTC)
        return Anchored(note + given.line.encode(), "note", time, self._url)

    def latest(self, believe: Believe = anything) -> TreeHead | None:
        """What the witness cosigned last of this ledger, where it shows it as ours does.

        The protocol has no such question: other witnesses say it only in refusing the next checkpoint.

        ``believe`` is not asked: what the configured witness cosigned, it has found signed by a key that it trusts. An
        old copy of the ledger, from before its key was replaced, would not believe it, and not find out that it is one.
        """
        if not self._origin:
            return None
        reply = self._ask(f"{self._url}/{quote(self._origin)}/checkpoint")
        if reply.status in (400, 403, 404, 405):
            return None
        self._refuse(reply)
        try:
            found = Note.parse(reply.body.decode())
            cosignature.verify(found, [self._key])
            head = TreeHead.parse(found.text)
        except (BadNote, UnicodeDecodeError) as error:
            raise Unreadable(
                f"what {self.id} shows as its newest checkpoint is none that it cosigned: {error}"
            ) from error
        if head.origin != self._origin:
            raise Unreadable(f"{self.id} was asked for {self._origin} and shows a checkpoint of another log")
        return head

    # --- the wire ---

    def _add(self, old: int, proof: Sequence[bytes], note: bytes) -> Reply:
        if len(proof) > PROOF_LINES_MAX:
            raise ValueError(f"a proof of {len(proof)} hashes; no tree has more than {PROOF_LINES_MAX}")
        lines = [f"old {old}", *(base64.b64encode(hash).decode() for hash in proof), "", ""]
        return self._ask(f"{self._url}/add-checkpoint", "\n".join(lines).encode() + note)

    def _ask(self, url: str, body: bytes | None = None) -> Reply:
        return ask(
            url,
            body,
            "text/plain; charset=utf-8",
            timeout=self._place.timeout,
            answer_bytes_max=ANSWER_BYTES_MAX,
        )

    def _refuse(self, reply: Reply) -> None:
        """Raises what a refusal means that says nothing about our history."""
        trust = f"its operator runs: collector witness trust VKEY, with a key of {self._origin or 'this ledger'}"
        match reply.status:
            case 200:
                return
            case 404:
                raise Denied(
                    f"{self.id} does not know this ledger (or is no witness: see that its URL is right); {trust}"
                )
            case 401 | 403 | 407:
                raise Denied(f"{self.id} does not trust the key that signed the checkpoint; {trust}")
            case 429:
                raise Throttled(f"{self.id} asked us to slow down: HTTP 429")
            case status if status >= 500:
                raise Unavailable(f"{self.id} cannot cosign now: HTTP {status}; its own log says why")
            case status if 300 <= status < 400:
                raise Unreadable(f"{self.id} sends us elsewhere: HTTP {status}; configure the final URL")
            case status:
                raise Unreadable(
                    f"{self.id} did not take what a witness takes: HTTP {status}; see that its URL is right"
                )

    def _cosigned(self, text: str, reply: Reply) -> Cosignature:
        """The newest cosignature in the answer by the configured key. Raises Unreadable when none stands."""
        try:
            found = cosignature.verify(Note.parse(f"{text}\n{reply.body.decode()}"), [self._key])
        except (BadNote, UnicodeDecodeError) as error:
            raise Unreadable(f"what {self.id} gave is no cosignature by its configured key: {error}") from error
        newest = max(found, key=lambda given: given.time)
        off = newest.time - int(self._clock().timestamp())
        if abs(off) > CLOCKS_SECONDS_MAX:
            way = "ahead of" if off > 0 else "behind"
            raise Unreadable(
                f"{self.id} cosigned at a time {abs(off)} s {way} our clock; set whichever clock is wrong "
                f"(up to {CLOCKS_SECONDS_MAX} s are allowed)"
            )
        return newest

    def _ahead(self, told: int, head: TreeHead) -> Ahead:
        try:
            held = self.latest()
        except (Denied, Throttled, Unavailable, Unreadable):
            held = None
        shown = "" if held is None else f" (it shows one over {held.size}, cosigned)"
        return Ahead(
            f"{self.id} has cosigned {told} entries{shown}, this checkpoint has {head.size}: this is an old copy of "
            "the ledger, unless another process anchored a newer checkpoint just now. Bring the newest copy back",
            told,
            held,
        )


def _is_size(reply: Reply) -> bool:
    return reply.content_type.partition(";")[0].strip().lower() == SIZE


def _size(reply: Reply, who: str) -> int:
    text = reply.body.decode("ascii", "replace").removesuffix("\n")
    if not (text.isascii() and text.isdecimal()) or len(text) > 19 or (text[0] == "0" and text != "0"):
        raise Unreadable(f"{who} answered with a size that is none")
    return int(text)

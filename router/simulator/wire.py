"""What a vendor's wire has to offer to be simulated."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from router.simulator.answers import Answer, Ask
    from router.simulator.catalogue import Catalogue, Usage
    from router.simulator.prefixes import PrefixCache
    from router.simulator.refusals import Body, RefusedError


@dataclass(frozen=True, slots=True)
class Head:
    """The parts of an HTTP request that wires look at; ``action``, ``model`` and ``host`` stand in the path."""

    headers: Mapping[str, str]
    query: Mapping[str, str]
    model: str = ""
    action: str = ""
    raw: bytes = b""
    host: str = ""


@dataclass(frozen=True, slots=True)
class Ticket:
    """What names one answer: ``mark`` is 48 hex digits of its own, ``created_s`` unix seconds."""

    request_id: str
    mark: str
    created_s: int

    @property
    def logprob(self) -> float:
        """How sure the answer's tokens are: the logarithm of a probability between a half and one, the answer's own."""
        return math.log(1 - int(self.mark[-8:], 16) / 2**33)


@dataclass(frozen=True, slots=True)
class Rejection:
    """An error as the vendor sends it."""

    status: int
    body: bytes
    headers: Mapping[str, str]


class Wire(Protocol):
    """One vendor's wire format. Pure: bytes and values in, bytes and values out."""

    @property
    def vendor(self) -> str:
        """The vendor's name in the catalogue's rules and in the bill."""
        ...

    @property
    def routes(self) -> tuple[str, ...]:
        """The paths that take calls."""
        ...

    @property
    def request_id_header(self) -> str:
        """Where the vendor puts its request id."""
        ...

    def read(self, head: Head, body: Body, catalogue: Catalogue) -> Ask:
        """Check a request as strictly as the vendor does and say what it asks; RefusedError when it may not run."""
        ...

    def check_key(self, head: Head) -> None:
        """Refuse a call without credentials."""
        ...

    def counted(self, ask: Ask) -> bytes | None:
        """The answer to a token-count call, None where the call asks for a generation."""
        ...

    def usage_of(self, ask: Ask, answers: Sequence[Answer], cache: PrefixCache) -> Usage:
        """The billed tokens, cache reads and writes included."""
        ...

    def usage_shown(self, usage: Usage) -> dict[str, Any]:
        """The usage as the vendor reports it."""
        ...

    def body_of(self, ask: Ask, answers: Sequence[Answer], usage: Usage | None, ticket: Ticket) -> bytes:
        """The whole answer; None leaves usage out."""
        ...

    def events_of(
        self, ask: Ask, answers: Sequence[Answer], usage: Usage | None, ticket: Ticket, pieces: int | None
    ) -> list[bytes]:
        """The answer as a stream of framed events, its text in ``pieces`` parts or the vendor's own size."""
        ...

    def stream_type(self, ask: Ask) -> str:
        """The stream's content type."""
        ...

    def rejection_of(self, refused: RefusedError, request_id: str) -> Rejection:
        """The error in the vendor's shape."""
        ...

    def listed(self, catalogue: Catalogue, host: str) -> bytes:
        """The vendor's list of models; of one host where the vendor's wire is spoken by several."""
        ...


def pieces_of(text: str, size: int, pieces: int | None) -> list[str]:
    """A text in parts of about ``size`` characters, or in exactly ``pieces`` parts where the text is long enough."""
    if not text:
        return []
    if pieces is not None:
        size = max(1, -(-len(text) // max(1, pieces)))
    return [text[at : at + size] for at in range(0, len(text), size)]

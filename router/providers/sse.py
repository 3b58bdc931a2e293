"""Server-sent events out of network reads, however the network cut them. Knows no vendor and does no I/O."""

from __future__ import annotations

import orjson

from router.errors import ProviderError

EVENT_BYTES_MAX = 16_000_000


class FrameReader:
    """Collects reads until frames are whole; a frame ends with an empty line, and line ends become line feeds."""

    def __init__(self, vendor: str) -> None:
        self._vendor = vendor
        self._pending: list[bytes] = []
        self._pending_bytes = 0

    def feed(self, chunk: bytes) -> bytes:
        """The whole frames that this read completes, each with its empty line; empty when it completes none.

        Raises ProviderError, billed, when a frame grows over EVENT_BYTES_MAX.
        """
        if self._pending and self._pending[-1].endswith(b"\r"):
            chunk = self._pop_last() + chunk
        if b"\r" in chunk:
            chunk, held = (chunk[:-1], b"\r") if chunk.endswith(b"\r") else (chunk, b"")
            chunk = chunk.replace(b"\r\n", b"\n")
        else:
            held = b""
        block = b""
        end = self._end_in(chunk)
        if end:
            block, chunk = (chunk, b"") if end == len(chunk) else (chunk[:end], chunk[end:])
            if self._pending:
                # Joined once, when it is whole: at each of its lines it would cost a long event its square.
                block = b"".join((*self._pending, block))
                self._pending.clear()
                self._pending_bytes = 0
        self._hold(chunk)
        self._hold(held)
        return block

    def _end_in(self, chunk: bytes) -> int:
        """Where the last whole frame ends in this read; 0 where none does."""
        found = chunk.rfind(b"\n\n")
        if found >= 0:
            return found + 2
        # The empty line may have been cut in two.
        return int(chunk.startswith(b"\n") and bool(self._pending) and self._pending[-1].endswith(b"\n"))

    def rest(self) -> bytes:
        """What stands after the last whole frame, as a frame: some vendors end without the empty line."""
        left = b"".join(self._pending).strip()
        self._pending.clear()
        self._pending_bytes = 0
        return left + b"\n\n" if left else b""

    def _hold(self, piece: bytes) -> None:
        if not piece:
            return
        self._pending.append(piece)
        self._pending_bytes += len(piece)
        if self._pending_bytes > EVENT_BYTES_MAX:
            raise ProviderError(f"{self._vendor} sent an event without end", is_billed=True)

    def _pop_last(self) -> bytes:
        last = self._pending.pop()
        self._pending_bytes -= len(last)
        return last


def data_of(frame: bytes) -> bytes | None:
    """The data of one frame, None for a comment or a bare event name."""
    if frame.startswith(b"data:") and b"\n" not in frame:
        return frame[5:].strip()
    lines = [line[5:].strip() for line in frame.split(b"\n") if line.startswith(b"data:")]
    return b"\n".join(lines) if lines else None


def datas_of(block: bytes) -> list[bytes]:
    """The data of every frame in a block, in order."""
    return [data for frame in block.split(b"\n\n") if frame and (data := data_of(frame)) is not None]


class MalformedEventError(ProviderError):
    """One event is no JSON object; those behind it can be read."""


def parse_data(data: bytes, vendor: str) -> dict[str, object]:
    """A frame's JSON object. Raises MalformedEventError, billed."""
    try:
        parsed = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise MalformedEventError(f"{vendor} sent an event that is not JSON", is_billed=True) from error
    if not isinstance(parsed, dict):
        raise MalformedEventError(f"{vendor} sent an event that is not an object", is_billed=True)
    return parsed

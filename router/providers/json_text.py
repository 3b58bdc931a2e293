"""JSON as it is written: what a vendor or a client nested deeper than orjson writes is written by hand."""

from __future__ import annotations

from typing import TypeAlias

import orjson

_Piece: TypeAlias = bytes | object


def json_bytes(value: object) -> bytes:
    """The value as compact JSON, however deep it is; the standard library's writer stops at a thousand levels too.

    orjson reads 1,024 levels and writes 254. Raises TypeError for what is no JSON.
    """
    try:
        return orjson.dumps(value)
    except TypeError:
        return _deep_bytes(value)


def _deep_bytes(value: object) -> bytes:
    """Without recursion: what is still to be written waits in a list, its end first. Bytes are punctuation."""
    written: list[bytes] = []
    waiting: list[_Piece] = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, bytes):
            written.append(each)
        elif isinstance(each, dict):
            waiting.append(b"}")
            for position, (name, inner) in reversed(list(enumerate(each.items()))):
                if not isinstance(name, str):
                    raise TypeError("a key of JSON is text")
                waiting += [inner, b":", orjson.dumps(name), b"," if position else b""]
            waiting.append(b"{")
        elif isinstance(each, list | tuple):
            waiting.append(b"]")
            for position, inner in reversed(list(enumerate(each))):
                waiting += [inner, b"," if position else b""]
            waiting.append(b"[")
        else:
            written.append(orjson.dumps(each))
    return b"".join(written)

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import ProviderError
from router.providers import sse
from router.providers.sse import FrameReader, data_of, datas_of, parse_data

LINES = st.sampled_from([b"data: {}", b"data:x", b": ping", b"event: a", b"data: \xc3\xa9", b"id: 1", b""])
STREAMS = st.lists(LINES, max_size=20)


def read_all(stream: bytes, cuts: list[int]) -> bytes:
    reader = FrameReader("vendor")
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    found = b"".join(reader.feed(stream[a:b]) for a, b in itertools.pairwise(places))
    return found + reader.rest()


@given(STREAMS, st.lists(st.integers(0, 10_000), max_size=30), st.sampled_from([b"\n", b"\r\n"]))
def test_any_split_of_the_bytes_gives_the_same_data(lines: list[bytes], cuts: list[int], end: bytes) -> None:
    stream = end.join(lines)
    whole = datas_of(b"\n".join(lines))
    assert datas_of(read_all(stream, cuts)) == whole


@given(STREAMS)
def test_byte_by_byte_is_the_same_as_at_once(lines: list[bytes]) -> None:
    stream = b"\r\n".join(lines) + b"\r\n\r\n"
    assert datas_of(read_all(stream, list(range(len(stream))))) == datas_of(read_all(stream, []))


def test_a_block_holds_whole_frames_and_the_rest_waits() -> None:
    reader = FrameReader("vendor")
    assert reader.feed(b"data: 1\n\ndata: 2\n\ndata: 3") == b"data: 1\n\ndata: 2\n\n"
    assert reader.feed(b"3\n") == b""
    assert reader.feed(b"\n") == b"data: 33\n\n"
    assert reader.rest() == b""


def test_bytes_that_need_no_care_are_handed_on_as_they_are() -> None:
    chunk = b"data: 1\n\ndata: 2\n\n"
    assert FrameReader("vendor").feed(chunk) is chunk


@given(st.lists(st.sampled_from([b"\n", b"\r\n", b"\r", b"data: a", b":"]), max_size=30), st.lists(st.integers(0, 100)))
def test_frames_are_handed_on_as_soon_as_they_are_whole(pieces: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(pieces)
    reader, said = FrameReader("vendor"), b""
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    for start, end in itertools.pairwise(places):
        said += reader.feed(stream[start:end])
        # A carriage return waits for what follows it.
        seen = stream[:end].removesuffix(b"\r").replace(b"\r\n", b"\n")
        assert seen.startswith(said)
        assert said.endswith(b"\n\n") or not said
        assert b"\n\n" not in seen[len(said) :]


def test_a_long_event_of_many_lines_is_joined_once(monkeypatch: pytest.MonkeyPatch) -> None:
    joined: list[int] = []
    reader = FrameReader("vendor")
    hold = reader._hold

    def counted(piece: bytes) -> None:
        joined.append(len(piece))
        hold(piece)

    monkeypatch.setattr(FrameReader, "_hold", lambda _, piece: counted(piece))
    line = b"data: " + b"x" * 93 + b"\n"
    for _ in range(1_000):
        assert reader.feed(line) == b""
    assert sum(joined) == 1_000 * len(line), "each read waits as it came, however many wait before it"
    assert reader.feed(b"\n") == line * 1_000 + b"\n"


def test_a_frame_without_end_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "EVENT_BYTES_MAX", 100)
    reader = FrameReader("vendor")
    reader.feed(b"data: " + b"x" * 90)
    with pytest.raises(ProviderError, match="without end") as caught:
        reader.feed(b"x" * 10)
    assert caught.value.is_billed


@pytest.mark.parametrize(
    ("frame", "data"),
    [
        (b"data: a", b"a"),
        (b"data:a", b"a"),
        (b"event: x\ndata: a", b"a"),
        (b"data: a\ndata: b", b"a\nb"),
        (b": comment", None),
        (b"event: x", None),
    ],
)
def test_data_of_a_frame(frame: bytes, data: bytes | None) -> None:
    assert data_of(frame) == data


@pytest.mark.parametrize("data", [b"", b"{", b"[1]", b"1", b"\xff", b'{"a": NaN}'])
def test_what_is_no_object_is_an_error_that_may_be_billed(data: bytes) -> None:
    with pytest.raises(ProviderError) as caught:
        parse_data(data, "vendor")
    assert caught.value.is_billed

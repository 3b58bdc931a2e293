"""What is asked of every system, and how an answer is known to be right."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from benchmarks.vendor import ANSWER, ANSWER_TOKENS, PROMPT_TOKENS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from benchmarks.load import Check

SYSTEM = "You answer questions of a small company's staff. Be brief, say what you are unsure of, and name your sources."
QUESTION = """Our office keeps its {0} in a shared {1}, one file for each customer and month, and
somebody has to copy the totals into a sheet by hand before the {2}. Last month two of them were copied into
the wrong {3}, and we paid a {4} twice. I would like a way of working in which such a mistake is found
before the money leaves. We are {5} people, nobody writes programs, and the bank wants the list of payments as
a {6} file. Which checks would you put between the {1} and the bank, who should do them, and in which
order? Please think of holidays and sick days too, since the same person has done this for nine years and will
retire in {7}. What would you write down for whoever follows, and what could go wrong with each of the checks
that you propose? A short list is better than an essay."""
# Nobody asks the same thing ten thousand times but a runaway, which the guards stop: every request is a question of
# its own. The words of a slot are equally long, so all requests are.
SLOTS = (
    ("invoices", "receipts", "payments", "vouchers", "licences", "warrants", "policies", "bookings"),
    ("folder", "binder", "drawer", "locker", "cellar", "garage", "closet", "basket"),
    ("first", "third", "fifth", "sixth", "ninth", "tenth"),
    ("row", "box", "tab", "bin", "bag", "day", "pot", "job"),
    ("supplier", "customer", "landlord", "designer", "retailer", "producer", "importer", "repairer"),
    ("seven", "eight", "three", "forty", "fifty", "sixty"),
    ("plain", "short", "typed", "fixed", "daily", "small", "clean", "exact"),
    ("spring", "summer", "autumn", "winter"),
)
QUESTIONS = math.prod(map(len, SLOTS))
# Shares no factor with their number, so each comes once before any comes again, and neighbours differ in most slots.
STEP = 2_914_607


@dataclass(frozen=True, slots=True)
class Workload:
    """One kind of request; ``connections`` are kept busy while it is measured."""

    name: str
    shows: str
    is_streamed: bool
    is_claude: bool = False
    gap_ms: int = 0
    connections: int = 16


WORKLOADS = (
    Workload("plain", "chat, answered whole", is_streamed=False),
    Workload("stream", "chat, a stream of 20 events, unpaced", is_streamed=True),
    Workload("paced", "chat, a stream of 20 events, 5 ms apart", is_streamed=True, gap_ms=5, connections=160),
    Workload("claude", "OpenAI request answered by Claude (translated)", is_streamed=False, is_claude=True),
)


def question_of(number: int) -> str:
    """One of the `QUESTIONS` questions of the same length; ``number`` counts on and on."""
    place = number * STEP % QUESTIONS
    words = []
    for slot in SLOTS:
        place, index = divmod(place, len(slot))
        words.append(slot[index])
    return QUESTION.replace("\n", " ").format(*words)


def body_of(workload: Workload, model: str) -> bytes:
    """The JSON of the first request."""
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question_of(0)}]
    body: dict[str, object] = {"model": model, "messages": messages, "max_tokens": 400}
    if workload.is_streamed:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return orjson.dumps(body)


def requests_of(workload: Workload, model: str, path: str, headers: Mapping[str, str]) -> Iterator[bytes]:
    """The workload's requests, each with a question of its own."""
    blank = request_of(path, body_of(workload, model), headers)
    question = question_of(0).encode()
    head, tail = blank[: blank.index(question)], blank[blank.index(question) + len(question) :]
    start = WORKLOADS.index(workload) * QUESTIONS // len(WORKLOADS)
    return (b"".join((head, question_of(number).encode(), tail)) for number in itertools.count(start))


def request_of(path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    """A whole HTTP request."""
    lines = [f"POST {path} HTTP/1.1", "host: bench", "content-type: application/json", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _usage_fault(usage: object) -> str | None:
    if not isinstance(usage, dict):
        return "no usage"
    counts = (usage.get("prompt_tokens"), usage.get("completion_tokens"))
    return None if counts == (PROMPT_TOKENS, ANSWER_TOKENS) else f"usage {counts}"


def plain_fault(body: bytes) -> str | None:
    """What a plain answer lacks."""
    try:
        answer = orjson.loads(body)
        content = answer["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError):
        return f"no chat completion: {body[:300]!r}"
    return _usage_fault(answer.get("usage")) if content == ANSWER else f"another content: {content[:100]!r}"


def stream_fault(body: bytes) -> str | None:
    """What a streamed answer lacks: every text event, usage in a later chunk, the end mark."""
    frames = [frame[5:].strip() for frame in body.split(b"\n\n") if frame.startswith(b"data:")]
    if not frames or frames[-1] != b"[DONE]":
        return f"no end mark: {body[-300:]!r}"
    content, usage = "", None
    try:
        for chunk in map(orjson.loads, frames[:-1]):
            usage = chunk.get("usage") or usage
            for choice in chunk["choices"]:
                content += choice["delta"].get("content") or ""
    except (ValueError, LookupError, TypeError, AttributeError):
        return f"no chunks: {body[:300]!r}"
    return _usage_fault(usage) if content == ANSWER else f"another content: {content[:100]!r}"


def check_of(workload: Workload) -> Check:
    """The check of a workload's answers."""
    return stream_fault if workload.is_streamed else plain_fault

"""What is taken out of an input that is too long, and what is left of the request.

Only retrieved chunks (`router.chunks`) go: first those that repeat another word for word, the later ones, then those
that have the least to do with what is asked, by BM25 (Robertson & Zaragoza, The Probabilistic Relevance Framework,
2009; k1 1.2, b 0.75), the last of equals first, so that as much as can be of what a vendor's cache knows stays in
front. System prompts, tools, their results, answers and what a user wrote around the chunks stay.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from router.chat import Text
from router.chunks import around, chunks_of, without
from router.prompt import encode_text, sizes_of
from router.token_priors import input_tokens_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from router.chat import Message, Part, Request
    from router.chunks import Chunk
    from router.policy import ContextBound, PolicyModel
    from router.prompt import Sizes

CutWhy: TypeAlias = Literal["repeated", "least_relevant"]
K1, B = 1.2, 0.75
# A follow-up leaves out what was said before: earlier questions count so much, answers so much. Of the weights that
# were tried on mtrag_human (`python -m evals trimming`) these kept the most.
WEIGHT_ASKED, WEIGHT_SAID = 0.3, 0.1
TERMS_MAX = 512
# Of a longer chunk so much is compared with the question, from both ends.
CHUNK_CHARS_MAX = 16_384
CHUNKS_MAX = 4_096
_WORDS = bytes(byte if chr(byte).isalnum() or byte >= 0x80 else 32 for byte in range(256)).lower()  # noqa: PLR2004
# From here on scripts write no spaces between words: pairs of characters stand for words.
SPACELESS = "\u2e80"


class Cut(NamedTuple):
    """Characters ``start`` to ``end`` of one text part, and why they go."""

    message: int
    part: int
    start: int
    end: int
    why: CutWhy


@dataclass(frozen=True, slots=True)
class Trim:
    """What was taken out, in numbers: places, never text.

    ``input_tokens_before`` as premium counts them; ``saved_nanousd`` is what these tokens would have cost at the chosen
    model; ``chunks`` is how many there were.
    """

    cuts: tuple[Cut, ...]
    chunks: int
    input_tokens_before: int
    input_tokens: int
    input_tokens_max: int
    of: str
    saved_nanousd: int = 0

    def counts(self) -> Mapping[str, int]:
        """How many chunks went for each reason."""
        return Counter(cut.why for cut in self.cuts)


def trim_of(request: Request, model: PolicyModel, sizes: Sizes, input_tokens: int, bound: ContextBound) -> Trim:
    """What must go for the bound's sake, as ``model`` counts tokens; all that may go, where that is not enough."""
    most = bound.input_tokens_max
    cuts: tuple[Cut, ...] = ()
    chunks, left = 0, input_tokens
    # What is left may have more bytes to a token than the whole had.
    for wanted in (most, most - most // 50, most - most // 10):

        def fits(gone: int, wanted: int = wanted) -> bool:
            return tokens_of(model, replace(sizes, text_bytes=sizes.text_bytes - gone)) <= wanted

        cuts, chunks = cuts_of(request, fits)
        left = tokens_of(model, sizes_of(cut_out(request, cuts)))
        if left <= most:
            break
    return Trim(cuts, chunks, input_tokens, left, most, bound.of)


def tokens_of(model: PolicyModel, sizes: Sizes) -> int:
    """The input's tokens on the model's tokenizer."""
    return input_tokens_of(
        model,
        text_bytes=sizes.text_bytes,
        non_ascii_share=sizes.non_ascii_share,
        code_share=sizes.code_share,
        messages=sizes.messages,
        tools_bytes=sizes.tools_bytes,
        images=sizes.images,
    )


def cuts_of(request: Request, fits: Callable[[int], bool]) -> tuple[tuple[Cut, ...], int]:
    """The cuts that make the request fit, or all that may be made, and the number of chunks.

    ``fits`` says of a number of bytes whether it is enough to take them out. Pure: the same request is cut alike.
    """
    chunks = chunks_of(request.messages)[:CHUNKS_MAX]
    texts = [_text_at(request.messages, chunk) for chunk in chunks]
    repeated = _repeated(texts)
    order: list[tuple[int, CutWhy]] = [(index, "repeated") for index in repeated]
    gone, cuts = 0, list[Cut]()
    sizes = [len(encode_text(text)) for text in texts]
    for index, why in _in_turn(order, request, chunks, texts, set(repeated)):
        if fits(gone):
            break
        cuts.append(Cut(*chunks[index], why))
        gone += sizes[index]
    return tuple(sorted(cuts)), len(chunks)


def cut_out(request: Request, cuts: Iterable[Cut]) -> Request:
    """The request without them: a text that nothing is left of goes, and so does its prompt-cache mark."""
    by_message: dict[int, dict[int, list[Cut]]] = {}
    for cut in cuts:
        by_message.setdefault(cut.message, {}).setdefault(cut.part, []).append(cut)
    messages = list(request.messages)
    rewritten: dict[int, tuple[str | None, ...]] = {}
    gone = 0
    for index, by_part in by_message.items():
        message = messages[index]
        texts: dict[int, str] = {}
        for at, part in enumerate(message.parts):
            if isinstance(part, Text):
                texts[at] = without(part.text, [(cut.start, cut.end) for cut in by_part.get(at, ())])
                gone += len(encode_text(part.text)) - len(encode_text(texts[at]))
        rewritten[index] = tuple(text if text.strip() else None for text in texts.values())
        parts: list[Part] = []
        for at, part in enumerate(message.parts):
            if not isinstance(part, Text):
                parts.append(part)
            elif texts[at].strip():
                parts.append(replace(part, text=texts[at]))
        messages[index] = replace(message, parts=tuple(parts))
    return replace(
        request,
        messages=tuple(messages),
        body_bytes=max(request.body_bytes - gone, 0),
        rewritten={**request.rewritten, **rewritten},
    )


def _in_turn(
    repeated: Iterable[tuple[int, CutWhy]],
    request: Request,
    chunks: Sequence[Chunk],
    texts: Sequence[str],
    skipped: set[int],
) -> Iterable[tuple[int, CutWhy]]:
    """The repeated ones at once; the others are only ranked when they are asked for."""
    yield from repeated
    kept = [index for index in range(len(chunks)) if index not in skipped]
    query = query_of(request.messages, chunks)
    if not query:
        return
    scores = relevance(query, [texts[index] for index in kept])
    ranked = sorted(zip(scores, kept, strict=True), key=lambda each: (each[0], -each[1]))
    for _, index in ranked:
        yield index, "least_relevant"


def _repeated(texts: Sequence[str]) -> list[int]:
    seen: set[str] = set()
    found: list[int] = []
    for index, text in enumerate(texts):
        plain = " ".join(text.split())
        if plain in seen:
            found.append(index)
        seen.add(plain)
    return found


def query_of(messages: Sequence[Message], chunks: Sequence[Chunk]) -> dict[bytes, float]:
    """The words that chunks are compared with, and what each counts: the newest turn's most, what came before it less.

    Empty where no user says anything beside chunks.
    """
    found: dict[bytes, float] = {}
    of_message: dict[int, list[Chunk]] = {}
    for each in chunks:
        of_message.setdefault(each.message, []).append(each)
    has_asked = False
    for index in range(len(messages) - 1, -1, -1):
        role = messages[index].role
        if role not in ("user", "assistant") or (role == "assistant" and not has_asked):
            continue
        said = around(messages[index], of_message.get(index, ()))
        terms = _terms_of(said)
        weight = WEIGHT_SAID if role == "assistant" else WEIGHT_ASKED if has_asked else 1.0
        has_asked = has_asked or (role == "user" and bool(terms))
        for term in terms:
            if found.get(term, 0.0) < weight and (term in found or len(found) < TERMS_MAX):
                found[term] = weight
        if len(found) >= TERMS_MAX:
            break
    return found if has_asked else {}


def relevance(query: Mapping[bytes, float], texts: Sequence[str]) -> list[float]:
    """BM25 of each text against the query, with these texts as the collection."""
    documents = [Counter(_terms_of(text)) for text in texts]
    lengths = [document.total() for document in documents]
    mean = sum(lengths) / max(len(lengths), 1) or 1.0
    scores = [0.0] * len(texts)
    for term, counts_as in query.items():
        holding = [index for index, document in enumerate(documents) if term in document]
        weight = counts_as * math.log1p((len(texts) - len(holding) + 0.5) / (len(holding) + 0.5))
        for index in holding:
            count = documents[index][term]
            scores[index] += weight * count * (K1 + 1) / (count + K1 * (1 - B + B * lengths[index] / mean))
    return scores


def _terms_of(text: str) -> list[bytes]:
    half = CHUNK_CHARS_MAX // 2
    read = text if len(text) <= CHUNK_CHARS_MAX else text[:half] + " " + text[-half:]
    words = encode_text(read.lower()).translate(_WORDS).split()
    found: list[bytes] = []
    for word in words:
        if word.isascii() or max(run := word.decode("utf-8", "ignore"), default="") < SPACELESS:
            found.append(word)
        else:
            found += [encode_text(run[at : at + 2]) for at in range(max(len(run) - 1, 1))]
    return found


def _text_at(messages: Sequence[Message], chunk: Chunk) -> str:
    part = messages[chunk.message].parts[chunk.part]
    assert isinstance(part, Text)
    return part.text[chunk.start : chunk.end]

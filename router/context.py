"""What a request's input is made of, in tokens, and the bounds that a policy puts on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from router.chat import Text
from router.chunks import chunks_of
from router.errors import ContextLengthExceededError
from router.prompt import encode_text, question_index_of
from router.token_priors import input_tokens_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from router.chat import Request
    from router.policy import ContextBound, PolicyModel
    from router.prompt import Sizes
    from router.trim import Trim

Part: TypeAlias = Literal["system", "tools", "history", "results", "retrieved", "question", "other"]
PARTS: tuple[Part, ...] = ("system", "tools", "history", "results", "retrieved", "question", "other")
# Below this much text nobody looks for retrieved chunks: there is no bill to explain.
RETRIEVED_BYTES_MIN = 4_096


@dataclass(frozen=True, slots=True)
class ContextOver:
    """A bound that was passed, and whose it was: the policy's, or a rule's."""

    input_tokens: int
    input_tokens_max: int
    of: str


class Retrieved(NamedTuple):
    """Bytes of retrieved chunks in the newest turn that a user wrote, and in those before."""

    in_question: int = 0
    in_history: int = 0


NOTHING_RETRIEVED = Retrieved()


def retrieved_of(request: Request, sizes: Sizes) -> Retrieved:
    """How much of the users' turns is retrieved chunks, by the rules of `router.chunks`; nothing of a short input."""
    if sizes.text_bytes < RETRIEVED_BYTES_MIN:
        return NOTHING_RETRIEVED
    newest = question_index_of(request.messages)
    found = [0, 0]
    for chunk in chunks_of(request.messages):
        part = request.messages[chunk.message].parts[chunk.part]
        assert isinstance(part, Text), "chunks are text"
        found[chunk.message != newest] += len(encode_text(part.text[chunk.start : chunk.end]))
    return Retrieved(*found)


def context_of(
    model: PolicyModel, sizes: Sizes, input_tokens: int, retrieved: Retrieved = NOTHING_RETRIEVED
) -> Mapping[str, int]:
    """The input tokens by part; they sum to ``input_tokens``.

    ``results`` are tools' results, ``question`` the newest turn that a user wrote, ``history`` every other turn, both
    without the ``retrieved`` chunks in them. Text is shared out by bytes; ``other`` is images, framing and what
    rounding leaves.
    """
    text_tokens = input_tokens_of(
        model,
        text_bytes=sizes.text_bytes,
        non_ascii_share=sizes.non_ascii_share,
        code_share=sizes.code_share,
        messages=0,
        tools_bytes=sizes.tools_bytes,
        images=0,
    )
    whole = max(sizes.text_bytes + sizes.tools_bytes, 1)
    bytes_of = {
        "system": sizes.system_bytes,
        "tools": sizes.tools_bytes,
        "history": (
            sizes.text_bytes - sizes.system_bytes - sizes.results_bytes - sizes.question_bytes - retrieved.in_history
        ),
        "results": sizes.results_bytes,
        "retrieved": sum(retrieved),
        "question": sizes.question_bytes - retrieved.in_question,
    }
    tokens = {part: min(text_tokens, input_tokens) * size // whole for part, size in bytes_of.items()}
    return {**tokens, "other": input_tokens - sum(tokens.values())}


def trims_to(bounds: Iterable[ContextBound], input_tokens: int) -> ContextBound | None:
    """The lowest bound that is passed and that the input is trimmed to; None where none is."""
    passed = [each for each in bounds if each.when_exceeded == "trim" and input_tokens > each.input_tokens_max]
    return min(passed, key=lambda each: each.input_tokens_max, default=None)


def require_within(
    bounds: Iterable[ContextBound], context: Mapping[str, int], trim: Trim | None = None
) -> ContextOver | None:
    """The lowest bound that is passed and only warns; None where none is. Raises ContextLengthExceededError.

    ``trim`` is what was taken out already.
    """
    tokens = sum(context.values())
    over = sorted((each for each in bounds if tokens > each.input_tokens_max), key=lambda each: each.input_tokens_max)
    for each in over:
        if each.when_exceeded != "warn":
            raise _refusal_of(each, tokens, context, trim)
    return ContextOver(tokens, over[0].input_tokens_max, over[0].of) if over else None


def _refusal_of(
    bound: ContextBound, tokens: int, context: Mapping[str, int], trim: Trim | None
) -> ContextLengthExceededError:
    largest = sorted(((size, part) for part, size in context.items() if size), reverse=True)
    parts = ", ".join(f"{part} {size:,}" for size, part in largest)
    data = {"input_tokens": tokens, "input_tokens_max": bound.input_tokens_max, "context": dict(context)}
    trimmed = ""
    if trim is not None:
        trimmed = f" after {len(trim.cuts):,} of {trim.chunks:,} retrieved chunks were taken out"
        data |= {"chunks": trim.chunks, "chunks_cut": len(trim.cuts)}
    return ContextLengthExceededError(
        f"about {tokens:,} input tokens{trimmed}; {bound.of} allows {bound.input_tokens_max:,} ({parts})",
        param="messages",
        data=data,
    )

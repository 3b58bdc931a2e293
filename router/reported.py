"""Whether what a vendor reports of a call can be: a slip of its counters must not empty the budgets of a whole company.

The bounds leave wide room, for what is honest must never be replaced: vendors add prompts of their own to the input,
some let thinking run past the limit that was sent, and some do not keep to it, which the answer then shows.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from router.cover import input_tokens_max_of
from router.estimate import NOTHING_SEEN

if TYPE_CHECKING:
    from router.chat import Request
    from router.estimate import Seen
    from router.policy import PolicyModel
    from router.tokens import TokenUsage

log = logging.getLogger("tollgate")

# Times what a request's bytes, or the limit that was sent, allow at most.
FACTOR = 2
# What vendors put before an input by themselves: tools' preambles, safety prompts, results of searches of their own.
INPUT_ROOM_TOKENS = 100_000
# The largest thinking budget that a vendor grants; it may lie outside the limit.
THINKING_ROOM_TOKENS = 131_072
# What stands around an answer: templates, the ends of turns, the least that a vendor counts.
OUTPUT_ROOM_TOKENS = 1_024


def is_possible(
    reported: TokenUsage, model: PolicyModel, request: Request, output_tokens_max: int, seen: Seen = NOTHING_SEEN
) -> bool:
    """Whether a call can have used so much, where ``output_tokens_max`` was sent as its limit.

    A vendor that counts thinking with the answer may report both as one. What was ``seen`` is a token a byte at most;
    hosts that did not count report zeros, which are believed of a whole answer that showed nothing alone.
    """
    has_counted = reported.input_tokens > 0 and reported.output_tokens > 0
    if not has_counted and not (seen.is_whole and not (seen.text_bytes or seen.code_bytes or seen.thinking_bytes)):
        return False
    thinks = "reasoning" in model.card.capabilities or model.card.thinking_always_on
    most = FACTOR * max(output_tokens_max, seen.text_bytes + seen.code_bytes + seen.thinking_bytes)
    return (
        reported.input_tokens <= FACTOR * input_tokens_max_of(request, model) + INPUT_ROOM_TOKENS
        and reported.output_text <= most + (THINKING_ROOM_TOKENS if thinks else OUTPUT_ROOM_TOKENS)
        and reported.output_reasoning <= most + THINKING_ROOM_TOKENS
    )


def tell_impossible(reported: TokenUsage, model: PolicyModel, request: Request, output_tokens_max: int) -> None:
    """A line in the log, with numbers and the model's name alone."""
    fields = {
        "model": model.id,
        "input_tokens": reported.input_tokens,
        "output_tokens": reported.output_tokens,
        "input_tokens_max": input_tokens_max_of(request, model),
        "output_tokens_max": output_tokens_max,
    }
    log.warning("usage that cannot be", extra={"fields": fields})

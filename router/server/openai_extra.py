"""Fields of a Chat Completions body that Tollgate does not read itself: passed on, or refused by name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from router.ask import AUTO
from router.misspelt import meant
from router.server.openai_fields import bad
from router.wires import ADVICE_FIELDS, OPENAI_ONLY_FIELDS, TEXT_ONLY

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

PASSED_FIELDS = ADVICE_FIELDS | frozenset(OPENAI_ONLY_FIELDS) | {"service_tier", "modalities", "top_logprobs"}
# What would have the vendor bill something that no price of the catalogue covers, so that neither a hold nor the ledger
# could know it: another tier of service, searches by the piece, speech, more answers than one, another model.
# The usual one by the names that OpenAI, Groq and Anthropic have for it.
SERVICE_TIERS = ("auto", "default", "standard", "on_demand", "standard_only")
OTHER_PRICES = "is billed at prices of its own, which no budget and no report would know: leave it out"
BY_THE_PIECE = "is billed by the piece, which no budget and no report would know: leave it out"
ANOTHER_MODEL = "would have a host choose another model or price: name one model as `model`, or let the policy choose"
# docs: Predicted Outputs (OpenAI) takes no output limit, and bills the rejected tokens beyond the answer.
UNBOUNDED = "cannot stand beside an output limit, and every call has one so that budgets hold: leave it out"
BILLED_APART = {
    "audio": OTHER_PRICES,
    "web_search_options": BY_THE_PIECE,
    "search_parameters": BY_THE_PIECE,
    "plugins": BY_THE_PIECE,
    "models": ANOTHER_MODEL,
    "route": ANOTHER_MODEL,
    "provider": ANOTHER_MODEL,
    "preset": ANOTHER_MODEL,
    "best_of": "asks for more answers than one: ask again for another",
    "prediction": UNBOUNDED,
}
# A slip of a letter or two; vendors' own fields (`min_p`, `max_new_tokens`) are further away from OpenAI's.
SLIP = 0.85
PLAIN_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def extra_of(body: Mapping[str, object], model: str, known: Collection[str]) -> dict[str, object]:
    """The fields that are not ``known``, to be passed on where the vendor speaks Chat Completions too.

    A misspelt name, and what is billed by anything but tokens, is refused; so is a field that not every model takes
    where the router is to choose among them: it would be sent to some and lost for others. Raises RequestError.
    """
    extra = {name: value for name, value in body.items() if name not in known}
    if not extra:
        return extra
    for name, why in BILLED_APART.items():
        if extra.get(name) is not None:
            raise bad(name, why)
    if extra.get("service_tier") not in (None, *SERVICE_TIERS):
        raise bad("service_tier", f"must be {' or '.join(SERVICE_TIERS)}: any other {OTHER_PRICES}")
    if extra.get("modalities") not in (None, TEXT_ONLY):
        raise bad("modalities", f"must be {TEXT_ONLY}: anything else {OTHER_PRICES}")
    if extra.get("top_logprobs") and not extra.get("logprobs"):
        raise bad("top_logprobs", "counts for nothing without `logprobs`: set that to true")
    for name, value in extra.items():
        if value is not None and name not in PASSED_FIELDS:
            _require_taken(name, model, known)
    return extra


def _require_taken(name: str, model: str, known: Collection[str]) -> None:
    shown = name if PLAIN_NAME.fullmatch(name) is not None else "body"
    hint = meant(name, sorted(PASSED_FIELDS.union(known)), SLIP)
    if hint:
        raise bad(shown, f"unknown field{hint}")
    if model == AUTO or model.startswith(f"{AUTO}:"):
        raise bad(shown, "is a field that not every model takes: leave it out, or name a model that does as `model`")

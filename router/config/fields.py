"""The kinds of fields that the policy's blocks are made of: names, addresses, amounts, shares; and the strict block."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema
from pydantic_core import PydanticCustomError

from router.catalog.cards import CAPABILITY_FLAGS, LOGPROBS
from router.config.yaml_places import ExactFloat
from router.misspelt import meant

PRICE_DECIMALS = 9
USD_PER_MTOK_MAX = 1_000_000
CAPABILITIES = tuple(sorted({*CAPABILITY_FLAGS.values(), LOGPROBS}))
VARIABLE_NAME = re.compile(r"^[A-Z][A-Z0-9_]{0,63}$")
ACCESS_KEY = re.compile(r"^(AKIA|ASIA)[0-9A-Z]{12,}$")  # an AWS key id looks like a variable's name, and is none


def _variable_name(value: str) -> str:
    if not VARIABLE_NAME.match(value) or ACCESS_KEY.match(value):
        raise PydanticCustomError(
            "variable_name", "must be the NAME of an environment variable such as VLLM_API_KEY, never the key itself"
        )
    return value


def _address(value: str) -> str:
    try:
        parts = urlsplit(value)
        is_sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_sound = False
    if not is_sound or re.search(r"\s", value):
        raise PydanticCustomError("address", "must be an address such as http://127.0.0.1:8000/v1")
    if parts.username is not None or parts.password is not None:
        raise PydanticCustomError("address", "must hold no user or password: name the key's variable in `api_key_env`")
    if parts.query or parts.fragment:
        raise PydanticCustomError("address", "must end with its path: no `?` and no `#`")
    return value


def _capability(value: str) -> str:
    if value not in CAPABILITIES:
        hint = meant(value, CAPABILITIES) or f"; there are {', '.join(CAPABILITIES)}"
        raise PydanticCustomError("capability", "is no capability{hint}", {"hint": hint})
    return value


def exact(value: object) -> object:
    """The decimal as it was written; a float would already have rounded it."""
    if isinstance(value, ExactFloat):
        return Decimal(value.text)
    return Decimal(value) if isinstance(value, int) and not isinstance(value, bool) else value


Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=256)]
VariableName = Annotated[
    str, AfterValidator(_variable_name), WithJsonSchema({"type": "string", "pattern": VARIABLE_NAME.pattern})
]
Address = Annotated[
    str, AfterValidator(_address), WithJsonSchema({"type": "string", "pattern": r"^https?://[^\s?#@]+$"})
]
Capability = Annotated[str, AfterValidator(_capability), WithJsonSchema({"enum": list(CAPABILITIES)})]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
Tokens = Annotated[int, Field(ge=1, le=100_000_000)]
ModelTierName = Literal["economy", "standard", "premium"]
Usd = Annotated[
    Decimal,
    BeforeValidator(exact),
    Field(ge=0, le=USD_PER_MTOK_MAX, decimal_places=PRICE_DECIMALS, allow_inf_nan=False),
    WithJsonSchema({"type": "number", "minimum": 0, "maximum": USD_PER_MTOK_MAX}),
]


class Strict(BaseModel):
    """Every block of the file: no unknown key, no coercion."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

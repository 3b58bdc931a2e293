"""What a caller asks of the routing, from headers and from the body's metadata."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING
from urllib.parse import unquote

from router.errors import InvalidQualityToleranceError, RequestError
from router.policy import Terms
from router.subject import salted_hash

if TYPE_CHECKING:
    from collections.abc import Mapping

SESSION_HEADERS = ("x-session-id", "x-litellm-session-id", "helicone-session-id", "x-litellm-trace-id")
TAG_HEADERS = ("x-router-tags", "x-litellm-tags")
PROPERTY_PREFIX = "helicone-property-"
TAGS_MAX, TAG_NAME_MAX, TAG_VALUE_MAX, ID_MAX = 32, 64, 256, 256


def parse_tolerance(value: object, param: str) -> float:
    """A tolerance in 0..1. Raises InvalidQualityToleranceError on anything else: it is never clamped."""
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else math.nan
    except ValueError:
        number = math.nan
    if not 0 <= number <= 1:
        raise InvalidQualityToleranceError(f"{param}: must be a number in 0..1", param=param)
    return number


def _plain(text: str, param: str, limit: int) -> str:
    if not text or len(text) > limit or not text.isprintable():
        raise RequestError(f"{param}: must be 1 to {limit} printable characters", param=param)
    return text


def parse_tags(headers: Mapping[str, str]) -> dict[str, str]:
    """Tags of `X-Router-Tags: a=b,c=d` and its aliases, bounded; a bare word counts as ``word=true``."""
    found: dict[str, str] = {}
    for header in TAG_HEADERS:
        for item in filter(None, (part.strip() for part in headers.get(header, "").split(","))):
            name, _, value = item.partition("=")
            found[_plain(name.strip(), header, TAG_NAME_MAX)] = _plain(
                unquote(value.strip()) or "true", header, TAG_VALUE_MAX
            )
    for header, value in headers.items():
        if header.startswith(PROPERTY_PREFIX):
            name = _plain(header.removeprefix(PROPERTY_PREFIX), header, TAG_NAME_MAX)
            found[name] = _plain(value.strip(), header, TAG_VALUE_MAX)
    if len(found) > TAGS_MAX:
        raise RequestError(f"x-router-tags: {len(found)} tags, at most {TAGS_MAX}", param="x-router-tags")
    return found


def parse_terms(headers: Mapping[str, str], metadata: object, salt: bytes) -> Terms:
    """The terms; headers win over the body's ``metadata``. Header names are lower case. Raises RequestError."""
    extra = metadata if isinstance(metadata, dict) else {}
    tier = headers.get("x-quality-tier") or extra.get("quality_tier")
    if tier is not None and not isinstance(tier, str):
        raise RequestError("metadata.quality_tier: must be text", param="metadata.quality_tier")
    tolerance = None
    if "x-quality-tolerance" in headers:
        tolerance = parse_tolerance(headers["x-quality-tolerance"], "x-quality-tolerance")
    elif extra.get("quality_tolerance") is not None:
        tolerance = parse_tolerance(extra["quality_tolerance"], "metadata.quality_tolerance")
    session = next((headers[name] for name in SESSION_HEADERS if headers.get(name)), None)
    parent = headers.get("x-parent-session-id")
    key = headers.get("idempotency-key")
    return Terms(
        quality_tier=tier,
        tolerance=tolerance,
        session_id=_plain(session, "x-session-id", ID_MAX) if session else None,
        parent_session_id=_plain(parent, "x-parent-session-id", ID_MAX) if parent else None,
        tags=parse_tags(headers),
        idempotency_key=salted_hash(salt, _plain(key, "idempotency-key", ID_MAX).encode()) if key else None,
    )

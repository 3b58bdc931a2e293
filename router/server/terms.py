"""What a caller asks of the routing, from headers and from the body's metadata."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

from router.errors import InvalidQualityToleranceError, RequestError, UnknownQualityTierError
from router.lineage import TICKET_CHARS_MAX
from router.misspelt import meant
from router.policy import Terms
from router.subject import salted_hash

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SESSION_HEADERS = ("x-session-id", "x-litellm-session-id", "helicone-session-id", "x-litellm-trace-id")
PARENT_HEADER = "x-parent-session-id"
KEY_HEADER = "idempotency-key"
LINEAGE_HEADER = "x-router-lineage"
# The router's own header comes last: where both name a tag, it wins.
TAG_HEADERS = ("x-litellm-tags", "x-router-tags")
PROPERTY_PREFIX = "helicone-property-"
ROUTER_HEADERS = ("x-quality-tier", "x-quality-tolerance", "x-router-lineage", "x-router-tags")
QUALITY_FIELDS = ("quality_tier", "quality_tolerance")
OWN_PREFIX = re.compile("x-(quality|router-)")
# A slip of a letter or two. Names that begin as the router's do and are further away may be a proxy's, or may have been
# taken over from a response.
SLIP = 0.85
NAME_SHOWN_MAX = 64
QUALITY_HEADERS = "`x-quality-tier` and `x-quality-tolerance`"
TAGS_MAX, TAG_NAME_MAX, TAG_VALUE_MAX, ID_MAX = 32, 64, 256, 256
# float() would also take white space, underscores, foreign digits, infinities and NaN.
DECIMAL = re.compile(r"[+-]?(?:[0-9]{1,32}(?:\.[0-9]{0,32})?|\.[0-9]{1,32})(?:[eE][+-]?[0-9]{1,3})?")


def headers_of_scope(pairs: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """A request's headers by lower-case name, without blanks around them (RFC 9110, 5.5).

    One that came twice is joined by a comma (RFC 9110, 5.3): tags add up, and of two tiers neither counts.
    """
    found: dict[str, str] = {}
    for raw_name, raw_value in pairs:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1").strip(" \t")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def _require_known(headers: Mapping[str, str], metadata: Mapping[str, object]) -> None:
    """Raise RequestError for a misspelt header or metadata field: ignored, it would be served on other terms."""
    for name in headers:
        own = OWN_PREFIX.match(name)
        if own is not None and name not in ROUTER_HEADERS:
            hint = meant(name, ROUTER_HEADERS, SLIP)
            if hint or own[1] == "quality":
                shown = name[:NAME_SHOWN_MAX]
                raise RequestError(
                    f"{shown}: no header of this API{hint or ', which has ' + QUALITY_HEADERS}", param=shown
                )
    for field in metadata:
        if field.startswith("quality") and field not in QUALITY_FIELDS:
            hint = meant(field, QUALITY_FIELDS, SLIP)
            if hint:
                param = f"metadata.{field[:NAME_SHOWN_MAX]}"
                raise RequestError(f"{param}: unknown field{hint}", param=param)


def parse_tolerance(value: object, param: str) -> float:
    """A tolerance in 0..1. Raises InvalidQualityToleranceError on anything else: it is never clamped."""
    number = float(value) if isinstance(value, str) and DECIMAL.fullmatch(value) is not None else value
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number <= 1:
        raise InvalidQualityToleranceError(f"{param}: must be a number in 0..1", param=param)
    return float(number)


def _plain(text: str, param: str, limit: int) -> str:
    if not text or len(text) > limit or not text.isprintable():
        raise RequestError(f"{param}: must be 1 to {limit} printable characters", param=param)
    return text


def _unicode(text: str) -> str:
    """A header's text as UTF-8 where it is that: ASGI decodes headers as Latin-1."""
    try:
        return text if text.isascii() else text.encode("latin-1").decode()
    except UnicodeDecodeError:
        return text


def parse_tags(headers: Mapping[str, str]) -> dict[str, str]:
    """Tags of `X-Router-Tags: a=b,c=d` and its aliases, bounded; a bare word counts as ``word=true``.

    Values may be percent-encoded. Raises RequestError naming the header.
    """
    found: dict[str, str] = {}
    for header in TAG_HEADERS:
        if header not in headers:
            continue
        for item in filter(None, (part.strip() for part in _unicode(headers[header]).split(","))):
            name, equals, value = item.partition("=")
            text = unquote(value.strip()) if equals else "true"
            found[_plain(name.strip(), header, TAG_NAME_MAX)] = _plain(text, header, TAG_VALUE_MAX)
    for header, value in headers.items():
        if header.startswith(PROPERTY_PREFIX):
            name = _plain(header.removeprefix(PROPERTY_PREFIX), PROPERTY_PREFIX, TAG_NAME_MAX)
            found[name] = _plain(_unicode(value).strip(), PROPERTY_PREFIX, TAG_VALUE_MAX)
    if len(found) > TAGS_MAX:
        raise RequestError(f"x-router-tags: {len(found)} tags, at most {TAGS_MAX}", param="x-router-tags")
    return found


def _session_of(headers: Mapping[str, str]) -> str | None:
    for name in SESSION_HEADERS:
        if headers.get(name):
            return _plain(_unicode(headers[name]), name, ID_MAX)
    return None


def _ticket_of(headers: Mapping[str, str]) -> str | None:
    """The ticket as it came. What is too long to be one is left out here, unread: as if none had been sent."""
    ticket = headers.get(LINEAGE_HEADER)
    return ticket if ticket is not None and len(ticket) <= TICKET_CHARS_MAX else None


def parse_terms(headers: Mapping[str, str], metadata: object, salt: bytes) -> Terms:
    """The terms; headers win over the body's ``metadata``. Header names are lower case. Raises RequestError."""
    if metadata is not None and not isinstance(metadata, dict):
        raise RequestError("metadata: must be an object", param="metadata")
    extra: Mapping[str, object] = metadata or {}
    _require_known(headers, extra)
    tier = headers.get("x-quality-tier", extra.get("quality_tier"))
    if tier is not None and not isinstance(tier, str):
        raise RequestError("metadata.quality_tier: must be text", param="metadata.quality_tier")
    if tier == "":
        raise UnknownQualityTierError("the quality tier is empty", param="quality_tier")
    tolerance = None
    if "x-quality-tolerance" in headers:
        tolerance = parse_tolerance(headers["x-quality-tolerance"], "x-quality-tolerance")
    elif extra.get("quality_tolerance") is not None:
        tolerance = parse_tolerance(extra["quality_tolerance"], "metadata.quality_tolerance")
    parent = headers.get(PARENT_HEADER)
    key = headers.get(KEY_HEADER)
    return Terms(
        quality_tier=tier,
        tolerance=tolerance,
        session_id=_session_of(headers),
        parent_session_id=_plain(_unicode(parent), PARENT_HEADER, ID_MAX) if parent else None,
        tags=parse_tags(headers),
        lineage=_ticket_of(headers),
        idempotency_key=None if key is None else salted_hash(salt, _plain(key, KEY_HEADER, ID_MAX).encode()),
    )

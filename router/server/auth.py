"""Who is asking: virtual keys for work, the admin key for everybody's figures."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING

from router.errors import InvalidApiKeyError
from router.policy import Caller

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.server.parts import ServerParts

ANYBODY = Caller()
MISSING = "the API key is missing: send `Authorization: Bearer <key>` or `x-api-key: <key>`"


@dataclass(frozen=True, slots=True)
class Reader:
    """Whose figures may be read: everybody's, or one team's or key's."""

    sees_all: bool
    team: str | None = None
    key_id: str | None = None


def presented_key(headers: Mapping[str, str]) -> str | None:
    """The key that the request carries, in either of the two headers that SDKs use."""
    bearer = headers.get("authorization", "")
    if bearer[:7].lower() == "bearer ":
        return bearer[7:].strip()
    return headers.get("x-api-key")


def caller_of(parts: ServerParts, headers: Mapping[str, str]) -> Caller:
    """The caller; anybody where no keys are in force. Raises InvalidApiKeyError."""
    if parts.keys is None:
        return ANYBODY
    key = presented_key(headers)
    if not key:
        raise InvalidApiKeyError(MISSING)
    return parts.keys.caller_of(key, parts.clock.now_ms())


def reader_of(parts: ServerParts, headers: Mapping[str, str]) -> Reader:
    """Whose figures the request may read. Raises InvalidApiKeyError."""
    key = presented_key(headers)
    is_admin = (
        parts.admin_key is not None
        and key is not None
        and hmac.compare_digest(key.encode("utf-8", "replace"), parts.admin_key.encode())
    )
    if is_admin or (parts.keys is None and parts.admin_key is None):
        return Reader(sees_all=True)
    if parts.keys is None:
        raise InvalidApiKeyError(MISSING)
    caller = caller_of(parts, headers)
    return Reader(sees_all=False, team=caller.team, key_id=caller.key_id)

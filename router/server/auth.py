"""Who is asking: virtual keys for work, the admin key for everybody's figures."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.requests import Request  # noqa: TC002  # FastAPI reads the annotation at run time

from router.errors import InvalidApiKeyError
from router.policy import Caller

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from router.server.parts import ServerParts

ANYBODY = Caller()
UNKNOWN = "the API key is not the admin key, which reports take while there are no other keys"
ADMIN_ASKS = (
    "this is the admin key: it reads everybody's figures and moves guards, and asks no model; "
    "`tollgate keys create` makes a key that does"
)
MISSING = "the API key is missing: send `Authorization: Bearer <key>` or `x-api-key: <key>`"


@dataclass(frozen=True, slots=True)
class Reader:
    """Whose figures may be read: everybody's, or one team's, or, for a key without a team, that key's."""

    sees_all: bool
    team: str | None = None
    key_id: str | None = None


def presented_key(headers: Mapping[str, str]) -> str | None:
    """The key that the request carries, in either of the two headers that SDKs use."""
    bearer = headers.get("authorization", "")
    if bearer[:7].lower() == "bearer ":
        return bearer[7:].strip()
    key = headers.get("x-api-key")
    return None if key is None else key.strip()


def caller_of(parts: ServerParts, headers: Mapping[str, str]) -> Caller:
    """The caller; anybody where no keys are in force. Raises InvalidApiKeyError."""
    if parts.keys is None:
        return ANYBODY
    key = presented_key(headers)
    if not key:
        raise InvalidApiKeyError(MISSING)
    if is_admin(parts, headers):
        raise InvalidApiKeyError(ADMIN_ASKS)
    return parts.keys.caller_of(key, parts.clock.now_ms())


def is_admin(parts: ServerParts, headers: Mapping[str, str]) -> bool:
    """Whether the request carries the admin key, compared in constant time."""
    key = presented_key(headers)
    if parts.admin_key is None or key is None:
        return False
    return hmac.compare_digest(key.encode("utf-8", "replace"), parts.admin_key.encode())


def reader_of(parts: ServerParts, headers: Mapping[str, str]) -> Reader:
    """Whose figures the request may read. Raises InvalidApiKeyError.

    Without keys everybody on this machine sees all, unless an admin key was set: whoever set one meant it.
    """
    if is_admin(parts, headers) or (parts.keys is None and parts.admin_key is None):
        return Reader(sees_all=True)
    if parts.keys is None:
        raise InvalidApiKeyError(UNKNOWN if presented_key(headers) else MISSING)
    caller = caller_of(parts, headers)
    return Reader(sees_all=False, team=caller.team, key_id=caller.key_id)


def require_reader(parts: ServerParts) -> Callable[[Request], Reader]:
    """``reader_of`` as a FastAPI dependency."""

    def reader(request: Request) -> Reader:
        return reader_of(parts, request.headers)

    return reader

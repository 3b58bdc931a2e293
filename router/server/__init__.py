"""The HTTP surface."""

from __future__ import annotations

from router.server.app import create_app
from router.server.idempotency import Idempotency
from router.server.parts import ServerParts

__all__ = ["Idempotency", "ServerParts", "create_app"]

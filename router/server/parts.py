"""What the server is handed by the composition root."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from prometheus_client import CollectorRegistry

    from router.clock import Clock
    from router.gateway import Gateway
    from router.policy import Caller
    from router.ports import Ledger
    from router.server.idempotency import Idempotency


class Keys(Protocol):
    """Whoever can tell a caller by its key."""

    def caller_of(self, presented: str, now_ms: int) -> Caller:
        """The caller. Raises InvalidApiKeyError."""
        ...

    def callers(self, now_ms: int) -> Sequence[Caller]:
        """Whose keys are in force."""
        ...


class Status(Protocol):
    """What is said of the policy file."""

    @property
    def revision(self) -> str:
        """The revision in force."""
        ...

    @property
    def broken(self) -> str | None:
        """Why the file as it stands cannot be used; None when it is in force."""
        ...


async def no_budgets() -> None:
    """Where no store of budgets is, none can be away."""


@dataclass(slots=True)
class ServerParts:
    """Everything that routes need.

    ``keys`` is None where any key or none is accepted (loopback without a keys file); it is set while serving when the
    first key is made. ``registry`` is where this process counts, ``metrics`` what all that serve the address have
    counted, as Prometheus text. ``calibrations_refused`` says why each calibration on disk that is not in force is not.
    ``check_budgets`` asks the store of budgets something, and raises StoreError where it does not answer.
    ``are_guards_away``: whether what other gateways saw cannot be read.
    """

    gateway: Gateway
    ledger: Ledger
    keys: Keys | None
    admin_key: str | None
    policy_status: Callable[[], Status]
    clock: Clock
    registry: CollectorRegistry
    metrics: Callable[[], bytes]
    idempotency: Idempotency
    salt: bytes
    calibrations_refused: Callable[[], Sequence[str]] = tuple
    check_budgets: Callable[[], Awaitable[object]] = no_budgets
    are_guards_away: Callable[[], bool] = bool

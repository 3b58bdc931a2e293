"""Reload while running: a good file is swapped in whole, a broken one keeps the old policy and says so."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from router.config.keys import keys_path, load_key_ring
from router.config.load import load_policy
from router.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from router.catalog import Catalog
    from router.config.keys import KeyRing
    from router.config.settings import Settings
    from router.policy import Policy

log = logging.getLogger("tollgate")
POLL_S = 1.0


@dataclass(frozen=True, slots=True)
class PolicyStatus:
    """What readiness says of the policy: ``broken`` is the message of a file that could not be used, else None."""

    revision: str
    name: str
    broken: str | None


def _stamp_of(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


class PolicyWatch:
    """Holds the policy and the key ring in force, and looks for changes of their files."""

    def __init__(self, settings: Settings, catalog: Catalog) -> None:
        self._path, self._catalog = settings.policy_path, catalog
        self.policy: Policy = self._load()
        self._keys_path = keys_path(settings.home, self.policy, self._path)
        self.key_ring: KeyRing | None = load_key_ring(self._keys_path)
        self._seen = self._stamps()
        self.status = PolicyStatus(self.policy.revision, self.policy.name, None)

    def _load(self) -> Policy:
        return load_policy(self._path, self._catalog, datetime.now(tz=UTC).date())

    def _stamps(self) -> tuple[object, ...]:
        return _stamp_of(self._path), _stamp_of(self._keys_path)

    async def run(self, swap: Callable[[Policy], None], told: Callable[[PolicyStatus], None]) -> None:
        """Look every second until cancelled; ``swap`` gets each new policy, ``told`` each change of status."""
        while True:
            await asyncio.sleep(POLL_S)
            stamps = await asyncio.to_thread(self._stamps)
            if stamps != self._seen:
                self._seen = stamps
                self.reload(swap, told)

    def reload(self, swap: Callable[[Policy], None], told: Callable[[PolicyStatus], None]) -> None:
        """Read both files again now. A broken one changes nothing but the status."""
        try:
            policy = self._load()
            ring = load_key_ring(self._keys_path)
        except ConfigError as error:
            if self.status.broken != error.message:
                log.warning("policy not reloaded", extra={"fields": {"error": error.message}})
            self.status = PolicyStatus(self.policy.revision, self.policy.name, error.message)
            told(self.status)
            return
        if self.key_ring is not None:
            # A keys file that vanished must not open the gateway: it leaves a ring without keys.
            self.key_ring.replace_with(ring if ring is not None else type(self.key_ring)({}))
        if policy.revision != self.policy.revision:
            self.policy = policy
            swap(policy)
            log.info("policy reloaded", extra={"fields": {"policy": policy.name, "revision": policy.revision}})
        self.status = PolicyStatus(policy.revision, policy.name, None)
        told(self.status)

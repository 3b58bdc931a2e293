"""Reload while running: a good file is swapped in whole, a broken one keeps the old policy and says so."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from router.config.keys import keys_path, load_key_ring
from router.config.lint import NO_KEYS_FILE
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


@dataclass(frozen=True, slots=True)
class Files:
    """What the two files say, read together."""

    policy: Policy
    keys_path: Path
    key_ring: KeyRing | None


class PolicyWatch:
    """Holds the policy and the key ring in force, and looks for changes of their files."""

    def __init__(self, settings: Settings, catalog: Catalog) -> None:
        self._path, self._home, self._catalog = settings.policy_path, settings.home, catalog
        self._woken = asyncio.Event()
        seen = _stamp_of(self._path)  # before it is read: a change in between must be seen
        files = self._read()
        self.policy, self._keys_path, self.key_ring = files.policy, files.keys_path, files.key_ring
        self._seen: tuple[object, ...] = (seen, self._keys_path, _stamp_of(self._keys_path))
        self.status = PolicyStatus(self.policy.revision, self.policy.name, None)
        _tell_warnings(self.policy)

    def _read(self) -> Files:
        """Both files. Raises ConfigError for either."""
        policy = load_policy(self._path, self._catalog, datetime.now(tz=UTC).date())
        path = keys_path(self._home, policy.keys_file, self._path)
        ring = load_key_ring(path)
        if ring is None and policy.keys_file is not None:
            raise ConfigError(f"{path}: {NO_KEYS_FILE.format(policy=self._path)}")
        return Files(policy, path, ring)

    def _stamps(self) -> tuple[object, ...]:
        return _stamp_of(self._path), self._keys_path, _stamp_of(self._keys_path)

    def wake(self) -> None:
        """Read both files again soon, changed or not: what SIGHUP asks for."""
        self._woken.set()

    async def run(self, swap: Callable[[Policy], None], told: Callable[[PolicyStatus], None]) -> None:
        """Look every second until cancelled; ``swap`` gets each new policy, ``told`` the status after each reading."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), POLL_S)
            is_asked = self._woken.is_set()
            self._woken.clear()
            stamps = await asyncio.to_thread(self._stamps)
            if is_asked or stamps != self._seen:
                self._seen = stamps
                try:
                    self._take(await asyncio.to_thread(self._read), swap)
                except ConfigError as error:
                    self._keep(error)
                told(self.status)

    def _keep(self, error: ConfigError) -> None:
        if self.status.broken != error.message:
            log.warning("policy not reloaded", extra={"fields": {"error": error.message}})
        self.status = PolicyStatus(self.policy.revision, self.policy.name, error.message)

    def _take(self, files: Files, swap: Callable[[Policy], None]) -> None:
        if self.key_ring is not None and files.key_ring is None:
            # A keys file that is gone must not open the gateway to everybody.
            raise ConfigError(f"{files.keys_path}: is gone: the keys that it held stay in force")
        self._keys_path = files.keys_path
        if self.key_ring is None:
            self.key_ring = files.key_ring
        elif files.key_ring is not None:
            self.key_ring.replace_with(files.key_ring)
        policy = files.policy
        if policy.revision != self.policy.revision:
            self.policy = policy
            swap(policy)
            log.info("policy reloaded", extra={"fields": {"policy": policy.name, "revision": policy.revision}})
            _tell_warnings(policy)
        elif self.status.broken is not None:
            log.info("policy mended", extra={"fields": {"policy": policy.name, "revision": policy.revision}})
        self.status = PolicyStatus(policy.revision, policy.name, None)


def _tell_warnings(policy: Policy) -> None:
    for warning in policy.warnings:
        log.warning("policy", extra={"fields": {"warning": warning}})

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from router.config import watch as watching
from router.config.keys import KeysBook
from router.config.prices import load_catalog
from router.config.settings import Settings, load_settings
from router.config.watch import PolicyStatus, PolicyWatch
from router.errors import ConfigError, InvalidApiKeyError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from router.policy import Policy

CATALOG = load_catalog()
NOW_MS = 1_763_000_000_000
POLICY = """
version: 1
name: %s
models:
  claude-opus: {provider_model: anthropic/claude-opus-5-5, vendor: anthropic, tier: premium}
routing: {premium: claude-opus, quality_tiers: {premium: 0.0}, default_tier: premium}
"""
WAIT_S = 10


@dataclass
class Home:
    path: Path
    told: list[PolicyStatus] = field(default_factory=list)
    swapped: list[Policy] = field(default_factory=list)

    @property
    def policy(self) -> Path:
        return self.path / "policy.yaml"

    @property
    def keys(self) -> Path:
        return self.path / "keys.yaml"

    def settings(self) -> Settings:
        return load_settings({}, policy=str(self.policy), home=str(self.path))

    def write(self, name: str, more: str = "") -> None:
        self.policy.write_text(POLICY % name + more)

    def create_key(self, path: Path | None = None) -> str:
        with KeysBook(path or self.keys) as book:
            return book.create(NOW_MS, team="search")[0]

    async def until_told(self, count: int) -> PolicyStatus:
        async with asyncio.timeout(WAIT_S):
            while len(self.told) < count:  # noqa: ASYNC110  # the watch has no other way to say it
                await asyncio.sleep(0.005)
        return self.told[-1]

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[PolicyWatch]:
        watch = PolicyWatch(self.settings(), CATALOG)
        task = asyncio.ensure_future(watch.run(self.swapped.append, self.told.append))
        await asyncio.sleep(0)
        try:
            yield watch
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def is_known(watch: PolicyWatch, secret: str) -> bool:
    assert watch.key_ring is not None
    try:
        watch.key_ring.caller_of(secret, NOW_MS)
    except InvalidApiKeyError:
        return False
    return True


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setattr(watching, "POLL_S", 0.01)
    home = Home(tmp_path)
    home.write("first")
    return home


async def test_a_changed_file_is_in_force_as_a_whole(home: Home) -> None:
    async with home.watched() as watch:
        before = watch.policy.revision
        home.write("second")
        status = await home.until_told(1)
        assert (status.name, status.broken) == ("second", None)
        assert [each.name for each in home.swapped] == ["second"]
        assert watch.policy is home.swapped[0]
        assert status.revision == watch.policy.revision != before


async def test_a_broken_file_keeps_the_old_policy_until_it_is_mended(home: Home) -> None:
    async with home.watched() as watch:
        home.write("broken", "rules: 7\n")
        status = await home.until_told(1)
        assert status.broken == f"{home.policy}:7: rules: must be a list, such as [a, b]"
        assert (status.name, home.swapped, watch.policy.name) == ("first", [], "first")
        home.write("mended")
        assert (await home.until_told(2)).broken is None
        assert [each.name for each in home.swapped] == ["mended"]


async def test_a_file_that_is_put_back_as_it_was_says_that_it_is_whole_again(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    async with home.watched():
        with caplog.at_level("INFO", "tollgate"):
            home.write("broken", "rules: 7\n")
            await home.until_told(1)
            home.write("first")
            assert (await home.until_told(2)).broken is None
    assert home.swapped == []
    assert [each.message for each in caplog.records] == ["policy not reloaded", "policy mended"]


async def test_an_editor_that_replaces_the_file_is_noticed(home: Home) -> None:
    async with home.watched():
        written = home.path / "policy.yaml.swp"
        written.write_text(POLICY % "later")  # the same length in bytes, and as like as a file can be
        written.replace(home.policy)
        assert (await home.until_told(1)).name == "later"


async def test_a_file_that_is_gone_is_said_and_found_again(home: Home) -> None:
    async with home.watched() as watch:
        home.policy.unlink()
        assert (await home.until_told(1)).broken == f"{home.policy}: cannot be read: No such file or directory"
        assert watch.policy.name == "first"
        home.write("second")
        assert (await home.until_told(2)).broken is None


async def test_wake_reads_again_without_a_change(home: Home) -> None:
    async with home.watched() as watch:
        watch.wake()
        status = await home.until_told(1)
        assert (status.broken, home.swapped) == (None, [])


async def test_a_revoked_key_stops_working(home: Home) -> None:
    secret = home.create_key()
    async with home.watched() as watch:
        ring = watch.key_ring
        assert ring is not None
        key_id = ring.caller_of(secret, NOW_MS).key_id
        assert key_id is not None
        with KeysBook(home.keys) as book:
            book.revoke(key_id, NOW_MS)
        await home.until_told(1)
        assert watch.key_ring is ring
        with pytest.raises(InvalidApiKeyError):
            ring.caller_of(secret, NOW_MS)


async def test_the_first_key_closes_an_open_gateway(home: Home) -> None:
    async with home.watched() as watch:
        assert watch.key_ring is None
        secret = home.create_key()
        await home.until_told(1)
        assert watch.key_ring is not None
        assert watch.key_ring.caller_of(secret, NOW_MS).team == "search"


async def test_keys_that_vanish_or_break_stay_in_force(home: Home) -> None:
    secret = home.create_key()
    async with home.watched() as watch:
        home.keys.write_text("keys: [")
        status = await home.until_told(1)
        assert status.broken is not None
        assert status.broken.startswith(f"{home.keys}:1: not valid YAML: ")
        home.keys.unlink()
        status = await home.until_told(2)
        assert status.broken == f"{home.keys}: is gone: the keys that it held stay in force"
        assert watch.key_ring is not None
        assert watch.key_ring.caller_of(secret, NOW_MS).team == "search"


async def test_a_broken_keys_file_holds_back_the_policy_too(home: Home) -> None:
    home.create_key()
    async with home.watched() as watch:
        home.keys.chmod(0o644)
        home.write("second")
        status = await home.until_told(1)
        assert status.broken is not None
        assert "mode 0644" in status.broken
        assert watch.policy.name == "first"


async def test_a_policy_may_move_its_keys(home: Home) -> None:
    old = home.create_key()
    other = home.path / "other.yaml"
    new = home.create_key(other)
    async with home.watched() as watch:
        home.write("second", "keys: {file: other.yaml}\n")
        await home.until_told(1)
        assert watch.key_ring is not None
        assert watch.key_ring.caller_of(new, NOW_MS).team == "search"
        with pytest.raises(InvalidApiKeyError):
            watch.key_ring.caller_of(old, NOW_MS)
        # The new file is the one that is looked at from now on.
        with KeysBook(other) as book:
            book.revoke(new.split("-")[1], NOW_MS)
        async with asyncio.timeout(WAIT_S):
            while is_known(watch, new):  # noqa: ASYNC110  # the ring has no other way to say it
                await asyncio.sleep(0.005)


def test_a_policy_that_names_keys_which_are_not_there_does_not_start(home: Home) -> None:
    home.write("first", "keys: {file: gone.yaml}\n")
    with pytest.raises(ConfigError, match=r"gone\.yaml: there is no such file: `tollgate keys create --policy"):
        PolicyWatch(home.settings(), CATALOG)

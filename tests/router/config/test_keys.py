from __future__ import annotations

import hmac
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.config import keys as keys_module
from router.config.keys import KNOWN_MAX, KeyRing, KeysBook, is_label, load_key_ring, load_keys
from router.errors import ConfigError, InvalidApiKeyError

if TYPE_CHECKING:
    from pathlib import Path

NOW_MS = 1_796_000_000_000
DAY_MS = 86_400_000
EXPIRES = "2026-12-01T00:00:00.000Z"
EXPIRES_MS = 1_796_083_200_000


def made(path: Path, **fields: object) -> tuple[str, KeyRing]:
    with KeysBook(path) as book:
        secret, _ = book.create(NOW_MS, **fields)
    ring = load_key_ring(path)
    assert ring is not None
    return secret, ring


def rotated(path: Path, key_id: str, *, now_ms: int = NOW_MS, grace_ms: int = DAY_MS) -> tuple[str, KeyRing]:
    with KeysBook(path) as book:
        secret, _, _ = book.rotate(key_id, now_ms, grace_ms)
    ring = load_key_ring(path)
    assert ring is not None
    return secret, ring


def test_no_file_is_no_ring(tmp_path: Path) -> None:
    assert load_key_ring(tmp_path / "keys.yaml") is None
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load_keys(tmp_path / "keys.yaml")


def test_a_key_is_good_until_its_expiry_and_not_at_it(tmp_path: Path) -> None:
    secret, ring = made(tmp_path / "keys.yaml", expires=EXPIRES)
    assert ring.caller_of(secret, EXPIRES_MS - 1).key_id == secret.split("-")[1]
    # Known from a moment ago, and refused all the same.
    with pytest.raises(InvalidApiKeyError):
        ring.caller_of(secret, EXPIRES_MS)


@pytest.mark.parametrize("change", ["secret", "id", "short", "long", "empty", "not ascii", "surrogate", "bearer"])
def test_what_is_not_the_key_is_refused_without_a_word_of_it(tmp_path: Path, change: str) -> None:
    secret, ring = made(tmp_path / "keys.yaml")
    presented = {
        "secret": secret[:-1] + ("A" if secret[-1] != "A" else "B"),
        "id": secret.replace(secret[3:15], "0" * 12),
        "short": secret[:-1],
        "long": secret + "A",
        "empty": "",
        "not ascii": secret[:-1] + "é",
        "surrogate": secret[:-1] + "\ud800",
        "bearer": f"Bearer {secret}",
    }[change]
    with pytest.raises(InvalidApiKeyError) as caught:
        ring.caller_of(presented, NOW_MS)
    assert secret[16:40] not in caught.value.message
    assert caught.value.message == "the API key is unknown, revoked or past its expiry"


@pytest.mark.parametrize("has_rotated", [True, False])
@pytest.mark.parametrize("is_known", [True, False])
def test_known_and_unknown_ids_are_compared_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_known: bool, has_rotated: bool
) -> None:
    secret, ring = made(tmp_path / "keys.yaml")
    if has_rotated:
        _, ring = rotated(tmp_path / "keys.yaml", secret[3:15])
    compared: list[tuple[int, int]] = []
    real = hmac.compare_digest

    def seen(left: str, right: str) -> bool:
        compared.append((len(left), len(right)))
        return real(left, right)

    monkeypatch.setattr(keys_module.hmac, "compare_digest", seen)
    key_id = secret[3:15] if is_known else "0" * 12
    with pytest.raises(InvalidApiKeyError):
        ring.caller_of(f"tg-{key_id}-{'A' * 43}", NOW_MS)
    assert compared == [(64, 64), (64, 64)]


def test_two_keys_never_share_a_salt(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    made(path)
    made(path)
    first, second = load_keys(path).keys
    assert first.salt != second.salt
    assert first.hash != second.hash


def test_what_was_verified_is_forgotten_with_the_keys(tmp_path: Path) -> None:
    secret, ring = made(tmp_path / "keys.yaml")
    ring.caller_of(secret, NOW_MS)
    ring.replace_with(KeyRing({}))
    with pytest.raises(InvalidApiKeyError):
        ring.caller_of(secret, NOW_MS)


def test_the_memory_of_verified_keys_is_bounded(tmp_path: Path) -> None:
    secret, ring = made(tmp_path / "keys.yaml")
    ring.caller_of(secret, NOW_MS)
    [known] = ring._known.values()
    ring._known = {bytes([n % 256, n // 256]): known for n in range(KNOWN_MAX)}
    ring.caller_of(secret, NOW_MS)
    assert len(ring._known) == 1


def test_a_failed_write_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "keys.yaml"
    made(path, team="search")
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keys_module.os, "fsync", full)
    with (
        pytest.raises(ConfigError, match=r"keys\.yaml: cannot be written: No space left on device"),
        KeysBook(path) as b,
    ):
        b.create(NOW_MS)
    assert path.read_bytes() == before


def test_a_broken_file_is_not_overwritten_and_its_lock_is_let_go(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text("keys: 7\n")
    path.chmod(0o600)
    for _ in range(2):  # the second would wait for ever if the first kept its lock
        with pytest.raises(ConfigError, match=r"keys\.yaml:1: keys: must be a list"), KeysBook(path):
            pass
    assert path.read_text() == "keys: 7\n"


def test_a_home_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(ConfigError, match=r"home/keys\.yaml: cannot be written: (File exists|Not a directory)"):
        KeysBook(tmp_path / "home" / "keys.yaml")


LABELS = st.text(min_size=1, max_size=20).filter(is_label) | st.sampled_from(
    [
        "null",
        "nULL",
        "~",
        "yes",
        "007",
        "1e5",
        "2026-01-01",
        "<<",
        "- a",
        "a: b",
        "{",
        "#",
        "*a",
        "&a",
        "!x",
        '"',
        "\\",
        "😀",
    ]
)


@given(name=LABELS, tags=st.dictionaries(LABELS, LABELS, max_size=3))
@settings(max_examples=60, deadline=None)
def test_every_printable_name_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, name: str, tags: dict[str, str]
) -> None:
    path = tmp_path_factory.mktemp("keys") / "keys.yaml"
    _, ring = made(path, name=name, team=name, tags=tags)
    [stored] = ring.keys.values()
    assert (stored.name, stored.team, stored.tags) == (name, name, tags)


def test_a_key_too_many_does_not_spoil_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "keys.yaml"
    made(path)
    before = path.read_bytes()
    monkeypatch.setattr("router.config.load.POLICY_BYTES_MAX", len(before) + 10)
    with pytest.raises(ConfigError, match="not changed, since it could not be read again"), KeysBook(path) as book:
        book.create(NOW_MS)
    assert path.read_bytes() == before
    assert sorted(each.name for each in tmp_path.iterdir()) == ["keys.yaml", "keys.yaml.lock"]


def test_bytes_that_are_no_text_are_a_finding(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    path.write_bytes(b"keys: []\n# \xff\n")
    path.chmod(0o600)
    with pytest.raises(ConfigError, match=r"keys\.yaml:2: not UTF-8 text"):
        load_keys(path)


def test_both_secrets_are_good_for_the_grace_and_the_former_ends_with_it(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    former, _ = made(path, team="search", tags={"env": "prod"})
    present, ring = rotated(path, former[3:15])
    assert former[3:15] == present[3:15]
    assert former != present
    for secret in (former, present):
        caller = ring.caller_of(secret, NOW_MS + DAY_MS - 1)
        assert (caller.key_id, caller.team, caller.tags) == (former[3:15], "search", {"env": "prod"})
    # Known from a moment ago, and refused all the same.
    with pytest.raises(InvalidApiKeyError):
        ring.caller_of(former, NOW_MS + DAY_MS)
    assert ring.caller_of(present, NOW_MS + DAY_MS).team == "search"


def test_a_third_secret_is_never_good(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    first, _ = made(path)
    second, _ = rotated(path, first[3:15])
    third, ring = rotated(path, first[3:15], now_ms=NOW_MS + 1)
    with pytest.raises(InvalidApiKeyError):
        ring.caller_of(first, NOW_MS + 2)
    assert ring.caller_of(second, NOW_MS + 2) == ring.caller_of(third, NOW_MS + 2)
    last, ring = rotated(path, first[3:15], now_ms=NOW_MS + 3, grace_ms=0)
    assert ring.caller_of(last, NOW_MS + 4).key_id == first[3:15]
    for secret in (second, third):
        with pytest.raises(InvalidApiKeyError):
            ring.caller_of(secret, NOW_MS + 4)


def test_a_key_that_ends_before_its_grace_takes_both_secrets_with_it(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    former, _ = made(path, expires=EXPIRES)
    present, ring = rotated(path, former[3:15], now_ms=EXPIRES_MS - 10)
    for secret in (former, present):
        assert ring.caller_of(secret, EXPIRES_MS - 1).key_id
        with pytest.raises(InvalidApiKeyError):
            ring.caller_of(secret, EXPIRES_MS)
    with KeysBook(path) as book, pytest.raises(ValueError, match="past its expiry"):
        book.rotate(former[3:15], EXPIRES_MS, DAY_MS)
    with KeysBook(path) as book:
        book.revoke(former[3:15], EXPIRES_MS - 5)
    ring.replace_with(load_key_ring(path) or KeyRing({}))
    for secret in (former, present):
        with pytest.raises(InvalidApiKeyError):
            ring.caller_of(secret, EXPIRES_MS - 4)


LIMITS = [
    {"limit_usd": Decimal("0.000000001"), "window": "hour"},
    {"limit_usd": Decimal("123456789.123456789"), "window": "month", "kind": "soft"},
]


def test_limits_are_budgets_of_the_key_alone_and_exact(tmp_path: Path) -> None:
    secret, ring = made(tmp_path / "keys.yaml", limits=LIMITS)
    caller = ring.caller_of(secret, NOW_MS)
    assert [(each.name, each.limit_nanousd, each.kind) for each in caller.limits] == [
        ("key:hour:hard", 1, "hard"),
        ("key:month:soft", 123_456_789_123_456_789, "soft"),
    ]
    assert {(each.scope, each.owners) for each in caller.limits} == {("key", frozenset({secret[3:15]}))}
    assert ring.callers(NOW_MS) == (caller,)
    with KeysBook(tmp_path / "keys.yaml") as book:
        book.revoke(secret[3:15], NOW_MS)
    again = load_key_ring(tmp_path / "keys.yaml")
    assert again is not None
    assert again.callers(NOW_MS) == ()


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ("{limit_usd: 0, window: day}", "keys[0].limits[0].limit_usd: must be above 0"),
        ("{limit_usd: -5, window: day}", "keys[0].limits[0].limit_usd: must be above 0"),
        ("{limit_usd: 1e12, window: day}", "keys[0].limits[0].limit_usd: must be at most 1000000000"),
        ("{limit_usd: .inf, window: day}", "keys[0].limits[0].limit_usd: "),
        ("{limit_usd: .nan, window: day}", "keys[0].limits[0].limit_usd: "),
        ("{limit_usd: 0.0000000001, window: day}", "keys[0].limits[0].limit_usd: has more than 9 decimals"),
        ('{limit_usd: "5", window: day}', "keys[0].limits[0].limit_usd: must be a number, without quotes"),
        ("{limit_usd: 5, window: year}", "keys[0].limits[0].window: must be hour, day, week, month or total"),
        ("{limit_usd: 5, window: day, kind: mild}", "keys[0].limits[0].kind: must be hard or soft"),
        ("{limit_usd: 5}", "keys[0].limits[0].window: is missing"),
        ("{limit_usd: 5, window: day, zone: UTC}", "keys[0].limits[0].zone: unknown key"),
        ("{limit_usd: 5, window: day}, {limit_usd: 6, window: day}", "keys[0].limits[1]: stands twice"),
    ],
)
def test_a_limit_that_cannot_be_is_named_by_its_line(tmp_path: Path, limit: str, said: str) -> None:
    path = tmp_path / "keys.yaml"
    secrets = f'salt: "{"0" * 32}", hash: "{"0" * 64}", created: 2026-01-01T00:00:00Z'
    quoted = secrets.replace("2026-01-01T00:00:00Z", '"2026-01-01T00:00:00Z"')
    path.write_text(f'keys:\n  - {{id: "{"0" * 12}", {quoted},\n     limits: [{limit}]}}\n')
    path.chmod(0o600)
    with pytest.raises(ConfigError) as caught:
        load_keys(path)
    assert f"keys.yaml:3: {said}" in caught.value.message

from __future__ import annotations

import json
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from router.cli import app
from router.cli.keys import parse_expiry
from router.config.keys import load_key_ring
from router.errors import InvalidApiKeyError

if TYPE_CHECKING:
    from click.testing import Result

REPO = Path(__file__).resolve().parents[3]
NOW_MS = 1_796_000_000_000


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("TOLLGATE_POLICY", "TOLLGATE_HOME", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "home"


def run(home: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["keys", *arguments, "--home", str(home)])


def run_json(home: Path, *arguments: str) -> Any:
    done = run(home, *arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.output)


def test_a_key_is_shown_once_and_stored_as_a_hash(home: Path) -> None:
    done = run(home, "create", "--team", "search")
    assert done.exit_code == 0, done.output
    secret = done.output.splitlines()[0]
    assert re.fullmatch(r"tg-[0-9a-f]{12}-[A-Za-z0-9_-]{43}", secret)
    stored = (home / "keys.yaml").read_text()
    assert secret.split("-", 2)[2] not in stored
    for each in (run(home, "list"), run(home, "list", "--json")):
        assert secret.split("-", 2)[2] not in each.output
        assert "hash" not in each.output
        assert secret.split("-")[1] in each.output
    ring = load_key_ring(home / "keys.yaml")
    assert ring is not None
    assert ring.caller_of(secret, NOW_MS).team == "search"


def test_everything_that_a_key_may_say_is_kept(home: Path) -> None:
    options = [
        *("--team", "search", "--project", "rank", "--name", "Ünïts 1", "--tier", "economy", "--tier", "balanced"),
        *("--model", "claude-haiku", "--tag", "env=prod", "--tag", "cost=a=b", "--expires", "90d"),
    ]
    made = run_json(home, "create", *options)
    [listed] = run_json(home, "list")
    assert {name: value for name, value in made.items() if name not in ("key", "file")} == listed
    assert made["file"] == str(home / "keys.yaml")
    assert (listed["team"], listed["project"], listed["name"]) == ("search", "rank", "Ünïts 1")
    assert (listed["tiers"], listed["models"]) == (["economy", "balanced"], ["claude-haiku"])
    assert (listed["tags"], listed["state"]) == ({"env": "prod", "cost": "a=b"}, "in force")
    ring = load_key_ring(home / "keys.yaml")
    assert ring is not None
    caller = ring.caller_of(made["key"], NOW_MS)
    assert caller.allowed_tiers == {"economy", "balanced"}
    assert caller.allowed_models == {"claude-haiku"}
    assert dict(caller.tags) == {"env": "prod", "cost": "a=b"}


def test_files_are_their_owners_alone(home: Path) -> None:
    run_json(home, "create")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in home.iterdir()}
    assert modes == {"keys.yaml": 0o600, "keys.yaml.lock": 0o600}


@pytest.mark.parametrize("as_whole", [False, True])
def test_a_key_is_revoked_by_its_id_or_by_itself(home: Path, as_whole: bool) -> None:
    made = run_json(home, "create")
    done = run(home, "revoke", made["key"] if as_whole else made["id"])
    assert (done.exit_code, done.output) == (0, f"revoked {made['id']}\n")
    [listed] = run_json(home, "list")
    assert listed["state"] == "revoked"
    again = run_json(home, "revoke", made["id"])
    assert again["revoked"] == listed["revoked"]
    ring = load_key_ring(home / "keys.yaml")
    assert ring is not None
    with pytest.raises(InvalidApiKeyError):
        ring.caller_of(made["key"], NOW_MS)


def test_a_key_can_be_revoked_under_a_broken_policy(home: Path, tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    sound = (REPO / "policies" / "default.yaml").read_text() + "\nkeys: {file: mine.yaml}\n"
    policy.write_text(sound)
    made = run_json(home, "create", "--policy", str(policy))
    assert made["file"] == str(tmp_path / "mine.yaml")
    policy.write_text(sound.replace("premium: claude-opus", "premium: nobody"))
    assert run(home, "create", "--policy", str(policy)).exit_code != 0
    assert run_json(home, "revoke", made["id"], "--policy", str(policy))["state"] == "revoked"
    assert [each["state"] for each in run_json(home, "list", "--policy", str(policy))] == ["revoked"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["create", "--tier", "gold"], "--tier: the policy has no `gold`; it has premium, high, balanced, economy"),
        (["create", "--tier", "hihg"], "--tier: the policy has no `hihg`; did you mean `high`?"),
        (
            ["create", "--model", "claude-opas"],
            "--model: the policy has no `claude-opas`; did you mean `claude-opus`?",
        ),
        (["create", "--tag", "env"], "--tag: must be name=value"),
        (["create", "--tag", "=prod"], "--tag: must be name=value"),
        (["create", "--tag", "env="], "--tag: must be name=value"),
        (["create", "--tag", "a=1", "--tag", "a=2"], "--tag: gives `a` twice"),
        (["create", "--team", ""], "--team: must be 1 to 128 printable characters"),
        (["create", "--name", "a\nb"], "--name: must be 1 to 128 printable characters"),
        (["create", "--project", "x" * 129], "--project: must be 1 to 128 printable characters"),
        (["create", "--expires", "soon"], "--expires: must be days such as 90d, or a time such as 2027-01-01"),
        (["create", "--expires", "0d"], "--expires: is in the past"),
        (["create", "--expires", "2020-01-01"], "--expires: is in the past"),
        (["create", "--limit-usd", "5"], "--window: stands once for each --limit-usd"),
        (["create", "--limit-usd", "0", "--window", "day"], "--limit-usd: must be an amount above 0"),
        (["create", "--limit-usd=-5", "--window", "day"], "--limit-usd: must be an amount above 0"),
        (["create", "--limit-usd", "nan", "--window", "day"], "--limit-usd: must be an amount above 0"),
        (["create", "--limit-usd", "1e9", "--window", "day"], "--limit-usd: must be an amount above 0"),
        (["create", "--limit-usd", "2000000000", "--window", "day"], "--limit-usd: must be an amount above 0"),
        (["create", "--limit-usd", "5", "--window", "dya"], "--window: must be hour, day, week, month, total; did you"),
        (["create", "--limit-usd", "5", "--window", "day", "--kind", "mild"], "--kind: must be hard, soft"),
        (["create", *["--limit-usd", "5", "--window", "day"] * 2], "--limit-usd: gives a hard limit a day twice"),
        (["rotate", "0123456789ab"], "has the id 0123456789ab"),
        (["rotate", "0123456789ab", "--grace", "-1h"], "--grace"),
        (["rotate", "0123456789ab", "--grace", "400d"], "--grace: is more than 366 days"),
        (["revoke", "0123456789ab"], "has the id 0123456789ab"),
        (["revoke", "tg-not-a-key"], "KEY_ID: must be the 12 hex digits that `tollgate keys list` shows"),
        (["revoke"], "Missing argument 'KEY_ID'"),
        (["crate"], "No such command 'crate'"),
    ],
)
def test_a_mistake_on_the_command_line_exits_with_2(home: Path, arguments: list[str], said: str) -> None:
    done = run(home, *arguments)
    assert done.exit_code == 2
    assert said in done.output
    assert not (home / "keys.yaml").exists()


def test_an_unknown_key_is_not_repeated(home: Path) -> None:
    secret = "tg-0123456789ab-" + "s" * 43
    done = run(home, "revoke", secret)
    assert done.exit_code == 2
    assert "0123456789ab" in done.output
    assert "sss" not in done.output


def test_without_keys_the_list_says_how_to_make_one(home: Path) -> None:
    assert run(home, "list").output == f"no keys in {home}/keys.yaml: `tollgate keys create --team NAME` makes one\n"
    assert run_json(home, "list") == []


def test_the_list_is_a_line_a_key(home: Path) -> None:
    made = run_json(home, "create", "--team", "search", "--tag", "env=prod")
    head, line = run(home, "list").output.splitlines()
    assert head.split() == [
        "id",
        "state",
        "name",
        "team",
        "project",
        "tiers",
        "models",
        "tags",
        "limits",
        "created",
        "expires",
        "former",
        "until",
        "revoked",
    ]
    assert line.startswith(f"{made['id']}  in force")
    assert "env=prod" in line


def test_many_creates_at_once_lose_nothing(home: Path) -> None:
    command = [sys.executable, "-m", "router.cli", "keys", "create", "--home", str(home), "--json", "--team"]
    running = [subprocess.Popen([*command, f"t{n}"], cwd=REPO, stdout=subprocess.PIPE) for n in range(6)]
    made = [json.loads(each.communicate(timeout=120)[0]) for each in running]
    assert [each.returncode for each in running] == [0] * 6
    listed = run_json(home, "list")
    assert {each["id"] for each in listed} == {each["id"] for each in made}
    ring = load_key_ring(home / "keys.yaml")
    assert ring is not None
    assert {ring.caller_of(each["key"], NOW_MS).team for each in made} == {f"t{n}" for n in range(6)}


@pytest.mark.parametrize(
    ("text", "expires"),
    [
        (None, None),
        ("1d", "2026-12-01T00:53:20.000Z"),
        ("2027-01-01", "2027-01-01T00:00:00.000Z"),
        ("2027-01-01T12:00:00+02:00", "2027-01-01T10:00:00.000Z"),
    ],
)
def test_an_expiry_is_days_or_a_time(text: str | None, expires: str | None) -> None:
    assert parse_expiry(text, NOW_MS) == expires


def test_limits_stand_in_the_list_and_bind_the_caller(home: Path) -> None:
    pairs = ["--limit-usd", "0.25", "--window", "hour", "--limit-usd", "100", "--window", "month"]
    made = run_json(home, "create", *pairs, "--kind", "hard", "--kind", "soft")
    [listed] = run_json(home, "list")
    assert listed["limits"] == [
        {"limit_usd": "0.25", "window": "hour", "kind": "hard"},
        {"limit_usd": "100", "window": "month", "kind": "soft"},
    ]
    assert "0.25/hour, 100/month soft" in run(home, "list").output
    ring = load_key_ring(home / "keys.yaml")
    assert ring is not None
    assert [each.limit_nanousd for each in ring.caller_of(made["key"], NOW_MS).limits] == [250_000_000, 100_000_000_000]


def test_a_key_is_rotated_and_the_list_says_until_when_the_former_secret_is_good(home: Path) -> None:
    made = run_json(home, "create", "--team", "search")
    new = run_json(home, "rotate", made["id"], "--grace", "2h")
    assert new["id"] == made["id"]
    assert new["key"] != made["key"]
    [listed] = run_json(home, "list")
    assert listed["former_until"] == new["former_until"] > listed["rotated"]
    for each in (run(home, "list"), run(home, "list", "--json")):
        assert "hash" not in each.output
        assert made["key"].split("-", 2)[2] not in each.output
    told = run(home, "rotate", new["key"], "--grace", "0").output
    assert "the former one ended now; the one before that ended now" in told
    assert run_json(home, "list")[0]["former_until"] is None
    run(home, "revoke", made["id"])
    assert "is revoked or past its expiry" in run(home, "rotate", made["id"]).output

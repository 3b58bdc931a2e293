"""`tollgate serve` as a process: what it reloads while running, and how it refuses to start."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.stack import GatewayProcess, clean_environment, free_port
from tests.e2e.conftest import policy_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from router.simulator import SimulatorProcess

REPO = Path(__file__).resolve().parent.parent.parent
WAIT_S = 30.0
ASK = {"model": "auto", "messages": [{"role": "user", "content": "What is the capital of France?"}]}


def send(url: str, body: object = None, **headers: str) -> tuple[int, Any, Mapping[str, str]]:
    data = None if body is None else json.dumps(body).encode()
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **names})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            raw, status, said = answer.read(), answer.status, answer.headers
    except urllib.error.HTTPError as error:
        raw, status, said = error.read(), error.code, error.headers
    return status, json.loads(raw), said


def ask(gateway: GatewayProcess, **headers: str) -> tuple[int, Any, Mapping[str, str]]:
    return send(f"{gateway.url}/v1/chat/completions", ASK, **headers)


def code_of(gateway: GatewayProcess, body: object = ASK, **headers: str) -> tuple[int, str]:
    status, said, _ = send(f"{gateway.url}/v1/chat/completions", body, **headers)
    return status, said["error"]["code"]


def until(is_so: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < deadline_s, "it never came to be"
        time.sleep(0.05)


def in_force(gateway: GatewayProcess) -> dict[str, Any]:
    policy = gateway.read("/readyz")["policy"]
    assert isinstance(policy, dict)
    return policy


def metric(gateway: GatewayProcess, name: str) -> float:
    with urllib.request.urlopen(f"{gateway.url}/metrics", timeout=30) as answer:
        found = re.search(rf"^{name} (\S+)$", answer.read().decode(), re.MULTILINE)
    assert found is not None
    return float(found[1])


def revision_of_an_answer(gateway: GatewayProcess) -> str:
    status, _, headers = ask(gateway)
    assert status == 200
    found = gateway.read(f"/v1/decisions/{headers['X-Router-Decision-Id']}")
    revision = re.search(r'"policy_revision": ?"([0-9a-f]{64})"', json.dumps(found))
    assert revision is not None
    return revision[1]


def test_an_edited_policy_is_in_force_and_a_broken_one_is_not(gateway: GatewayProcess) -> None:
    first = in_force(gateway)["revision"]
    assert revision_of_an_answer(gateway) == first
    sound = gateway.policy.read_text()

    gateway.policy.write_text(sound + "# edited\n")
    until(lambda: in_force(gateway)["revision"] != first)
    second = in_force(gateway)["revision"]
    assert revision_of_an_answer(gateway) == second

    gateway.policy.write_text(sound.replace("default_tier: balanced", "default_tier: balance"))
    until(lambda: in_force(gateway)["broken"] is not None)
    broken = in_force(gateway)
    assert broken["revision"] == second
    assert broken["broken"].startswith(f"{gateway.policy}:")
    assert broken["broken"].endswith("`balance` is no quality tier; did you mean `balanced`?")
    assert revision_of_an_answer(gateway) == second
    assert metric(gateway, "tollgate_policy_broken") == 1
    until(lambda: gateway.log.read_text().count("did you mean `balanced`?") == 1)

    # As editors save: a new file takes the old one's name.
    saved = gateway.policy.with_suffix(".tmp")
    saved.write_text(sound + "# mended\n")
    saved.replace(gateway.policy)
    until(lambda: in_force(gateway)["broken"] is None)
    third = in_force(gateway)["revision"]
    assert third not in (first, second)
    assert revision_of_an_answer(gateway) == third
    assert metric(gateway, "tollgate_policy_broken") == 0


def test_sighup_reads_what_no_stamp_gives_away(gateway: GatewayProcess) -> None:
    assert gateway.process is not None
    unedited = in_force(gateway)["revision"]
    gateway.policy.write_text(gateway.policy_text + "# one\n")
    until(lambda: in_force(gateway)["revision"] != unedited)
    before = gateway.policy.stat()
    first = in_force(gateway)["revision"]
    with gateway.policy.open("r+") as file:
        file.write((gateway.policy_text + "# one\n").replace("# one", "# two"))
    os.utime(gateway.policy, ns=(before.st_atime_ns, before.st_mtime_ns))

    def is_changed() -> bool:
        assert gateway.process is not None
        gateway.process.send_signal(signal.SIGHUP)
        return bool(in_force(gateway)["revision"] != first)

    until(is_changed)
    assert gateway.is_alive()
    assert in_force(gateway)["broken"] is None


def create_key(gateway: GatewayProcess, *options: str) -> dict[str, Any]:
    done = gateway.command("keys", "create", "--json", "--policy", str(gateway.policy), *options)
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    assert isinstance(made, dict)
    return made


def test_keys_are_made_and_revoked_while_it_runs(gateway: GatewayProcess) -> None:
    assert ask(gateway)[0] == 200
    made = create_key(gateway, "--team", "search", "--tag", "env=prod")
    until(lambda: ask(gateway)[0] == 401)
    assert code_of(gateway) == (401, "invalid_api_key")
    status, _, headers = ask(gateway, Authorization=f"Bearer {made['key']}")
    assert status == 200
    assert ask(gateway, x_api_key=made["key"])[0] == 200
    assert code_of(gateway, Authorization=f"Bearer {made['key']}x") == (401, "invalid_api_key")
    decision = f"{gateway.url}/v1/decisions/{headers['X-Router-Decision-Id']}"
    assert '"search"' in json.dumps(send(decision, Authorization=f"Bearer {made['key']}")[1])

    done = gateway.command("keys", "revoke", made["id"], "--policy", str(gateway.policy))
    assert done.returncode == 0, done.stderr
    until(lambda: ask(gateway, x_api_key=made["key"])[0] == 401)
    until(lambda: headers["X-Router-Decision-Id"] in gateway.log.read_text())
    text = gateway.log.read_text() + json.dumps(send(decision, x_api_key=made["key"])[1])
    assert made["key"].split("-", 2)[2] not in text


def test_a_key_allows_what_it_says(gateway: GatewayProcess) -> None:
    narrow = create_key(gateway, "--tier", "economy", "--model", "claude-haiku")["key"]
    until(lambda: ask(gateway)[0] == 401)
    until(lambda: ask(gateway, x_api_key=narrow)[0] == 200)
    assert ask(gateway, x_api_key=narrow, X_Quality_Tier="economy")[2]["X-Router-Model"] == "claude-haiku"
    # Without a tier of its own the request gets one that the key allows, not the policy's default.
    assert ask(gateway, x_api_key=narrow)[2]["X-Router-Model"] == "claude-haiku"
    assert code_of(gateway, x_api_key=narrow, X_Quality_Tier="premium") == (403, "tier_not_allowed")
    assert code_of(gateway, x_api_key=narrow, X_Quality_Tolerance="0") == (403, "tier_not_allowed")
    pinned = {**ASK, "model": "claude-opus"}
    assert code_of(gateway, pinned, x_api_key=narrow) == (403, "model_not_allowed")
    assert code_of(gateway, {**ASK, "model": "auto:high"}, x_api_key=narrow) == (403, "tier_not_allowed")


def test_an_expired_key_is_refused(gateway: GatewayProcess) -> None:
    made = create_key(gateway, "--expires", "1d")
    until(lambda: ask(gateway)[0] == 401)
    until(lambda: ask(gateway, x_api_key=made["key"])[0] == 200)
    file = gateway.home / "keys.yaml"
    file.write_text(file.read_text().replace(made["expires"], "2026-01-01T00:00:00.000Z"))
    until(lambda: ask(gateway, x_api_key=made["key"])[0] == 401)


# --- how it refuses to start -----------------------------------------------------------------------------------------


def refused(folder: Path, *arguments: str, cwd: Path = REPO, **env: str) -> tuple[int, str]:
    """Exit code and standard error of a `serve` that should end by itself; nothing may be printed beside it."""
    environment = clean_environment(TOLLGATE_HOME=str(folder / "home"), PYTHONPATH=str(cwd), **env)
    command = [sys.executable, "-m", "router.cli", "serve", "--port", "0", *arguments]
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=WAIT_S * 2, check=False
    )
    assert done.stdout == ""
    return done.returncode, done.stderr


def test_an_idle_connection_outlives_a_pause(gateway: GatewayProcess) -> None:
    """uvicorn's five seconds are shorter than any client's or load balancer's own."""
    connection = http.client.HTTPConnection(gateway.url.removeprefix("http://"), timeout=30)
    try:
        for pause_s in (0.0, 6.0):
            time.sleep(pause_s)
            connection.request("GET", "/healthz")
            if pause_s == 0.0:
                first = connection.sock
            assert connection.getresponse().read() == b'{"status":"ok"}'
        assert connection.sock is first, "it had to connect anew"
    finally:
        connection.close()


def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        code, said = refused(tmp_path, "--port", port)
    assert code == 3
    assert said == (
        f"cannot listen on 127.0.0.1:{port}: Address already in use; choose another with --port or TOLLGATE_PORT\n"
    )


def test_a_home_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, said = refused(tmp_path, "--home", str(tmp_path / "file"))
    assert (code, said) == (3, f"{tmp_path}/file: cannot be used as TOLLGATE_HOME: File exists\n")
    code, said = refused(tmp_path, "--home", "/proc/self/tollgate")
    assert code == 3
    assert re.fullmatch(r"/proc/self/tollgate: cannot be used as TOLLGATE_HOME: [^\n]+\n", said)


def test_an_artifact_that_was_tampered_with_is_one_line(tmp_path: Path) -> None:
    copy = tmp_path / "checkout"
    shutil.copytree(REPO / "router", copy / "router", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(REPO / "policies", copy / "policies")
    artifact = copy / "router" / "artifacts" / "quality.npz"
    raw = bytearray(artifact.read_bytes())
    raw[len(raw) // 2] ^= 1
    artifact.write_bytes(raw)
    code, said = refused(tmp_path, cwd=copy)
    assert code == 3
    assert re.fullmatch(r"quality\.npz: [^\n]+\n", said)
    artifact.write_bytes(raw[: len(raw) // 2])
    code, said = refused(tmp_path, cwd=copy)
    assert (code, said) == (3, "quality.npz: is no quality model, or was cut off\n")


def test_an_open_address_without_keys_is_one_line(tmp_path: Path) -> None:
    code, said = refused(tmp_path, TOLLGATE_HOST="0.0.0.0")
    assert code == 3
    assert said == (
        "refusing to listen on 0.0.0.0 without keys: make one with `tollgate keys create --team NAME`, "
        "or listen on 127.0.0.1\n"
    )


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"TOLLGATE_PORT": "http"}, "TOLLGATE_PORT: must be a whole number in 0..65535\n"),
        ({"TOLLGATE_LOG_LEVEL": "chatty"}, "TOLLGATE_LOG_LEVEL: must be one of DEBUG, INFO, WARNING, ERROR\n"),
        ({"REDIS_URL": "http://x"}, "REDIS_URL: must begin with redis:// or rediss://\n"),
        ({"TOLLGATE_POLICY": "gone.yaml"}, "gone.yaml: cannot be read: No such file or directory\n"),
        ({"TOLLGATE_HOST": "no.such.host.invalid"}, None),
    ],
)
def test_a_bad_setting_is_one_line(tmp_path: Path, env: dict[str, str], said: str | None) -> None:
    arguments = ("--port", "0") if "TOLLGATE_PORT" not in env else ()
    environment = clean_environment(TOLLGATE_HOME=str(tmp_path / "home"), **env)
    command = [sys.executable, "-m", "router.cli", "serve", *arguments]
    done = subprocess.run(command, cwd=REPO, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.count("\n") == 1
    assert said is None or done.stderr == said


def test_a_broken_policy_or_keys_file_is_told_line_by_line(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("version: 1\nname: x\nmodels: 7\nrouting: 8\n")
    code, said = refused(tmp_path, "--policy", str(policy))
    assert (code, said) == (
        3,
        f"{policy}:3: models: must be a block of keys\n{policy}:4: routing: must be a block of keys\n",
    )
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    (home / "keys.yaml").write_text("keys: []\n")
    (home / "keys.yaml").chmod(0o644)
    code, said = refused(tmp_path)
    assert (code, said) == (
        3,
        f"{home}/keys.yaml:1: mode 0644 lets other users at it: `chmod 600 {home}/keys.yaml`\n",
    )


def test_a_mistake_on_the_command_line_exits_with_2(tmp_path: Path) -> None:
    code, said = refused(tmp_path, "--port", "70000")
    assert code == 2
    assert "--port" in said
    code, said = refused(tmp_path, "--prot", "7")
    assert code == 2
    assert "No such option: --prot" in said


def test_it_is_not_ready_while_the_store_of_budgets_is_away(tmp_path: Path, simulator: SimulatorProcess) -> None:
    budgets = "budgets: [{name: month, scope: all, window: month, limit_usd: 5}]\n"
    for allow, status, code in ((False, 503, 503), (True, 200, 200)):
        text = policy_text(simulator) + budgets
        text += "budget_store: {when_unavailable: allow, allow_usd: 1}\n" if allow else ""
        gateway = GatewayProcess(tmp_path / str(allow), text, redis_url=f"redis://127.0.0.1:{free_port()}/0")
        gateway.start()
        try:
            ready = send(f"{gateway.url}/readyz")
            assert (ready[0], ask(gateway)[0]) == (status, code), ready[1]
            assert ready[1]["budget_store"] != ready[1]["ledger"] == "ok"
        finally:
            gateway.stop()

"""Who may see what, over every route; and that no prompt, answer or key is left anywhere."""

from __future__ import annotations

import json
import sqlite3
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import openai
import pytest
from openai import OpenAI

from benchmarks.stack import GatewayProcess, order_faults
from tests.docs.facts import routes
from tests.e2e.conftest import policy_text

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from router.simulator import SimulatorProcess

ADMIN = "admin-key-9f2c"
PROMPT = "the merger with Initech closes on Friday at midnight"
TOOL_WORDS = "the vault is behind the painting of the sea"
ANSWER_CHARS = 24  # a shorter piece of an answer may stand anywhere by chance
MARKED = "cascade: {verify: [refusal, verifier], verifier_min: 0.5, streams: buffer}\n"
BUDGET = "budgets:\n  - {name: team-day, scope: team, window: day, limit_usd: 0.5, limits_usd: {poor: 0.000001}}\n"


class Keyed(GatewayProcess):
    """A gateway with keys of three teams and an admin key."""

    keys: dict[str, str]

    @property
    def environment(self) -> dict[str, str]:
        return {**super().environment, "TOLLGATE_ADMIN_KEY": ADMIN}

    def make_keys(self, *teams: str) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        self.policy.write_text(self.policy_text, encoding="utf-8")
        self.keys = {}
        for team in teams:
            made = self.command("keys", "create", "--team", team, "--policy", str(self.policy), "--json")
            assert made.returncode == 0, made.stderr
            self.keys[team] = json.loads(made.stdout)["key"]

    def send(self, method: str, path: str, key: str | None, body: object = None) -> tuple[int, bytes]:
        headers = {"Content-Type": "application/json"} | ({"x-api-key": key} if key else {})
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}{path}", data=data, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()


@pytest.fixture
def keyed(tmp_path: Path, simulator: SimulatorProcess) -> Iterator[Keyed]:
    running = Keyed(tmp_path / "home", policy_text(simulator) + BUDGET + MARKED)
    running.make_keys("search", "legal", "poor")
    running.start()
    yield running
    running.stop()


def client_of(gateway: Keyed, team: str) -> OpenAI:
    return OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.keys[team], max_retries=0)


def ask(client: OpenAI, text: str, **changes: Any) -> Any:
    fields: dict[str, Any] = {"model": "auto", "messages": [{"role": "user", "content": text}], "max_tokens": 200}
    return client.chat.completions.with_raw_response.create(**{**fields, **changes})


CHAT = {"model": "auto", "messages": [{"role": "user", "content": "Hi."}], "max_tokens": 10}
# Who gets what: nobody, another team's key, the own team's key, the admin key.
OPEN = (200, 200, 200, 200)
ANY_KEY = (401, 200, 200, 200)
WORK = (401, 200, 200, 401)  # the admin key reads figures; it asks no model
OWN = (401, 404, 200, 200)
OPERATORS = (401, 403, 403, 404)
TABLE: dict[str, tuple[tuple[int, int, int, int], object]] = {
    "POST /v1/chat/completions": (WORK, CHAT),
    "POST /v1/route": (WORK, CHAT),
    "GET /v1/models": (WORK, None),
    "GET /v1/models/{model_id}": (WORK, None),
    "GET /v1/decisions": (ANY_KEY, None),
    "GET /v1/decisions/{decision_id}": (OWN, None),
    "POST /v1/feedback": ((401, 404, 201, 201), "feedback"),
    "GET /v1/reports/savings": (ANY_KEY, None),
    "GET /v1/reports/chargeback": (ANY_KEY, None),
    "GET /v1/reports/context": (ANY_KEY, None),
    "GET /v1/budgets": (ANY_KEY, None),
    "GET /v1/guards": (ANY_KEY, None),
    "POST /v1/guards/{scope_id}/release": (OPERATORS, None),
    "POST /v1/guards/{scope_id}/exempt": ((401, 403, 403, 200), {"for": "1h"}),
    "GET /": (OPEN, None),
    "GET /dashboard": (OPEN, None),
    "GET /dashboard/": (OPEN, None),
    "GET /dashboard/{name}": (OPEN, None),
    "GET /openapi.json": (OPEN, None),
    "GET /healthz": (OPEN, None),
    "GET /readyz": (OPEN, None),
    "GET /metrics": (OPEN, None),
}


def test_every_route_gives_each_key_its_own_and_no_more(keyed: Keyed) -> None:
    assert set(TABLE) == routes(), "a route without a line here"
    with client_of(keyed, "search") as client:
        mine = ask(client, "What is the capital of France?").headers["x-router-decision-id"]
    names = {
        "{model_id}": "claude-haiku", "{decision_id}": mine, "{name}": "main.js",
        "{scope_id}": "lineage-0123456789abcdef",
    }  # fmt: skip
    for line, (statuses, body) in TABLE.items():
        method, path = line.split(" ")
        for name, value in names.items():
            path = path.replace(name, value)
        sent = {"decision_id": mine, "ok": True} if body == "feedback" else body
        keys = (None, keyed.keys["legal"], keyed.keys["search"], ADMIN)
        found = tuple(keyed.send(method, path, key, sent)[0] for key in keys)
        assert found == statuses, line


def test_a_teams_key_sees_no_figure_of_another_team(keyed: Keyed) -> None:
    with client_of(keyed, "search") as client:
        decision_id = ask(client, "What is the capital of France? " * 300).headers["x-router-decision-id"]
    span = "from=2020-01-01&to=2099-01-01"
    for path in (
        f"/v1/reports/savings?{span}&group_by=team,key",
        f"/v1/reports/chargeback?{span}&group_by=team,key",
        f"/v1/reports/context?{span}&group_by=team,key",
        "/v1/decisions?limit=50",
        "/v1/budgets",
        f"/v1/guards?{span}",
    ):
        own = keyed.send("GET", path, keyed.keys["search"])[1]
        other = keyed.send("GET", path, keyed.keys["legal"])[1]
        assert b"search" in own or b"guards" in path.encode() or b"guard" in own, path
        assert b'"search"' not in other, path
        assert decision_id.encode() not in other, path
    everything = json.loads(keyed.send("GET", f"/v1/reports/chargeback?{span}", ADMIN)[1])
    assert [each["owner"]["team"] for each in everything["owners"]] == ["search"]


def left_behind(gateway: Keyed) -> dict[str, bytes]:
    """Everything that the gateway wrote or says, by where."""
    found = {path.name: path.read_bytes() for path in gateway.home.rglob("*") if path.is_file()}
    with sqlite3.connect(gateway.home / "ledger.sqlite") as database:
        found["dump"] = "\n".join(database.iterdump()).encode()
    span = "from=2020-01-01&to=2099-01-01"
    decisions = json.loads(gateway.send("GET", "/v1/decisions?limit=500", ADMIN)[1])["data"]
    paths = [f"/v1/decisions/{each['decision_id']}" for each in decisions]
    paths += [
        "/metrics",
        "/readyz",
        "/v1/budgets",
        f"/v1/guards?{span}",
        f"/v1/reports/savings?{span}&group_by=key,tag:app",
    ]
    paths += [f"/v1/reports/context?{span}&group_by=key", f"/v1/reports/chargeback?{span}&group_by=key&format=csv"]
    paths += ["/v1/decisions?limit=500", "/openapi.json"]
    for path in paths:
        found[path] = gateway.send("GET", path, ADMIN)[1]
    for form in ("jsonl", "csv"):
        done: subprocess.CompletedProcess[bytes] = gateway.command("ledger", "export", "--out", "-", "--format", form)
        found[f"export {form}"] = done.stdout + done.stderr
    return found


def test_no_prompt_answer_or_key_is_left_anywhere(keyed: Keyed, simulator: SimulatorProcess) -> None:
    answers: list[str] = []
    errors: list[str] = []
    tool = {"type": "function", "function": {"name": "find", "parameters": {"type": "object", "properties": {}}}}
    call = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": json.dumps({"q": TOOL_WORDS})}}
    with client_of(keyed, "search") as client:
        answers.append(ask(client, PROMPT).parse().choices[0].message.content)
        for chunk in ask(client, PROMPT, stream=True).parse():
            answers += [
                each.delta.content for each in chunk.choices if each.delta.content and len(each.delta.content) > 24
            ]
        history: Any = [
            {"role": "system", "content": PROMPT}, {"role": "user", "content": "Go on."},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": TOOL_WORDS},
        ]  # fmt: skip
        ask(client, "", messages=history, tools=[tool])
        for _ in range(8):  # a guard notices
            try:
                ask(client, f"{PROMPT}. " * 2_000, extra_headers={"X-Quality-Tier": "premium"})
            except openai.APIStatusError as error:
                errors.append(error.response.text)
        order_faults(simulator, [{"fault": fault, "limit": 2} for fault in ("500", "malformed_json", "html")])
        for _ in range(4):
            try:
                ask(client, PROMPT)
            except openai.APIStatusError as error:
                errors.append(error.response.text)
        for wrong in ({"role": PROMPT, "content": PROMPT}, {"role": "user", "content": [{"type": PROMPT}]}):
            with pytest.raises(openai.BadRequestError) as caught:
                ask(client, "", messages=[wrong])
            errors.append(caught.value.response.text)
    with client_of(keyed, "poor") as client, pytest.raises(openai.APIStatusError) as broke:
        ask(client, PROMPT)
    errors.append(broke.value.response.text)
    stranger = f"tg-{'0' * 12}-stranger-key-words"
    errors.append(keyed.send("POST", "/v1/chat/completions", stranger, CHAT)[1].decode())
    secrets = [PROMPT, TOOL_WORDS, ADMIN, stranger, "stranger-key-words", *keyed.keys.values()]
    secrets += [key.split("-", 2)[2] for key in keyed.keys.values()]  # the secret itself may hold "_" and "-"
    secrets += [each[:40] for each in answers if each]
    assert len(answers) >= 1
    assert b'"marks":[' in b"".join(left_behind(keyed).values()), "numbers of the answers are, and no word"
    places = left_behind(keyed) | {"errors": "\n".join(errors).encode()}
    for where, content in places.items():
        for secret in secrets:
            assert secret.encode() not in content, f"{secret!r} in {where}"

"""The routes beside the hot one, and what every route has in common."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from fastapi import APIRouter, Depends

from router.budgets import Budget
from router.errors import BudgetStoreUnavailableError, LedgerUnavailableError
from router.money import NANO_PER_USD, usd_of
from router.policy import Caller
from router.server import create_app
from router.server.auth import Reader, reader_of, require_reader
from router.server.parts import no_budgets
from router.stores.memory import MemoryLedger
from tests.router.server.fakes import KEYS, POLICY, FakeStatus, Sent, parts_of, send_to

if TYPE_CHECKING:
    from router.gateway import Gateway
    from router.policy import Policy

ASK = b'{"messages":[{"role":"user","content":"Hi"}]}'
SEARCH, LEGAL = {"x-api-key": "key-search"}, {"x-api-key": "key-legal"}
ADMIN = {"authorization": "Bearer admin"}


def found(sent: Sent, status: int = 200) -> Any:
    assert sent.status == status, sent.body
    return json.loads(sent.body)


def error(sent: Sent, status: int) -> Any:
    body = found(sent, status)["error"]
    assert set(body) >= {"message", "type", "param", "code"}
    return body


async def test_a_key_sees_the_models_and_tiers_that_it_may_use() -> None:
    app = create_app(parts_of(keys=KEYS))
    listed = found(await send_to(app, "GET", "/v1/models", headers=LEGAL))
    assert [model["id"] for model in listed["data"]] == ["auto", "auto:premium", "opus", "haiku"]
    assert error(await send_to(app, "GET", "/v1/models"), 401)["code"] == "invalid_api_key"


async def test_one_model_or_none() -> None:
    app = create_app(parts_of())
    opus = found(await send_to(app, "GET", "/v1/models/opus"))
    assert (opus["owned_by"], opus["tier"], opus["context_window"]) == ("anthropic", "premium", 200_000)
    assert error(await send_to(app, "GET", "/v1/models/gpt"), 404)["code"] == "model_not_found"


async def test_a_decision_without_sending_it() -> None:
    parts = parts_of()
    receipt = found(
        await send_to(create_app(parts), path="/v1/route", body=ASK, headers={"x-quality-tolerance": "0.005"})
    )
    assert receipt["model"] == "opus"
    assert receipt["tolerance"] == 0.005
    lost = receipt["candidates"][1]
    assert (lost["model"], lost["why_not"]) == ("haiku", ["loss_above_threshold"])
    assert lost["expected_cost_usd"] == usd_of(lost["expected_cost_nanousd"])
    assert parts.gateway.requests == []  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"{", {}, 400, "invalid_request"),
        (ASK, {"x-quality-tolerance": "7"}, 400, "invalid_quality_tolerance"),
        (ASK, {"x-quality-tier": "platinum"}, 400, "unknown_quality_tier"),
        (ASK.replace(b"{", b'{"model":"gpt",', 1), {}, 404, "model_not_found"),
        (ASK, {"content-length": "99999999999"}, 413, "request_too_large"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/route", "/v1/chat/completions"])
async def test_both_routes_refuse_alike(
    path: str, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    assert error(await send_to(create_app(parts_of()), path=path, body=body, headers=headers), status)["code"] == code


@pytest.mark.parametrize("path", ["/v1/route", "/v1/chat/completions"])
async def test_blanks_around_a_header_are_no_part_of_it(path: str) -> None:
    headers = {"x-api-key": " key-search ", "x-quality-tier": " high\t"}
    parts = parts_of(keys=KEYS)
    sent = await send_to(create_app(parts), path=path, body=ASK, headers=headers)
    assert sent.status == 200, sent.body


@pytest.mark.parametrize("path", ["/chat/completions", "/v1/v1/chat/completions", "/v1/chat/completions/", "/models"])
async def test_a_base_url_with_a_part_too_few_or_too_many_is_told_the_right_one(path: str) -> None:
    refused = error(await send_to(create_app(parts_of()), path=path, body=ASK), 404)
    assert refused["code"] == "not_found"
    assert "base URL ends in /v1" in refused["message"]


async def test_another_path_is_told_where_the_routes_are_listed() -> None:
    refused = error(await send_to(create_app(parts_of()), path="/v1/embeddings", body=b"{}"), 404)
    assert "/openapi.json" in refused["message"]


async def test_a_tier_that_the_key_may_not_use_is_403() -> None:
    headers = {**LEGAL, "x-quality-tier": "economy"}
    sent = await send_to(create_app(parts_of(keys=KEYS)), body=ASK, headers=headers)
    assert error(sent, 403)["code"] == "tier_not_allowed"


async def test_a_past_decision_says_what_it_really_cost() -> None:
    app = create_app(parts_of())
    decision_id = (await send_to(app, body=ASK)).headers["x-router-decision-id"]
    decision = found(await send_to(app, "GET", f"/v1/decisions/{decision_id}"))
    assert decision["cost_usd"] == usd_of(1_234)
    assert decision["premium_cost_usd"] == {"low": usd_of(900), "point": usd_of(1_000), "high": usd_of(1_100)}
    assert decision["savings_usd"] == usd_of(-234)
    assert decision["receipt"] == {"model": "haiku"}
    assert decision["attempts"] == [
        {
            "attempt": 1,
            "model": "haiku",
            "outcome": "answered",
            "cost_usd": usd_of(1_234),
            "usage_source": "reported",
            "error_code": None,
            "latency_ms": 5,
            "marks": None,
        }
    ]


async def test_a_refused_request_has_a_decision_too() -> None:
    app = create_app(parts_of())
    decision_id = (await send_to(app, body=b"{")).headers["x-router-decision-id"]
    decision = found(await send_to(app, "GET", f"/v1/decisions/{decision_id}"))
    assert (decision["outcome"], decision["error_code"]) == ("rejected", "invalid_request")
    assert decision["premium_cost_usd"] is None
    assert decision["attempts"] == []


async def test_a_key_sees_only_its_own_decisions_and_the_admin_sees_all() -> None:
    app = create_app(parts_of(keys=KEYS, admin_key="admin"))
    decision_id = (await send_to(app, body=ASK, headers=SEARCH)).headers["x-router-decision-id"]
    path = f"/v1/decisions/{decision_id}"
    assert found(await send_to(app, "GET", path, headers=SEARCH))["decision_id"] == decision_id
    assert found(await send_to(app, "GET", path, headers=ADMIN))["decision_id"] == decision_id
    assert error(await send_to(app, "GET", path, headers=LEGAL), 404)["code"] == "decision_not_found"
    assert error(await send_to(app, "GET", path), 401)["code"] == "invalid_api_key"
    label = json.dumps({"decision_id": decision_id, "ok": True}).encode()
    assert error(await send_to(app, path="/v1/feedback", body=label, headers=LEGAL), 404)
    assert found(await send_to(app, path="/v1/feedback", body=label, headers=SEARCH), 201)["score"] == 1.0


@pytest.mark.parametrize("decision_id", ["dec_none", "x" * 65, "%00", "d%C3%A9c"])
async def test_there_is_no_such_decision(decision_id: str) -> None:
    sent = await send_to(create_app(parts_of()), "GET", f"/v1/decisions/{decision_id}")
    assert error(sent, 404)["code"] == "decision_not_found"


@pytest.mark.parametrize(
    ("label", "score"), [({"ok": True}, 1.0), ({"ok": False}, 0.0), ({"score": 0.25}, 0.25), ({"score": 1}, 1.0)]
)
async def test_feedback_is_written_down_and_shown(label: dict[str, Any], score: float) -> None:
    app = create_app(parts_of())
    decision_id = (await send_to(app, body=ASK)).headers["x-router-decision-id"]
    body = json.dumps({"decision_id": decision_id, "source": "judge", **label}).encode()
    told = found(await send_to(app, path="/v1/feedback", body=body), 201)
    assert told == {"decision_id": decision_id, "score": score, "source": "judge"}
    labels = found(await send_to(app, "GET", f"/v1/decisions/{decision_id}"))["feedback"]
    assert [(each["score"], each["source"]) for each in labels] == [(score, "judge")]


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"decision_id": 7}, "decision_id"),
        ({}, "score"),
        ({"score": True}, "score"),
        ({"score": "1"}, "score"),
        ({"score": 1.01}, "score"),
        ({"score": -1}, "score"),
        ({"ok": 1}, "ok"),
        ({"ok": True, "score": 1}, "score"),
        ({"ok": True, "source": ""}, "source"),
        ({"ok": True, "source": "x" * 65}, "source"),
        ({"ok": True, "source": "a\nb"}, "source"),
        ({"ok": True, "source": "judge\n"}, "source"),
        ({"ok": True, "source": None}, "source"),
        ({"comment": "too long"}, "comment"),
        ({"rating": 5}, "rating"),
        ({"too long, I think": 1}, "body"),
    ],
)
async def test_feedback_that_says_nothing_is_refused(changes: dict[str, Any], param: str) -> None:
    body = json.dumps({"decision_id": "dec_1", **changes}).encode()
    assert error(await send_to(create_app(parts_of()), path="/v1/feedback", body=body), 400)["param"] == param


async def test_feedback_is_bounded() -> None:
    sent = await send_to(create_app(parts_of()), path="/v1/feedback", body=b" " * 65_537)
    assert error(sent, 413)["code"] == "request_too_large"


async def test_alive_ready_and_measured() -> None:
    parts = parts_of(keys=KEYS)
    app = create_app(parts)
    assert found(await send_to(app, "GET", "/healthz")) == {"status": "ok"}
    assert found(await send_to(app, "GET", "/readyz"))["status"] == "ready"
    metrics = await send_to(app, "GET", "/metrics")
    assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert b"tollgate_unauthenticated_total 0.0" in metrics.body


async def test_a_broken_policy_file_is_told_while_the_old_one_serves() -> None:
    parts = parts_of(policy_status=lambda: FakeStatus(broken="policy.yaml:3: models: unknown key"))
    ready = found(await send_to(create_app(parts), "GET", "/readyz"))
    assert ready["policy"]["broken"] == "policy.yaml:3: models: unknown key"
    assert ready["status"] == "ready"


@dataclass
class BrokenLedger(MemoryLedger):
    failure: Exception

    async def check(self) -> None:
        raise self.failure

    async def request(self, decision_id: str) -> Any:
        raise self.failure


async def test_a_ledger_that_cannot_write_makes_the_gateway_unready() -> None:
    app = create_app(parts_of(ledger=BrokenLedger(LedgerUnavailableError("the disk is full"))))
    assert found(await send_to(app, "GET", "/readyz"), 503)["ledger"] == "the disk is full"
    assert error(await send_to(app, "GET", "/v1/decisions/d"), 503)["code"] == "ledger_unavailable"


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_a_probe_may_ask_by_head(path: str) -> None:
    assert (await send_to(create_app(parts_of()), "HEAD", path)).status == 200


@pytest.mark.parametrize(
    ("keys", "path", "key", "told"),
    [
        (KEYS, "/v1/chat/completions", "admin", "this is the admin key: it reads everybody's figures"),
        (KEYS, "/v1/models", "admin", "`tollgate keys create` makes a key that does"),
        (KEYS, "/v1/chat/completions", None, "the API key is missing: send"),
        (KEYS, "/v1/decisions", "wrong", "the API key is unknown"),
        (None, "/v1/decisions", "wrong", "the API key is not the admin key"),
        (None, "/v1/decisions", None, "the API key is missing: send"),
    ],
)
async def test_a_refused_key_is_told_what_is_wrong_with_it(keys: Any, path: str, key: str | None, told: str) -> None:
    app = create_app(parts_of(keys=keys, admin_key="admin"))
    headers = {} if key is None else {"x-api-key": key}
    method, body = ("POST", ASK) if "chat" in path else ("GET", b"")
    said = error(await send_to(app, method, path, body=body, headers=headers), 401)
    assert said["code"] == "invalid_api_key"
    assert told in said["message"]
    assert "missing" not in said["message"] or key is None


async def away() -> None:
    raise BudgetStoreUnavailableError("Redis does not answer")


COUNTED = replace(POLICY, budgets=(Budget("team-day", "team", "day", NANO_PER_USD),))


@pytest.mark.parametrize(
    ("policy", "keys", "status"),
    [
        (COUNTED, None, 503),
        (replace(COUNTED, budget_allowance_nanousd=1), None, 200),
        (POLICY, None, 200),
        (POLICY, SimpleNamespace(callers=lambda _: [Caller(limits=COUNTED.budgets)]), 503),
    ],
    ids=["budgets", "budgets with an allowance", "no budgets", "a key's limit"],
)
async def test_a_store_of_budgets_that_is_away_is_told_and_makes_it_unready_where_it_refuses(
    policy: Policy, keys: Any, status: int
) -> None:
    parts = parts_of(check_budgets=away, keys=keys)
    parts.gateway = cast("Gateway", SimpleNamespace(policy=policy))
    app = create_app(parts)
    ready = found(await send_to(app, "GET", "/readyz"), status)
    assert (ready["status"] == "ready") is (status == 200)
    assert (ready["budget_store"], ready["ledger"]) == ("Redis does not answer", "ok")
    parts.check_budgets = no_budgets
    assert found(await send_to(app, "GET", "/readyz"))["budget_store"] == "ok"


@pytest.mark.parametrize(("rejects", "is_on", "status"), [(True, True, 503), (True, False, 200), (False, True, 200)])
async def test_guards_that_cannot_see_make_it_unready_where_they_refuse(
    rejects: bool, is_on: bool, status: int
) -> None:
    parts = parts_of(are_guards_away=lambda: True)
    guards = replace(POLICY.guards, rejects_without_state=rejects, is_on=is_on)
    parts.gateway = cast("Gateway", SimpleNamespace(policy=replace(POLICY, guards=guards)))
    app = create_app(parts)
    ready = found(await send_to(app, "GET", "/readyz"), status)
    assert (ready["guard_state"], ready["ledger"]) == ("what other gateways saw cannot be read", "ok")
    parts.are_guards_away = bool
    assert found(await send_to(app, "GET", "/readyz"))["guard_state"] == "ok"


async def test_a_bug_beside_the_hot_route_is_in_shape_and_silent(caplog: pytest.LogCaptureFixture) -> None:
    app = create_app(parts_of(ledger=BrokenLedger(KeyError("a secret prompt"))))
    with caplog.at_level(logging.DEBUG):
        sent = await send_to(app, "GET", "/v1/decisions/d")
    assert error(sent, 500)["code"] == "internal_error"
    assert "secret" not in sent.body.decode() + caplog.text
    assert [record.message for record in caplog.records if record.levelno >= logging.ERROR] == ["internal error"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "not_found"),
        ("GET", "/v1/chat/completions/", 404, "not_found"),
        ("POST", "/v2/chat/completions", 404, "not_found"),
        ("GET", "/docs", 404, "not_found"),
        ("GET", "/v1/chat/completions", 405, "method_not_allowed"),
        ("PUT", "/v1/chat/completions", 405, "method_not_allowed"),
        ("DELETE", "/v1/models", 405, "method_not_allowed"),
    ],
)
async def test_unknown_routes_and_methods_are_in_shape(method: str, path: str, status: int, code: str) -> None:
    sent = await send_to(create_app(parts_of()), method, path)
    assert error(sent, status)["code"] == code
    if status == 405:
        assert sent.headers["allow"] == ("GET" if path == "/v1/models" else "POST")


async def test_a_client_that_leaves_a_slow_route_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    messages = [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}]

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        pass

    scope = {"type": "http", "path": "/v1/route", "method": "POST", "headers": [], "query_string": b""}
    await create_app(parts_of())(scope, receive, send)
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


@pytest.mark.parametrize(
    ("keys", "admin_key", "headers", "reader"),
    [
        (None, None, {}, Reader(sees_all=True)),
        (None, "admin", {}, None),
        (None, "admin", ADMIN, Reader(sees_all=True)),
        (KEYS, "admin", ADMIN, Reader(sees_all=True)),
        (KEYS, "admin", SEARCH, Reader(sees_all=False, team="search", key_id="k1")),
        (KEYS, "admin", {"x-api-key": "admi\xf1"}, None),
        (KEYS, None, {}, None),
    ],
)
async def test_who_may_read_figures(keys: Any, admin_key: str | None, headers: Any, reader: Reader | None) -> None:
    parts = parts_of(keys=keys, admin_key=admin_key)
    routes = APIRouter()

    @routes.get("/v1/mounted")
    def mounted(who: Reader = Depends(require_reader(parts))) -> dict[str, Any]:  # noqa: B008, FAST002
        return {"sees_all": who.sees_all, "team": who.team, "key_id": who.key_id}

    sent = await send_to(create_app(parts, routes), "GET", "/v1/mounted", headers=headers)
    if reader is None:
        assert error(sent, 401)["code"] == "invalid_api_key"
    else:
        assert found(sent) == {"sees_all": reader.sees_all, "team": reader.team, "key_id": reader.key_id}
        assert reader_of(parts, headers) == reader

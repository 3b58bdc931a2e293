"""Query strings: nothing that a report is asked by is ignored, and a span is the command line's."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from router.clock import parse_time_ms
from router.errors import RequestError
from router.guards.keeper import Keeper
from router.server import create_app
from router.server.budgets import budget_routes
from router.server.chargeback import chargeback_routes
from router.server.contexts import context_routes
from router.server.guards import guard_routes
from router.server.query import WEEK_MS, parse_span
from router.server.reports import report_routes
from router.stores.budgets.memory import MemoryBudgets
from tests.router.server.fakes import POLICY, SALT, parts_of, send_to

if TYPE_CHECKING:
    from router.gateway import Gateway

NOW_MS = parse_time_ms("2026-11-30T12:00:00Z")
DAY_MS = WEEK_MS // 7
LISTS = {
    "/v1/reports/savings": ("groupby", "group_by"),
    "/v1/reports/chargeback": ("fromm", "from"),
    "/v1/reports/context": ("sinc", "since"),
    "/v1/decisions": ("form", "from"),
    "/v1/budgets": ("formt", "format"),
    "/v1/guards": ("limits", "limit"),
}


def app_of() -> Any:
    parts = parts_of()
    parts.gateway = cast("Gateway", SimpleNamespace(policy=POLICY))
    routes = (report_routes, chargeback_routes, context_routes)
    budgets = budget_routes(parts, MemoryBudgets(parts.clock))
    return create_app(parts, *(each(parts) for each in routes), budgets, guard_routes(parts, Keeper(SALT, print)))


async def test_no_report_or_list_ignores_a_parameter() -> None:
    app = app_of()
    for path, (slip, meant) in LISTS.items():
        assert (await send_to(app, "GET", path)).status == 200, path
        for name, told in (
            (slip, f"; did you mean `{meant}`?"),
            ("zzz", "zzz: no parameter of this route; it takes"),
        ):
            sent = await send_to(app, "GET", f"{path}?{name}=30d")
            error = json.loads(sent.body)["error"]
            assert (sent.status, error["code"], error["param"]) == (400, "invalid_request", name)
            assert told in error["message"]
            assert meant in error["message"]


async def test_a_parameter_that_stands_twice_is_refused() -> None:
    app = app_of()
    for path in LISTS:
        name = LISTS[path][1]
        sent = await send_to(app, "GET", f"{path}?{name}=1&{name}=2")
        error = json.loads(sent.body)["error"]
        assert (sent.status, error["param"]) == (400, name)
        assert "stands twice" in error["message"]


async def test_every_parameter_that_is_taken_stands_in_the_document() -> None:
    app = app_of()
    document = json.loads((await send_to(app, "GET", "/openapi.json")).body)
    for path in LISTS:
        error = json.loads((await send_to(app, "GET", f"{path}?zzz")).body)["error"]["message"]
        documented = {each["name"] for each in document["paths"][path]["get"]["parameters"]}
        assert documented == set(error.split(" takes ")[1].split(", ")), path


@pytest.mark.parametrize(
    ("query", "from_ms"),
    [
        ({"since": "30d"}, NOW_MS - 30 * DAY_MS),
        ({"since": "12h"}, NOW_MS - DAY_MS // 2),
        ({"since": "2w", "to": "2026-11-29"}, NOW_MS - 2 * WEEK_MS),
        ({"since": "2026-11-01"}, parse_time_ms("2026-11-01")),
        ({"from": "2026-11-01"}, parse_time_ms("2026-11-01")),
        ({"from": "2026-11-01T00:00:00 01:00"}, parse_time_ms("2026-10-31T23:00:00Z")),
        ({}, NOW_MS - WEEK_MS),
    ],
)
def test_a_span_begins_as_the_command_line_has_it(query: dict[str, str], from_ms: int) -> None:
    assert parse_span(query, NOW_MS)[0] == from_ms


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"since": "7d", "from": "2026-11-01"}, "since"),
        ({"since": "soon"}, "since"),
        ({"since": "2d", "to": "2026-11-01"}, "since"),
        ({"from": "7d"}, "from"),
    ],
)
def test_a_span_that_cannot_be_meant_is_refused(query: dict[str, str], param: str) -> None:
    with pytest.raises(RequestError) as refused:
        parse_span(query, NOW_MS)
    assert refused.value.param == param

"""The OpenAPI document says what is so: generated requests, sound and unsound, get only what it promises."""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING, Any

import pytest
import requests
import schemathesis
from fastapi import APIRouter
from hypothesis import HealthCheck, settings
from jsonschema import Draft202012Validator
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from router.server import create_app
from router.server.openapi_parts import ERROR
from tests.router.server.fakes import KEYS, parts_of, send_to, served

if TYPE_CHECKING:
    from collections.abc import Iterator

# More for a release: TOLLGATE_FUZZ_EXAMPLES=1000 generates ten thousand requests over all routes.
EXAMPLES = int(os.environ.get("TOLLGATE_FUZZ_EXAMPLES", "8"))
# Not `positive_data_acceptance`: a schema cannot say that a tool result needs its call, or which tiers a policy has.
CHECKS: list[Any] = [
    not_a_server_error,
    allow_header_conformance,
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
]


async def document(*routers: APIRouter) -> dict[str, Any]:
    sent = await send_to(create_app(parts_of(), *routers), "GET", "/openapi.json")
    assert sent.status == 200
    return json.loads(sent.body)  # type: ignore[no-any-return]


schema = schemathesis.openapi.from_dict(asyncio.run(document()))


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served(parts_of()) as address:
        yield address


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as found:
        yield found


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.function_scoped_fixture],
)
def test_every_response_is_as_promised(case: Any, url: str, session: requests.Session) -> None:
    response = case.call_and_validate(base_url=url, session=session, checks=CHECKS)
    if response.status_code >= 400 and response.headers.get("content-type") == "application/json":
        assert response.json().get("error", {}).get("code") or case.path == "/readyz"


@pytest.mark.parametrize("is_streamed", [False, True])
def test_an_answer_and_a_stream_are_as_promised(is_streamed: bool, url: str, session: requests.Session) -> None:
    body = {"model": "auto", "messages": [{"role": "user", "content": "Name a river."}], "stream": is_streamed}
    case = schema["/v1/chat/completions"]["POST"].Case(body=body, media_type="application/json")
    response = case.call_and_validate(base_url=url, session=session, checks=CHECKS)
    assert response.status_code == 200
    kind = "text/event-stream" if is_streamed else "application/json"
    assert response.headers["content-type"][0].startswith(kind)


async def test_the_document_names_every_route_and_every_schema_is_one() -> None:
    found = await document()
    assert set(found["paths"]) == {
        "/v1/chat/completions",
        "/v1/route",
        "/v1/models",
        "/v1/models/{model_id}",
        "/v1/decisions",
        "/v1/decisions/{decision_id}",
        "/v1/feedback",
        "/healthz",
        "/readyz",
        "/metrics",
    }
    for each in found["components"]["schemas"].values():
        Draft202012Validator.check_schema(each)
    named = set(found["components"]["schemas"])
    text = json.dumps(found)
    used = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert used <= named
    assert named - used == set()


async def test_a_mounted_route_is_described_without_the_frameworks_own_error() -> None:
    routes = APIRouter()

    @routes.get("/v1/reports/one")
    def one(days: int = 7) -> dict[str, int]:
        return {"days": days}

    found = await document(routes)
    responses = found["paths"]["/v1/reports/one"]["get"]["responses"]
    assert "422" not in responses
    assert responses["400"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Error"}
    sent = await send_to(create_app(parts_of(), routes), "GET", "/v1/reports/one?days=x")
    body = json.loads(sent.body)
    assert (sent.status, body["error"]["param"]) == (400, "days")
    Draft202012Validator(ERROR).validate(body)


async def test_the_document_needs_no_key() -> None:
    assert (await send_to(create_app(parts_of(keys=KEYS)), "GET", "/openapi.json")).status == 200

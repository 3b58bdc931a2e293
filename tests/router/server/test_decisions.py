"""The list of decisions: newest first, whole over its pages, and only what the key may see."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from router.features import FEATURE_NAMES, NETWORK_FEATURE_COUNT
from router.ledger import Feedback
from router.money import usd_of
from router.server import create_app
from router.server.decisions import LABELS_MAX
from router.stores.memory import MemoryLedger
from tests.lines import START_MS, StillClock, failure_line, intent_line, rejection_line, settlement_line
from tests.router.server.fakes import KEYS, Sent, parts_of, quality_model, send_to

if TYPE_CHECKING:
    from collections.abc import Callable

ADMIN, SEARCH, LEGAL = {"x-api-key": "admin"}, {"x-api-key": "key-search"}, {"x-api-key": "key-legal"}
PATH = "/v1/decisions"


def found(sent: Sent, status: int = 200) -> Any:
    assert sent.status == status, sent.body
    return json.loads(sent.body)


async def app_over(*ids: tuple[str, int], **changes: Any) -> Callable[..., Any]:
    """The application over answered requests, each with its id and its time after the start in milliseconds."""
    ledger = MemoryLedger()
    for decision_id, after_ms in ids:
        await ledger.append(intent_line(decision_id, time_ms=START_MS + after_ms), settlement_line(decision_id))
    return create_app(parts_of(ledger=ledger, **changes))


async def test_pages_hold_every_decision_once_newest_first_also_within_a_millisecond() -> None:
    app = await app_over(*((f"d{number:02}", number // 4) for number in range(11)))
    seen: list[str] = []
    query = "limit=3"
    while True:
        page = found(await send_to(app, "GET", f"{PATH}?{query}"))
        assert len(page["data"]) <= 3
        seen += [row["decision_id"] for row in page["data"]]
        assert page["has_more"] is (page["next_before"] is not None)
        if not page["has_more"]:
            break
        query = f"limit=3&before={page['next_before']}"
    assert seen == [f"d{number:02}" for number in reversed(range(11))]


async def test_a_span_cuts_the_list() -> None:
    app = await app_over(("old", 0), ("new", 5_000))
    page = found(await send_to(app, "GET", f"{PATH}?from=2026-10-26T07:33:24Z"))
    assert [row["decision_id"] for row in page["data"]] == ["new"]
    page = found(await send_to(app, "GET", f"{PATH}?from=2026-10-26T07:33:24Z&before=old"))
    assert page["data"] == []


async def test_rows_say_what_was_billed_and_nothing_of_the_content() -> None:
    ledger = MemoryLedger()
    await ledger.append(intent_line("a"), settlement_line("a"))
    await ledger.append(rejection_line("b", time_ms=START_MS + 1))
    app = create_app(parts_of(ledger=ledger))
    refused, answered = found(await send_to(app, "GET", PATH))["data"]
    assert (refused["outcome"], refused["premium_cost_usd"], refused["savings_usd"]) == ("rejected", None, None)
    one = found(await send_to(app, "GET", f"{PATH}/a"))
    assert answered == {name: one[name] for name in answered}
    assert set(one) - set(answered) == {"attempts", "feedback", "receipt", "feature_deviations"}
    document = found(await send_to(app, "GET", "/openapi.json"))
    schema = {**document["components"]["schemas"]["DecisionList"], "components": document["components"]}
    Draft202012Validator(schema).validate(found(await send_to(app, "GET", PATH)))
    assert set(answered) == set(document["components"]["schemas"]["DecisionRow"]["properties"])


async def test_what_attempts_cost_sums_to_the_decision_also_where_a_lease_was_corrected() -> None:
    ledger = MemoryLedger()
    await ledger.append(intent_line("d1", hold_nanousd=9_000))
    await ledger.append(failure_line("d1", cost_nanousd=7), intent_line("d1", 2, hold_nanousd=9_000))
    await ledger.close_expired(START_MS + 10**9)
    await ledger.append(settlement_line("d1", 2, cost_nanousd=40))
    app = create_app(parts_of(ledger=ledger))
    one = found(await send_to(app, "GET", f"{PATH}/d1"))
    told = [(each["outcome"], each["cost_usd"], each["usage_source"]) for each in one["attempts"]]
    assert told == [("failed", usd_of(7), "estimated"), ("answered", usd_of(40), "reported")]
    assert one["cost_usd"] == usd_of(47)


async def test_each_reader_lists_and_opens_the_same() -> None:
    ledger = MemoryLedger()
    for decision_id, team, key_id in (("own", "search", "k1"), ("mate", "search", "k9"), ("other", "ads", "k3")):
        await ledger.append(intent_line(decision_id, team=team, key_id=key_id))
    app = create_app(parts_of(ledger=ledger, keys=KEYS, admin_key="admin"))
    for headers, visible in ((ADMIN, {"own", "mate", "other"}), (SEARCH, {"own", "mate"}), (LEGAL, set())):
        page = found(await send_to(app, "GET", PATH, headers=headers))
        assert {row["decision_id"] for row in page["data"]} == visible
        for decision_id in ("own", "mate", "other"):
            status = 200 if decision_id in visible else 404
            assert (await send_to(app, "GET", f"{PATH}/{decision_id}", headers=headers)).status == status
            before = await send_to(app, "GET", f"{PATH}?before={decision_id}", headers=headers)
            assert before.status == status
    assert found(await send_to(app, "GET", PATH), 401)["error"]["code"] == "invalid_api_key"


async def test_where_an_admin_key_was_set_the_list_needs_it() -> None:
    app = await app_over(("d", 0), admin_key="admin")
    assert (await send_to(app, "GET", PATH)).status == 401
    assert len(found(await send_to(app, "GET", PATH, headers=ADMIN))["data"]) == 1


async def labelled(ledger: MemoryLedger, decision_id: str) -> int:
    found = await ledger.request(decision_id)
    assert found is not None
    return sum(isinstance(line, Feedback) for line in found[1])


async def test_a_key_says_a_hundred_things_of_a_decision_and_no_more() -> None:
    ledger = MemoryLedger()
    for decision_id in ("d", "e"):
        await ledger.append(intent_line(decision_id, team="search", key_id="k1"), settlement_line(decision_id))
    app = create_app(parts_of(ledger=ledger, keys=KEYS, admin_key="admin"))

    async def say(headers: dict[str, str], source: str, score: float, decision_id: str = "d") -> Sent:
        body = json.dumps({"decision_id": decision_id, "score": score, "source": source}).encode()
        return await send_to(app, path="/v1/feedback", body=body, headers=headers)

    sent = await asyncio.gather(*(say(SEARCH, f"s{number}", 0.5) for number in range(LABELS_MAX + 40)))
    assert sorted(each.status for each in sent) == [201] * LABELS_MAX + [409] * 40
    assert await labelled(ledger, "d") == LABELS_MAX
    assert found(await say(SEARCH, "s0", 0.5), 201)["score"] == 0.5, "who repeats itself is heard"
    refused = await say(SEARCH, "s0", 0.4)
    assert found(refused, 409)["error"]["code"] == "too_many_labels"
    assert refused.headers["x-should-retry"] == "false"
    assert (await say(ADMIN, "s0", 0.4)).status == 201, "another voice is not out of breath"
    assert (await say(SEARCH, "s0", 0.4, "e")).status == 201
    assert await labelled(ledger, "d") == LABELS_MAX + 1


async def test_who_says_the_same_again_writes_nothing_and_who_thinks_better_of_it_does() -> None:
    ledger = MemoryLedger()
    await ledger.append(intent_line("d"), settlement_line("d"))
    app = create_app(parts_of(ledger=ledger, clock=StillClock()))
    for score, lines in ((0.5, 1), (0.5, 1), (0.7, 2), (0.5, 3), (0.5, 3)):
        body = json.dumps({"decision_id": "d", "score": score}).encode()
        assert found(await send_to(app, path="/v1/feedback", body=body), 201)["score"] == score
        assert await labelled(ledger, "d") == lines


@pytest.mark.parametrize(
    ("query", "status", "param"),
    [
        ("limit=0", 400, "limit"),
        ("limit=501", 400, "limit"),
        ("limit=-1", 400, "limit"),
        ("limit=1.5", 400, "limit"),
        ("limit=", 400, "limit"),
        ("limit=%D9%A3", 400, "limit"),
        ("limit=9999999999", 400, "limit"),
        ("from=yesterday", 400, "from"),
        ("before=unseen", 404, "before"),
        ("before=", 404, "before"),
    ],
)
async def test_a_query_that_cannot_be_is_refused_by_name(query: str, status: int, param: str) -> None:
    app = await app_over(("d", 0))
    assert found(await send_to(app, "GET", f"{PATH}?{query}"), status)["error"]["param"] == param


async def test_a_feature_so_many_spreads_from_the_usual_is_told_as_so_many() -> None:
    quality = quality_model()
    spreads = np.linspace(-5, 5, NETWORK_FEATURE_COUNT)
    names = FEATURE_NAMES[:NETWORK_FEATURE_COUNT]
    features = dict(zip(names, (quality.center + spreads * quality.spread).tolist(), strict=True))
    ledger = MemoryLedger()
    for decision_id, revision in (("now", quality.revision), ("before", "another")):
        receipt = {"quality_revision": revision, "features": features | {"log_images": 0.0}}
        await ledger.append(replace(intent_line(decision_id), receipt=receipt), settlement_line(decision_id))
    app = create_app(parts_of(ledger=ledger))
    told = found(await send_to(app, "GET", f"{PATH}/now"))["feature_deviations"]
    assert tuple(told) == names
    np.testing.assert_allclose(list(told.values()), spreads, atol=1e-3)
    assert found(await send_to(app, "GET", f"{PATH}/before"))["feature_deviations"] is None

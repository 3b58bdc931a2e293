"""What the page shows is what the report says, to the last digit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from router.money import parse_usd

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Locator, Page

    from tests.browser.conftest import Site, Tab

pytestmark = pytest.mark.browser


def shown(found: Locator) -> str:
    """An amount as a reader sees it, as decimal text."""
    return (found.text_content() or "").replace("\u2212", "-").replace("$", "").replace("+", "")


def amounts(page: Page, within: str) -> list[str]:
    return [shown(each) for each in page.locator(f"{within} .usd").all()]


def rows_of(page: Page, within: str) -> dict[str, list[str]]:
    """The amounts of each row by the row's first word."""
    rows = page.locator(f"{within} tbody tr").all()
    return {
        (row.locator("th").text_content() or "").removesuffix("premium"): [
            shown(each) for each in row.locator(".usd").all()
        ]
        for row in rows
    }


def test_headline_equals_the_report(site: Site, tab_on: Callable[..., Tab]) -> None:
    tab = tab_on(site)
    page = tab.loaded()
    totals = tab.report("hour")["totals"]
    assert totals["requests"] >= 26
    assert amounts(page, "#savings") == [totals["savings_usd"]["point"]]
    assert amounts(page, "#savings-range") == [totals["savings_usd"]["low"], totals["savings_usd"]["high"]]
    assert amounts(page, "#cost") == [totals["realized_cost_usd"]]
    premium = totals["premium_cost_usd"]
    assert amounts(page, "#premium") == [premium["point"]]
    assert amounts(page, "#premium-range") == [premium["low"], premium["high"]]
    assert page.text_content("#requests") == str(totals["requests"])
    assert page.text_content("#answered") == f"{totals['answered']} answered"
    assert page.text_content("#measured") == totals["measured_why"]
    assert f"{totals['savings_share'] * 100:.1f}" in (page.text_content("#savings-share") or "")


@pytest.mark.parametrize(("place", "group", "unnamed"), [("#by-model", "model", "no model"), ("#by-team", "team", "-")])
def test_each_group_equals_its_row(
    site: Site, tab_on: Callable[..., Tab], place: str, group: str, unnamed: str
) -> None:
    tab = tab_on(site)
    page = tab.loaded()
    groups = tab.report(group)["groups"]
    expected = {
        row[group] or unnamed: [
            row["realized_cost_usd"],
            *(row["premium_cost_usd"][end] for end in ("point", "low", "high")),
            row["savings_usd"]["point"],
        ]
        for row in groups
    }
    assert rows_of(page, place) == expected
    assert len(expected) > 1


def test_time_table_sums_to_the_headline(site: Site, tab_on: Callable[..., Tab]) -> None:
    tab = tab_on(site)
    page = tab.loaded()
    page.click("summary >> nth=0")
    report = tab.report("hour")
    rows = rows_of(page, "#time-table")
    assert len(rows) == len(report["groups"])
    sums = [sum(parse_usd(row[column]) for row in rows.values()) for column in range(4)]
    totals = report["totals"]
    expected = [totals["realized_cost_usd"], *(totals["savings_usd"][end] for end in ("low", "point", "high"))]
    assert sums == [parse_usd(each) for each in expected]


def test_tiers_in_the_policys_order_hold_every_request(site: Site, tab_on: Callable[..., Tab]) -> None:
    tab = tab_on(site)
    page = tab.loaded()
    report = tab.report("tier,model")
    counted: dict[str, int] = {}
    for row in report["groups"]:
        name = row["tier"] or "no tier named"
        counted[name] = counted.get(name, 0) + row["requests"]
    cells = [row.locator("td").first.text_content() for row in page.locator("#tiers tbody tr").all()]
    order = [each["tier"] for each in report["quality"]] + ["no tier named"]
    assert cells == [str(counted[name]) for name in order if name in counted]
    assert sum(map(int, filter(None, cells))) == report["totals"]["requests"]
    notes = [each.text_content() for each in page.locator("#tiers .note").all()]
    assert notes == ["tolerance 0", "tolerance 2\u202f%", "tolerance 5\u202f%", "tolerance 15\u202f%"]


def test_no_mark_of_the_cost_axis_is_rounded_to_nothing(site: Site, tab_on: Callable[..., Tab]) -> None:
    page = tab_on(site).loaded()
    marks = page.evaluate(
        "import('/dashboard/charts.js').then(({ usdDecades }) => usdDecades(null, [1e-9, 1e-7, 1e-5, 0.01, 1, 20]))"
    )
    assert marks == ["$0.000000001", "$0.0000001", "$0.00001", "$0.01", "$1", "$20"]


def test_a_budget_that_is_spent_is_exhausted_now(site: Site, tab_on: Callable[..., Tab]) -> None:
    tab = tab_on(site)
    found = site.get("/v1/budgets")
    found["budgets"][0] |= {"settled_usd": found["budgets"][0]["limit_usd"], "exhausted_at": "2026-11-30T12:00:00.000Z"}
    tab.page.route("**/v1/budgets", lambda route: route.fulfill(json=found))
    cells = tab.loaded().locator("#budgets tbody tr").first.locator("td").all_text_contents()
    assert cells[5] == "now"


def test_waterfall_leads_exactly_from_premium_to_realised(site: Site, tab_on: Callable[..., Tab]) -> None:
    tab = tab_on(site)
    page = tab.loaded()
    report = tab.report("hour")
    first, *steps, last = [parse_usd(each) for each in amounts(page, "#waterfall")]
    assert first + sum(steps) == last
    assert steps == [-parse_usd(each["usd"]) for each in report["waterfall"]]


def test_latest_decisions_equal_the_list_and_older_ones_follow(site: Site, tab_on: Callable[..., Tab]) -> None:
    tab = tab_on(site)
    page = tab.loaded()
    listed: list[dict[str, Any]] = site.get("/v1/decisions?limit=500")["data"]
    page.click("#more")
    expect(page.locator(".latest tbody tr")).to_have_count(len(listed))
    for row, expected in zip(page.locator(".latest tbody tr").all(), listed, strict=True):
        cells = [cell.text_content() for cell in row.locator("td").all()]
        assert row.get_attribute("data-id") == expected["decision_id"]
        assert cells[0] == (expected["quality_tier"] or "\u2013")
        premium = expected["premium_cost_usd"]
        money = [expected["cost_usd"], *([premium["point"], expected["savings_usd"]] if premium else [])]
        assert [shown(each) for each in row.locator(".usd").all()] == money
        assert (cells[-1] or "").startswith(expected["outcome"])


def test_scatter_places_every_decision_with_a_cost_and_a_prediction(site: Site, tab_on: Callable[..., Tab]) -> None:
    page = tab_on(site).loaded()
    rows = site.get("/v1/decisions?limit=200")["data"]
    placed = [row for row in rows if row["expected_loss"] is not None and parse_usd(row["cost_usd"]) > 0]
    page.locator("summary").nth(1).click()
    counted = [
        int(row.locator("td").first.text_content() or 0) for row in page.locator("#scatter-table tbody tr").all()
    ]
    assert sum(counted) == len(placed)
    # The point under the pointer is told, and leads to its decision.
    over = page.locator("#scatter-plot .u-over")
    box = over.bounding_box()
    assert box is not None
    found = page.evaluate(
        """() => { const over = document.querySelector('#scatter-plot .u-over');
        for (let x = 0; x < over.clientWidth; x += 6) for (let y = 0; y < over.clientHeight; y += 6) {
          const at = over.getBoundingClientRect();
          over.dispatchEvent(new MouseEvent('mousemove', {clientX: at.left + x, clientY: at.top + y, bubbles: true}));
          if (over.classList.contains('pointing')) return [x, y];
        } return null; }"""
    )
    assert found is not None
    over.hover(position={"x": found[0], "y": found[1]})
    told = page.locator("#scatter-plot .tip").text_content() or ""
    assert any(row["cost_usd"] in told and row["model"] in told for row in placed)
    over.click(position={"x": found[0], "y": found[1]})
    page.wait_for_selector("#decision-cost")


def test_each_budget_shows_what_the_store_says(site: Site, tab_on: Callable[..., Tab]) -> None:
    page = tab_on(site).loaded()
    rows = site.get("/v1/budgets")["budgets"]
    assert len(rows) == 3
    expected = [[row["settled_usd"], row["reserved_usd"], row["limit_usd"]] for row in rows]
    lines = page.locator("#budgets tbody tr").all()
    assert [[shown(each) for each in line.locator(".usd").all()] for line in lines] == expected
    assert "settled" in (page.locator("#budgets .meter").first.text_content() or "")


def test_what_guards_stopped_is_told_with_its_counts(site: Site, tab_on: Callable[..., Tab]) -> None:
    page = tab_on(site).loaded()
    trips = site.get("/v1/guards")["trips"]
    cells = [
        [cell.text_content() for cell in row.locator("th, td").all()] for row in page.locator("#guards tbody tr").all()
    ]
    assert [row[2] for row in cells] == [trip["action"] for trip in trips]
    assert cells[0][2] == "stop"
    assert "repeats" in (cells[0][6] or "")
    assert "One scope is stopped" in (page.text_content("#guards-words") or "")


def test_what_inputs_are_made_of_is_the_report_and_a_time_in_front_is_named(
    site: Site, tab_on: Callable[..., Tab]
) -> None:
    tab = tab_on(site)
    page = tab.loaded()
    report = tab.report("team", "context")
    lines = page.locator("#inputs table.mix tbody tr").all()
    assert len(lines) == len(report["groups"]) == 1
    for line, group in zip(lines, report["groups"], strict=True):
        assert (line.locator("th").text_content() or "").startswith(group["group"]["team"])
        again, twice = (group["sent_before"][name]["cost_usd"] for name in ("again", "twice"))
        assert [shown(each) for each in line.locator(".usd").all()][:3] == [group["input_cost_usd"], again, twice]
    (broken,) = page.locator("#inputs table.breaks tbody tr").all()
    (told,) = report["cache_breaks"]
    assert (told["why"], told["part"], told["team"]) == ("time", "system", "search")
    assert "a time in the system prompt" in (broken.text_content() or "")
    assert f"character {told['at_char']}" in (broken.text_content() or "")
    # A month is reckoned from what had passed of the span when the page asked.
    assert float(shown(broken.locator(".usd"))) == pytest.approx(float(told["lost_usd_per_30_days"]), rel=1e-3)


def test_a_teams_key_sees_its_own_limits(site: Site, tab_on: Callable[..., Tab]) -> None:
    page = tab_on(site, key=site.keys["legal"]).loaded()
    assert [row.locator("td").first.text_content() for row in page.locator("#budgets tbody tr").all()] == ["legal"]
    expect(page.locator("#guards-card")).to_be_hidden()


def test_only_the_premium_model_is_called_premium_and_no_team_is(fresh: Site, tab_on: Callable[..., Tab]) -> None:
    assert fresh.ask(0, tier="premium") == 200
    page = tab_on(fresh, key=None).loaded()
    assert [each.text_content() for each in page.locator("#by-team tbody th").all()] == ["unallocated"]
    assert [each.text_content() for each in page.locator("#by-model .note").all()] == ["premium"]

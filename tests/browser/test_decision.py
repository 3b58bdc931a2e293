"""One decision's panel: what it says of tolerance, threshold and promise, and that its words stay in their boxes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import PHONE, WIDE

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page, Route

    from tests.browser.conftest import Site, Tab

pytestmark = pytest.mark.browser

LONG = "leaderboard_of_everything:graduate_level_quantum_field_theory_and_its_philosophy"
# Text whose ink ends beyond the box of the element that it stands in, or beyond the sheet.
OUTSIDE = """() => {
  const edge = document.querySelector('.sheet').getBoundingClientRect().right;
  const outside = [];
  for (const node of document.querySelectorAll('.sheet *')) {
    if (!node.checkVisibility() || node.closest('.unseen, thead')) continue;
    const block = (node.closest('dt, dd, td, th, p, li') ?? node).getBoundingClientRect();
    for (const child of node.childNodes) {
      if (child.nodeType !== 3 || !child.textContent.trim()) continue;
      const range = document.createRange();
      range.selectNodeContents(child);
      const right = Math.max(...[...range.getClientRects()].map((rect) => rect.right));
      if (right > Math.min(block.right, edge) + 1) outside.push(child.textContent.slice(0, 60));
    }
  }
  return outside;
}"""


def told_of(site: Site, page: Page, **changed: Any) -> Any:
    """Open the latest decision, its receipt changed on the way to the page; returns the receipt as the page got it."""
    listed = site.get("/v1/decisions?limit=500")["data"]
    row = next(each for each in listed if each["reason"] == "cheapest_within_tolerance")
    told = site.get(f"/v1/decisions/{row['decision_id']}")
    told["receipt"] |= changed
    told["reason"] = told["receipt"]["reason"]

    def answer(route: Route) -> None:
        route.fulfill(body=json.dumps(told), content_type="application/json")

    page.route(f"**/v1/decisions/{row['decision_id']}", answer)
    page.evaluate("id => { location.hash = id }", row["decision_id"])
    page.wait_for_selector("#decision-cost")
    return told["receipt"]


def facts_of(page: Page) -> dict[str, str]:
    pairs = [each.locator("dt, dd").all_text_contents() for each in page.locator("#decision .facts > div").all()]
    return {name: value for name, value in pairs if name}


def test_tolerance_threshold_and_promise_are_three_things(site: Site, tab_on: Callable[..., Tab]) -> None:
    page = tab_on(site).loaded()
    receipt = told_of(site, page, threshold=0.07, tolerance=0.05, labels_needed=60)
    facts = facts_of(page)
    assert (facts["Tolerance, of the mean"], facts["Threshold, of this request"]) == ("0.05", "0.0700")
    assert facts["Promise"] == "shipped; 60 graded prompts would calibrate it"
    words = page.text_content("#decision-body") or ""
    assert "calibrated: at most" not in words
    assert "did not decide" not in words
    assert f"Fallbacks within the threshold, in order: {', '.join(receipt['order'][1:])}." in words


@pytest.mark.parametrize("reason", ["budget_downgrade", "guard_downgrade"])
def test_fallbacks_of_a_downgrade_are_promised_nothing(site: Site, tab_on: Callable[..., Tab], reason: str) -> None:
    page = tab_on(site).loaded()
    receipt = told_of(site, page, reason=reason, threshold=0.07)
    words = page.text_content("#decision-body") or ""
    assert f"Fallbacks in order: {', '.join(receipt['order'][1:])}." in words
    assert "Here the threshold did not decide." in words


@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["wide", "phone"])
def test_no_word_of_a_decision_leaves_its_box(site: Site, tab_on: Callable[..., Tab], viewport: dict[str, int]) -> None:
    page = tab_on(site, viewport=viewport).loaded()
    told_of(site, page, kind=LONG, calibration="contracts-of-the-legal-department-in-Berlin@12", promise="calibrated")
    assert page.get_by_text(LONG).count() == 1
    assert page.evaluate(OUTSIDE) == []


def test_an_address_that_changes_opens_its_decision(site: Site, tab_on: Callable[..., Tab]) -> None:
    page = tab_on(site).loaded()
    one, other = (row["decision_id"] for row in site.get("/v1/decisions?limit=2")["data"])
    for decision_id in (one, other):
        page.evaluate("id => { location.hash = id }", decision_id)
        expect(page.locator("#decision-body")).to_contain_text(decision_id)
    page.click("#close")
    assert page.is_hidden("#decision")

"""Keys, keyboard, themes, sizes, and what the page says when there is nothing or nobody."""

from __future__ import annotations

import subprocess
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import ADMIN_KEY, PHONE, WIDE
from tests.browser.test_figures import shown

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Page

    from tests.browser.conftest import Site, Tab

pytestmark = pytest.mark.browser

UNAUTHORISED, REFUSED_CONNECTION = "401 (Unauthorized)", "ERR_CONNECTION_REFUSED"
# Text against what stands behind it, after WCAG 2.1: below 4.5 is too faint, below 3 for large text.
FAINT = """() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => { const part = (v) => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
    return .2126 * part(r) + .7152 * part(g) + .0722 * part(b); };
  const behind = (node) => { for (let at = node; at; at = at.parentElement) {
    const found = parse(getComputedStyle(at).backgroundColor); if (found.length < 4 || found[3] > .99) return found; }
    return [255, 255, 255]; };
  const faint = [];
  for (const node of document.querySelectorAll('body *')) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    if (!own || !node.checkVisibility() || node.closest('.unseen, .skip, script, canvas, noscript, .tip')) continue;
    const style = getComputedStyle(node);
    const [one, other] = [light(parse(style.color)), light(behind(node))].sort((a, b) => b - a);
    const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 700);
    const ratio = (one + .05) / (other + .05);
    if (ratio < (large ? 3 : 4.5)) faint.push(`${node.className || node.tagName}: ${ratio.toFixed(2)}`);
  }
  return [...new Set(faint)];
}"""


def width_over(page: Page) -> int:
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [WIDE, {"width": 768, "height": 1024}, PHONE], ids=["wide", "tablet", "phone"])
def test_nothing_overflows_and_everything_is_legible(
    site: Site, tab_on: Callable[..., Tab], scheme: str, viewport: dict[str, int]
) -> None:
    page = tab_on(site, viewport=viewport, color_scheme=scheme).loaded()
    for summary in page.locator("summary").all():
        summary.click()
    assert width_over(page) == 0
    assert page.evaluate(FAINT) == []
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(19, 18, 17)"
    assert dark == (scheme == "dark")
    page.locator(".latest tbody tr button").first.click()
    page.wait_for_selector("#decision-cost")
    sheet = page.locator(".sheet")
    assert sheet.evaluate("node => node.scrollWidth - node.clientWidth") == 0
    assert page.evaluate(FAINT) == []


def test_the_theme_can_be_chosen_and_is_kept(site: Site, tab_on: Callable[..., Tab]) -> None:
    tab = tab_on(site)
    page = tab.loaded()
    page.click("#theme")
    page.click("#theme")
    assert page.text_content("#theme") == "Dark"
    tab.loaded()
    assert page.text_content("#theme") == "Dark"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(19, 18, 17)"


def test_the_page_has_landmarks_captions_and_labels(site: Site, tab_on: Callable[..., Tab]) -> None:
    page = tab_on(site).loaded()
    assert [page.locator(name).count() for name in ("header", "main", "footer", "h1")] == [1, 1, 1, 1]
    assert page.evaluate("[...document.querySelectorAll('table')].filter(t => !t.caption?.textContent).length") == 0
    assert page.evaluate("[...document.querySelectorAll('input')].filter(i => !i.labels.length).length") == 0
    assert page.evaluate("[...document.querySelectorAll('button')].filter(b => !b.textContent.trim()).length") == 0
    for plot in page.get_by_role("img").all():
        words = plot.evaluate(
            "n => n.getAttribute('aria-labelledby').split(' ').map(i => document.getElementById(i).textContent)"
        )
        assert all(words)
    levels: list[int] = page.evaluate(
        "[...document.querySelectorAll('h1,h2,h3')].filter(n => n.checkVisibility()).map(n => +n.tagName[1])"
    )
    assert all(later - earlier <= 1 for earlier, later in pairwise(levels))


def test_keys_alone_lead_everywhere(site: Site, tab_on: Callable[..., Tab]) -> None:
    page = tab_on(site).loaded()
    press = page.keyboard.press
    press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    press("Tab")
    assert page.evaluate("document.activeElement.value") == "24h"
    press("ArrowRight")
    expect(page.locator("#bucket")).to_have_text("by day, UTC")
    page.wait_for_selector("main[aria-busy=false]")
    first = page.locator(".latest tbody tr button").first
    first.focus()
    press("Enter")
    page.wait_for_selector("#decision-cost")
    assert page.evaluate("document.getElementById('decision').contains(document.activeElement)")
    press("Escape")
    page.wait_for_selector("#decision", state="hidden")
    assert page.evaluate("document.activeElement.closest('tr')?.dataset.id") == first.get_attribute("data-focus")
    # The dialog tells of its end a moment after it is gone.
    page.wait_for_url(lambda url: "#" not in url)


def test_a_refresh_leaves_the_focus_where_it_is(site: Site, tab_on: Callable[..., Tab]) -> None:
    tab = tab_on(site)
    page = tab.loaded()
    button = page.locator(".latest tbody tr button").nth(2)
    button.focus()
    kept = button.get_attribute("data-focus")
    before = len(tab.urls)
    page.evaluate("document.getElementById('refresh').click()")
    expect(page.locator("#main")).to_have_attribute("aria-busy", "false")
    assert len(tab.urls) > before
    assert page.evaluate("document.activeElement.dataset.focus") == kept


def test_the_page_asks_again_by_itself_until_it_is_told_not_to(site: Site, tab_on: Callable[..., Tab]) -> None:
    tab = tab_on(site)
    tab.page.clock.install()
    page = tab.loaded()
    before = int((page.text_content("#requests") or "").replace(",", ""))
    assert site.ask(2, key=site.keys["search"]) == 200
    page.clock.run_for(16_000)
    expect(page.locator("#requests")).to_have_text(str(before + 1))
    page.wait_for_selector("main[aria-busy=false]")
    page.click("#auto")
    assert page.get_attribute("#auto", "aria-pressed") == "false"
    asked = len(tab.urls)
    page.clock.run_for(60_000)
    assert len(tab.urls) == asked


def test_a_key_is_asked_for_checked_used_and_forgotten(site: Site, tab_on: Callable[..., Tab]) -> None:
    tab = tab_on(site, key=None, expected=(UNAUTHORISED,))
    page = tab.open()
    page.wait_for_selector("#key-form", state="visible")
    assert page.evaluate("document.activeElement.id") == "key"
    assert page.is_hidden("#figures")
    page.keyboard.type("wrong")
    page.keyboard.press("Enter")
    expect(page.locator("#key-error")).to_contain_text("not accepted")
    page.fill("#key", ADMIN_KEY)
    page.click("#key-form button")
    page.wait_for_selector(".latest tbody tr")
    assert page.is_hidden("#key-form")
    everybody = page.locator("#by-team tbody tr").count()
    assert everybody >= 2
    assert page.evaluate("[sessionStorage.length, JSON.stringify(localStorage).includes('admin')]") == [1, False]
    assert page.context.cookies() == []
    page.click("#forget")
    page.wait_for_selector("#key-form", state="visible")
    assert page.evaluate("sessionStorage.length") == 0
    page.fill("#key", site.keys["legal"])
    page.click("#key-form button")
    page.wait_for_selector(".latest tbody tr")
    teams = [row.text_content() for row in page.locator("#by-team tbody th").all()]
    assert teams == ["legal"]
    page.locator(".latest tbody tr button").first.click()
    page.wait_for_selector("#decision-cost")


def test_a_decision_is_told_from_features_to_money(site: Site, tab_on: Callable[..., Tab]) -> None:
    tab = tab_on(site)
    listed = site.get("/v1/decisions?limit=500")["data"]
    row = next(each for each in listed if each["reason"] == "cheapest_within_tolerance")
    decision: dict[str, Any] = site.get(f"/v1/decisions/{row['decision_id']}")
    page = tab.loaded(f"/dashboard#{row['decision_id']}")
    page.wait_for_selector("#decision-cost")
    assert shown(page.locator("#decision-cost")) == decision["cost_usd"]
    assert shown(page.locator("#decision-savings")) == decision["savings_usd"]
    premium = decision["premium_cost_usd"]
    assert [shown(each) for each in page.locator(".sums .range .usd").all()] == [premium["low"], premium["high"]]
    candidates = {each["model"]: each for each in decision["receipt"]["candidates"]}
    seen = page.locator(".candidates tbody tr").all()
    assert {line.get_attribute("data-id") for line in seen} == set(candidates)
    for line in seen:
        each = candidates[line.get_attribute("data-id") or ""]
        text = (line.text_content() or "").replace("\u2212", "-")
        assert shown(line.locator(".usd")) == each["expected_cost_usd"]
        assert f"{each['quality']:.3f}" in text
        assert f"{each['predicted_loss']:.4f}" in text
        verdict = line.locator(".verdict").text_content() or ""
        assert (verdict == "chosen") == (each["model"] == decision["model"])
        assert verdict
    deviations = decision["feature_deviations"]
    told = page.locator(".families .unseen").all_text_contents()
    assert len(told) > 5
    assert {text.replace("\u2212", "-").split()[1] for text in told} <= {f"{each:.1f}" for each in deviations.values()}
    assert page.locator(".attempts tbody tr").count() == len(decision["attempts"])
    page.click("#close")
    assert page.is_hidden("#decision")


def test_a_decision_that_is_not_there_is_said_to_be_so(site: Site, tab_on: Callable[..., Tab]) -> None:
    page = tab_on(site, expected=("404 (Not Found)",)).loaded("/dashboard#dec_unknown")
    expect(page.locator("#decision")).to_contain_text("no such decision")


def test_an_empty_gateway_shows_a_request_that_works_as_pasted(
    fresh: Site, tab_on: Callable[..., Tab], tmp_path: Path
) -> None:
    page = tab_on(fresh, key=None).open()
    page.wait_for_selector("#empty", state="visible")
    assert page.is_hidden("#figures")
    command = page.text_content("#curl") or ""
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout.startswith("HTTP/1.1 200")
    page.click("#refresh")
    page.wait_for_selector("#figures", state="visible")
    assert page.text_content("#requests") == "1"
    assert page.is_hidden("#empty")


def test_a_gateway_that_went_away_is_said_to_be_so_and_the_figures_stay(
    fresh: Site, tab_on: Callable[..., Tab]
) -> None:
    assert fresh.ask(0) == 200
    tab = tab_on(fresh, key=None, expected=(REFUSED_CONNECTION, "net::ERR_"))
    page = tab.loaded()
    fresh.gateway.stop()
    page.click("#refresh")
    page.wait_for_selector("#notice", state="visible")
    assert "does not answer" in (page.text_content("#notice") or "")
    assert page.text_content("#requests") == "1"
    assert page.is_visible("#figures")

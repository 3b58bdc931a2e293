"""A real browser on a real gateway with simulated vendors; what a page says to its console is part of each test."""

from __future__ import annotations

import json
import os
import shutil
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import sync_playwright

from benchmarks.stack import GatewayProcess, clean_environment, order_faults
from router.simulator import SimulatorProcess
from tests.e2e.conftest import CONTRACTS, policy_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request

ADMIN_KEY = "admin-key-of-the-tests"
TIERS = ("premium", "high", "balanced", "economy")
PROMPTS = (
    "What is the capital of France?",
    "Prove that the square root of two is irrational.",
    "Write a Python function that merges two sorted lists, and explain its complexity.",
    "Summarise the causes of the French revolution in three sentences.",
)
STOPPED = 422
NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
MISSING = "there is no chromium: as root run `apt-get install chromium`, or set CHROMIUM to the path of one"
WIDE, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
INIT = "if (location.protocol !== 'about:') sessionStorage.setItem('tollgate-key', %s)"


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.fail(MISSING)
    # Chromium's sandbox refuses to run as root; what it opens here is our own page.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=arguments)
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def simulator() -> Iterator[SimulatorProcess]:
    with SimulatorProcess(seed=7, speed=0, prices_override=CONTRACTS) as running:
        yield running


@dataclass
class Site:
    """A gateway with its keys by team, and what it answers to whoever holds one."""

    gateway: GatewayProcess
    keys: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return self.gateway.url

    def get(self, path: str, key: str | None = ADMIN_KEY) -> Any:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        with urllib.request.urlopen(urllib.request.Request(f"{self.url}{path}", headers=headers), timeout=30) as answer:
            return json.load(answer)

    def ask(self, number: int, *, key: str | None = None, tier: str | None = None) -> int:
        """Send one request; returns the status."""
        body = {
            "model": "auto",
            "messages": [{"role": "user", "content": f"{PROMPTS[number % len(PROMPTS)]} ({number})"}],
            "max_tokens": 200,
            "stream": number % 3 == 0,
        }
        headers = {"content-type": "application/json", "x-quality-tier": tier or TIERS[number % len(TIERS)]}
        if key is not None:
            headers["authorization"] = f"Bearer {key}"
        request = urllib.request.Request(
            f"{self.url}/v1/chat/completions", data=json.dumps(body).encode(), headers=headers
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                answer.read()
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    def run_away(self, key: str) -> None:
        """Ask the same long question until a guard stops it."""
        body = {"model": "claude-opus", "messages": [{"role": "user", "content": LOOP}], "max_tokens": 50}
        headers = {"content-type": "application/json", "authorization": f"Bearer {key}"}
        for _ in range(40):
            request = urllib.request.Request(f"{self.url}/v1/chat/completions", json.dumps(body).encode(), headers)
            try:
                urllib.request.urlopen(request, timeout=60).close()
            except urllib.error.HTTPError as error:
                with error:
                    if error.code == STOPPED:
                        return
        raise AssertionError("no guard stopped it")

    def tell_the_time(self, key: str) -> None:
        """Ask twice with a long system prompt that begins with the time."""
        for minute in (40, 41):
            system = f"It is 2026-11-25 21:{minute}:07. {RULES}"
            messages = [{"role": "system", "content": system}, {"role": "user", "content": f"What of {minute}?"}]
            body = {"model": "claude-opus", "messages": messages, "max_tokens": 50}
            headers = {"content-type": "application/json", "authorization": f"Bearer {key}"}
            request = urllib.request.Request(f"{self.url}/v1/chat/completions", json.dumps(body).encode(), headers)
            urllib.request.urlopen(request, timeout=60).close()


class KeyedGateway(GatewayProcess):
    """A gateway with an admin key."""

    @property
    def environment(self) -> dict[str, str]:
        return clean_environment(TOLLGATE_ADMIN_KEY=ADMIN_KEY)

    def create_key(self, team: str) -> str:
        done = self.command("keys", "create", "--team", team, "--json")
        assert done.returncode == 0, done.stderr.decode()
        return str(json.loads(done.stdout)["key"])


# Wide enough for every test, but for the team whose budget is nearly used up.
BUDGETS = """budgets:
  - {name: company-month, scope: all, window: month, zone: Europe/Berlin, limit_usd: 50}
  - {name: team-day, scope: team, window: day, limit_usd: 20, limits_usd: {legal: 0.7}}
"""
RULES = " ".join(f"Rule {chr(97 + at % 26)} of part {chr(97 + at // 26)} binds all offices." for at in range(200))
LOOP = "The committee considered the minutes of the meeting, and asked the clerk to circulate them. " * 1_600


@pytest.fixture(scope="session")
def site(simulator: SimulatorProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A gateway with keys and two dozen mixed requests: every tier, streamed and not, two teams, faults, a refusal."""
    gateway = KeyedGateway(tmp_path_factory.mktemp("site") / "home", policy_text(simulator) + BUDGETS)
    found = Site(gateway, {team: gateway.create_key(team) for team in ("search", "legal")})
    gateway.start()
    try:
        with ThreadPoolExecutor(4) as pool:
            sent = pool.map(
                lambda number: found.ask(number, key=found.keys["search" if number % 3 else "legal"]), range(24)
            )
            assert set(sent) == {200}
        order_faults(simulator, [{"fault": "usage_missing", "rate": 1.0, "limit": 1}])
        assert found.ask(24, key=found.keys["search"], tier="economy") == 200
        assert found.ask(25, key=found.keys["search"], tier="platinum") == 400
        found.tell_the_time(found.keys["search"])
        found.run_away(found.keys["search"])
        yield found
    finally:
        gateway.stop()


@pytest.fixture
def fresh(simulator: SimulatorProcess, tmp_path: Path) -> Iterator[Site]:
    """A gateway that nobody has asked anything, and that asks for no key."""
    gateway = GatewayProcess(tmp_path / "home", policy_text(simulator))
    gateway.start()
    try:
        yield Site(gateway)
    finally:
        gateway.stop()


@dataclass
class Tab:
    """An open page and everything that it asked for and complained of."""

    page: Page
    site: Site
    console: list[str] = field(default_factory=list)
    urls: list[str] = field(default_factory=list)

    def heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.console.append(message.text)

    def asked(self, request: Request) -> None:
        self.urls.append(request.url)

    def open(self, path: str = "/dashboard") -> Page:
        self.page.goto(f"{self.site.url}{path}")
        return self.page

    def loaded(self, path: str = "/dashboard") -> Page:
        """The page with its figures."""
        self.open(path)
        self.page.wait_for_selector(".latest tbody tr")
        self.page.wait_for_selector("main[aria-busy=false]")
        return self.page

    def report(self, groups: str, name: str = "savings") -> Any:
        """The report that the page itself asked for last, asked for again by the test."""
        last = next(
            url
            for url in reversed(self.urls)
            if urlsplit(url).path.endswith(f"/{name}") and parse_qs(urlsplit(url).query).get("group_by") == [groups]
        )
        return self.site.get(f"{urlsplit(last).path}?{urlsplit(last).query}")


@pytest.fixture
def tab_on(browser: Browser) -> Iterator[Callable[..., Tab]]:
    """Opens tabs; at the end each must have talked to its own gateway only, and complained of nothing unexpected."""
    opened: list[tuple[BrowserContext, Tab, tuple[str, ...]]] = []

    def tab(site: Site, *, key: str | None = ADMIN_KEY, expected: tuple[str, ...] = (), **options: Any) -> Tab:
        context = browser.new_context(**{"viewport": WIDE, "color_scheme": "light", **options})
        context.set_default_timeout(20_000)
        if key is not None:
            context.add_init_script(INIT % json.dumps(key))
        made = Tab(context.new_page(), site)
        made.page.on("console", made.heard)
        made.page.on("pageerror", lambda error: made.console.append(str(error)))
        context.on("request", made.asked)
        opened.append((context, made, expected))
        return made

    yield tab
    for context, made, expected in opened:
        context.close()
        assert {urlsplit(url).netloc for url in made.urls} == {urlsplit(made.site.url).netloc}
        assert [text for text in made.console if not any(part in text for part in expected)] == []
        assert not [url for url in made.urls if ADMIN_KEY in url or "key" in parse_qs(urlsplit(url).query)]

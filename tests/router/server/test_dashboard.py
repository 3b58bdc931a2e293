"""The page is served whole, from memory, under a policy that lets nothing in from elsewhere."""

from __future__ import annotations

import json
import re

import pytest

from router.server import create_app
from router.server.dashboard import PAGE, dashboard_routes, load_parts
from tests.router.server.fakes import KEYS, Sent, parts_of, send_to

PARTS = load_parts()
OWN = sorted(name for name in PARTS if not name.startswith("vendor/"))
# The namespace of SVG is a name, never fetched.
NAMESPACE = "http://www.w3.org/2000/svg"


async def get(path: str, headers: dict[str, str] | None = None) -> Sent:
    app = create_app(parts_of(keys=KEYS, admin_key="admin"), dashboard_routes())
    return await send_to(app, "GET", path, headers=headers)


async def test_the_page_needs_no_key_and_lets_nothing_in_from_elsewhere() -> None:
    sent = await get("/dashboard")
    assert (sent.status, sent.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert sent.body == PARTS[PAGE].content
    policy = dict(part.strip().split(" ", 1) for part in sent.headers["content-security-policy"].split(";"))
    assert policy.pop("default-src") == "'none'"
    assert set(policy.values()) == {"'self'", "'none'"}
    assert policy["frame-ancestors"] == policy["form-action"] == policy["base-uri"] == "'none'"
    assert sent.headers["x-content-type-options"] == "nosniff"
    assert sent.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("name", sorted(set(PARTS) - {PAGE}))
async def test_each_part_is_served_as_what_it_is(name: str) -> None:
    sent = await get(f"/dashboard/{name}")
    assert sent.status == 200
    assert sent.body == PARTS[name].content
    assert sent.headers["content-type"] == PARTS[name].media_type
    assert "content-security-policy" in sent.headers


async def test_a_part_is_sent_again_only_when_it_has_changed() -> None:
    first = await get("/dashboard/main.js")
    again = await get("/dashboard/main.js", {"if-none-match": first.headers["etag"]})
    assert (again.status, again.body) == (304, b"")
    assert (await get("/dashboard/main.js", {"if-none-match": '"other"'})).status == 200


@pytest.mark.parametrize(
    "name", ["nothing.js", "index.html", "../dashboard.py", "..%2fdashboard.py", "vendor/", "vendor"]
)
async def test_only_what_was_there_at_the_start_can_be_named(name: str) -> None:
    sent = await get(f"/dashboard/{name}")
    assert (sent.status, json.loads(sent.body)["error"]["code"]) == (404, "not_found")


async def test_the_bare_address_leads_to_the_page() -> None:
    sent = await send_to(create_app(parts_of(), dashboard_routes()), "GET", "/")
    assert (sent.status, sent.headers["location"]) == (307, "dashboard")


async def test_a_slash_too_many_leads_to_the_page() -> None:
    sent = await get("/dashboard/")
    assert (sent.status, sent.headers["location"]) == (308, "../dashboard")


async def test_the_page_is_no_part_of_the_api() -> None:
    assert not [path for path in json.loads((await get("/openapi.json")).body)["paths"] if "dashboard" in path]


def test_the_page_holds_no_script_and_no_style_of_its_own() -> None:
    page = PARTS[PAGE].content.decode()
    assert re.findall(r"<script(?![^>]*\bsrc=)", page) == []
    assert re.findall(r"<style|\sstyle=|\son[a-z]+=|javascript:", page) == []


@pytest.mark.parametrize("name", OWN)
def test_our_files_name_no_other_host_and_make_no_markup_of_text(name: str) -> None:
    text = PARTS[name].content.decode().replace(NAMESPACE, "")
    assert re.findall(r"(?:https?:)?//[a-z0-9-]+\.[a-z]", text) == []
    assert re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", text) == []


@pytest.mark.parametrize("name", OWN)
def test_every_part_that_is_named_is_there(name: str) -> None:
    text = PARTS[name].content.decode()
    named = re.findall(r"""(?:src|href)="dashboard/([^"]+)\"""", text)
    named += re.findall(r"""from "\./([^"]+)\"""", text)
    assert set(named) <= set(PARTS)
    assert named or name not in (PAGE, "main.js")


def test_no_part_is_left_over() -> None:
    text = "\n".join(PARTS[name].content.decode() for name in OWN)
    unnamed = {name for name in PARTS if name.rpartition("/")[2] not in text}
    assert unnamed == {PAGE, "vendor/vendor.json", "vendor/uPlot.LICENSE.txt"}


def test_files_are_of_a_readable_size() -> None:
    sizes = {name: PARTS[name].content.count(b"\n") for name in OWN}
    assert max(sizes.values()) <= 400
    assert sum(len(part.content) for part in PARTS.values()) < 150_000

"""GET /dashboard: a page and its parts, read once and served from memory under a strict content policy.

The page carries no figure: it asks the same routes as everybody else, with the reader's own key. So the page itself
needs none. Only the files that were there at the start can be named; a path never reaches the disk.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from router.server.errors import RouteNotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from importlib.resources.abc import Traversable

PAGE = "index.html"
TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "json": "application/json",
    "txt": "text/plain; charset=utf-8",
}
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    # Asked for each time, sent only when changed: a new version shows at once.
    "cache-control": "no-cache",
}


@dataclass(frozen=True, slots=True)
class Part:
    """One file of the page: its bytes, what they are, and their fingerprint."""

    content: bytes
    media_type: str
    etag: str


@cache
def load_parts() -> Mapping[str, Part]:
    """The files of the page by their path below the folder, such as ``vendor/uPlot.min.css``."""
    return dict(_parts_in(files("router.server") / "static"))


def _parts_in(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, Part]]:
    for each in folder.iterdir():
        if each.is_dir():
            yield from _parts_in(each, f"{prefix}{each.name}/")
            continue
        content = each.read_bytes()
        etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        yield f"{prefix}{each.name}", Part(content, TYPES[each.name.rpartition(".")[2]], etag)


def _response_of(part: Part, request: Request) -> Response:
    headers = {**HEADERS, "etag": part.etag}
    if part.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(part.content, media_type=part.media_type, headers=headers)


def dashboard_routes() -> APIRouter:
    """The routes of the page; they are no part of the API and stand outside its document."""
    routes = APIRouter(include_in_schema=False)
    parts = load_parts()

    @routes.get("/")
    async def root() -> Response:
        """Whoever types the address alone looks for the page."""
        return RedirectResponse("dashboard", status_code=307)

    @routes.get("/dashboard")
    async def page(request: Request) -> Response:
        """The page."""
        return _response_of(parts[PAGE], request)

    @routes.get("/dashboard/")
    async def slash() -> Response:
        """The page's own address has no slash: its parts are named relative to it."""
        return RedirectResponse("../dashboard", status_code=308)

    @routes.get("/dashboard/{name:path}")
    async def part(request: Request, name: str) -> Response:
        """A style, a script, a licence."""
        if name not in parts or name == PAGE:
            raise RouteNotFoundError("no such part of the dashboard")
        return _response_of(parts[name], request)

    return routes

"""The application: the hot route in plain ASGI, everything else in FastAPI beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from prometheus_client import Counter
from starlette.exceptions import HTTPException
from starlette.routing import Route

from router import __version__
from router.errors import InvalidApiKeyError, RequestError, RouterError
from router.server.body import ClientGoneError
from router.server.chat import ChatRoute
from router.server.decisions import decision_fields, decision_routes
from router.server.errors import (
    MethodNotAllowedError,
    RouteNotFoundError,
    headers_of,
    internal_error_of,
    openai_error,
)
from router.server.health import health_routes
from router.server.models import model_routes
from router.server.money_text import priced
from router.server.openapi import document_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from router.server.parts import ServerParts

CHAT_PATH = "/v1/chat/completions"
NOT_FOUND, WRONG_METHOD = 404, 405
# Nobody reads it: nginx's word for a client that closed before it was answered.
CLIENT_GONE = 499


def error_response(error: RouterError) -> JSONResponse:
    """An error of a FastAPI route, in the same shape as the hot route's."""
    headers = {name.decode(): value.decode() for name, value in headers_of(error)}
    return JSONResponse(openai_error(error), status_code=error.http_status, headers=headers)


def create_app(parts: ServerParts, *routers: APIRouter) -> Callable[[Any, Any, Any], Awaitable[None]]:
    """The whole ASGI application; ``routers`` are mounted beside the routes of this folder."""
    unauthenticated = Counter(
        "tollgate_unauthenticated_total", "Requests without a valid key; not in the ledger.", registry=parts.registry
    )
    chat = ChatRoute(parts, unauthenticated)
    api = FastAPI(
        title="Tollgate", version=__version__, docs_url=None, redoc_url=None, redirect_slashes=False, debug=False
    )
    _add_error_handlers(api, unauthenticated)
    # The hot route is served below, before FastAPI; here it only tells other methods that they are not allowed.
    api.router.routes.append(Route(CHAT_PATH, endpoint=chat, methods=["POST"], include_in_schema=False))
    for router in (model_routes(parts), decision_routes(parts), health_routes(parts), *routers):
        api.include_router(router)
    document = document_of(api)
    api.openapi = lambda: document  # type: ignore[method-assign]

    async def app(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401  # ASGI's own types
        if scope["type"] == "http" and scope["path"] == CHAT_PATH and scope["method"] == "POST":
            await chat(scope, receive, send)
        else:
            await _guarded(api, scope, receive, send)

    return app


async def _guarded(api: FastAPI, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401  # ASGI's own types
    """Serve by FastAPI, which answers and logs a bug and raises it once more: the server must not log its text."""
    try:
        await api(scope, receive, send)
    except Exception:
        if scope["type"] != "http":
            raise


def _route_hint(path: str) -> str:
    """What to do about it; most who come here have set an SDK's base URL with a part too few or too many."""
    for tail in ("/chat/completions", "/models"):
        if path.rstrip("/").endswith(tail):
            return f": it is /v1{tail}, so an SDK's base URL ends in /v1"
    return "; GET /openapi.json lists those that there are"


def _add_error_handlers(api: FastAPI, unauthenticated: Counter) -> None:
    @api.exception_handler(RouterError)
    async def of_router(_: Request, error: RouterError) -> Response:
        if isinstance(error, InvalidApiKeyError):
            unauthenticated.inc()
        return error_response(error)

    @api.exception_handler(RequestValidationError)
    async def of_validation(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        param = ".".join(str(part) for part in first["loc"][1:]) or str(first["loc"][0])
        return error_response(RequestError(f"{param}: {first['msg']}", param=param))

    @api.exception_handler(HTTPException)
    async def of_http(request: Request, error: HTTPException) -> Response:
        if error.status_code == WRONG_METHOD:
            response = error_response(MethodNotAllowedError(f"{request.method} is not allowed here"))
            response.headers.update(error.headers or {})
            return response
        if error.status_code == NOT_FOUND:
            return error_response(RouteNotFoundError(f"no such route in this version{_route_hint(request.url.path)}"))
        return error_response(RequestError("the request cannot be read"))

    @api.exception_handler(Exception)
    async def of_anything(_: Request, error: Exception) -> Response:
        if isinstance(error, ClientGoneError):
            return Response(status_code=CLIENT_GONE)
        return error_response(internal_error_of(error))


__all__ = ["create_app", "decision_fields", "error_response", "priced"]

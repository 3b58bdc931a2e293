"""One simulated vendor: an aiohttp application around a wire, with its bill, its faults and its prompt cache."""

from __future__ import annotations

import asyncio
import hashlib
import time
from dataclasses import dataclass, field, replace
from random import Random
from typing import TYPE_CHECKING

import orjson
from aiohttp import web

from router.simulator.answers import (
    Answer,
    Ask,
    drawn_answer,
    empty_answer,
    refused_answer,
    truncated_answer,
)
from router.simulator.bill import Bill, BillLine
from router.simulator.faults import UNBILLED, FaultRule, Faults, parse_fault
from router.simulator.pacing import Pace, pace_of
from router.simulator.prefixes import PrefixCache
from router.simulator.refusals import Body, RefusedError, require
from router.simulator.wire import Head, Rejection, Ticket, Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from router.simulator.catalogue import Catalogue

BODY_BYTES_MAX = 32 * 1024 * 1024
SEEN_MAX = 300_000
HTML = b"<!DOCTYPE html>\n<html><head><title>Bad gateway</title></head><body><h1>Bad gateway</h1></body></html>\n"
_FAULT_KINDS = {"429": "rate_limit", "500": "internal", "529": "overloaded"}
_CLIENT_IDS = ("x-client-request-id", "idempotency-key", "x-request-id")


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How the simulated vendors behave, beyond their wires.

    ``speed`` scales every wait: 1 is life-like, 0 never sleeps. ``stream_events`` fixes how many text events a stream
    has, ``event_gap_ms`` the time between them, ``answer_tokens`` the length of prose: for benchmarks.
    """

    seed: int = 0
    speed: float = 0.0
    stream_events: int | None = None
    event_gap_ms: float | None = None
    answer_tokens: int | None = None
    clock: Callable[[], float] = field(default=time.monotonic)


@dataclass(frozen=True, slots=True)
class _Reply:
    """An accepted and billed call, ready to be sent."""

    ask: Ask
    ticket: Ticket
    line: BillLine
    pace: Pace
    rule: FaultRule | None
    parts: Sequence[bytes]

    @property
    def fault(self) -> str:
        return self.rule.fault if self.rule else ""


class Vendor:
    """One vendor's server state and handlers."""

    def __init__(self, wire: Wire, catalogue: Catalogue, behaviour: Behaviour) -> None:
        """Start with an empty bill, no faults and a cold cache."""
        self.wire = wire
        self.bill = Bill()
        self.faults = Faults()
        self._catalogue = catalogue
        self._behaviour = behaviour
        self._cache = PrefixCache(behaviour.clock)
        self._seen: dict[bytes, int] = {}

    def application(self) -> web.Application:
        """The vendor's routes and the simulator's own under `/_simulator`."""
        app = web.Application(client_max_size=BODY_BYTES_MAX)
        for path in self.wire.routes:
            app.router.add_post(path, self._call)
        app.router.add_get("/v1/models", self._list_models)
        app.router.add_get("/v1beta/models", self._list_models)
        app.router.add_get("/{host}/v1/models", self._list_models)
        app.router.add_get("/_simulator/bill", self._show_bill)
        app.router.add_delete("/_simulator/bill", self._clear_bill)
        app.router.add_get("/_simulator/summary", self._show_summary)
        app.router.add_get("/_simulator/faults", self._show_faults)
        app.router.add_post("/_simulator/faults", self._add_fault)
        app.router.add_delete("/_simulator/faults", self._clear_faults)
        app.router.add_route("*", "/{tail:.*}", self._unknown_route)
        return app

    # --- the vendor's API ------------------------------------------------------------------------------------------

    async def _call(self, request: web.Request) -> web.StreamResponse:
        digest, ticket = b"", Ticket("", "0" * 48, 0)
        try:
            raw = await _read(request)
            head = _head_of(request, raw)
            digest, ticket = self._opened(request.path, raw)
            self.wire.check_key(head)
            ask = self.wire.read(head, _parsed(raw), self._catalogue)
            counted = self.wire.counted(ask)
            if counted is not None:
                return self._plain(counted, ticket)
            rule = self.faults.drawn(ask.model.name, digest)
            if rule is not None and rule.fault in UNBILLED:
                return self._failed(request, rule, ticket)
            reply = self._accepted(request, ask, digest, ticket, rule)
        except RefusedError as refused:
            rejection = self.wire.rejection_of(refused, ticket.request_id)
            self.bill.unbilled[str(rejection.status)] += 1
            return self._rejected(rejection, ticket)
        return await self._deliver(request, reply)

    def _opened(self, path: str, raw: bytes) -> tuple[bytes, Ticket]:
        """The call's own digest (of seed, content and how often that content came before) and its names."""
        content = hashlib.sha256(path.encode() + b"\n" + raw).digest()
        count = self._seen.pop(content, 0)
        self._seen[content] = count + 1
        if len(self._seen) > SEEN_MAX:
            del self._seen[next(iter(self._seen))]
        digest = hashlib.sha256(b"%d:%d:" % (self._behaviour.seed, count) + content).digest()
        mark = digest.hex()[:48]
        return digest, Ticket(f"req_{mark[:24]}", mark, int(time.time()))

    def _accepted(
        self, request: web.Request, ask: Ask, digest: bytes, ticket: Ticket, rule: FaultRule | None
    ) -> _Reply:
        """Generate and bill: from here on the vendor charges, whatever becomes of the connection."""
        draw = Random(int.from_bytes(digest[:8], "big"))
        fault = rule.fault if rule else ""
        answers = tuple(self._answered(ask, draw, fault) for _ in range(ask.choices))
        usage = self.wire.usage_of(ask, answers, self._cache)
        headers = request.headers
        line = BillLine(
            request_id=ticket.request_id,
            client_request_id=next((headers[name] for name in _CLIENT_IDS if name in headers), None),
            vendor=self.wire.vendor,
            model=ask.model.name,
            usage=self.wire.usage_shown(usage),
            cost_usd=ask.model.cost_usd_of(usage),
            is_streamed=ask.is_stream,
            fault=fault or None,
        )
        self.bill.lines.append(line)
        shown = None if fault == "usage_missing" else usage
        if ask.is_stream:
            parts = self.wire.events_of(ask, answers, shown, ticket, self._behaviour.stream_events)
        else:
            parts = [self.wire.body_of(ask, answers, shown, ticket)]
        if fault == "malformed_json":
            parts = _broken(parts)
        pace = pace_of(ask, usage, draw, self._behaviour.speed, self._behaviour.event_gap_ms, len(parts))
        return _Reply(ask, ticket, line, pace, rule, parts)

    def _answered(self, ask: Ask, draw: Random, fault: str) -> Answer:
        if fault == "refusal":
            return refused_answer(ask)
        if fault == "empty":
            return empty_answer()
        answer = drawn_answer(ask, draw, self._behaviour.seed, self._behaviour.answer_tokens)
        return truncated_answer(ask, answer) if fault == "truncation" else answer

    # --- sending ---------------------------------------------------------------------------------------------------

    async def _deliver(self, request: web.Request, reply: _Reply) -> web.StreamResponse:
        try:
            if reply.rule is not None and reply.fault == "timeout_first_byte":
                await asyncio.sleep(reply.rule.hold_s)
                _cut(request)
                return web.Response()
            if reply.ask.is_stream or reply.fault in ("torn_stream", "stall_mid_stream"):
                return await self._streamed(request, reply)
            if reply.pace.total_s > 0:
                await asyncio.sleep(reply.pace.total_s)
        except (asyncio.CancelledError, ConnectionResetError):
            reply.line.is_disconnected = True
            raise
        return self._plain(reply.parts[0], reply.ticket)

    async def _streamed(self, request: web.Request, reply: _Reply) -> web.StreamResponse:
        headers = {self.wire.request_id_header: reply.ticket.request_id}
        parts = reply.parts
        if reply.ask.is_stream:
            headers |= {"Content-Type": self.wire.stream_type(reply.ask), "Cache-Control": "no-cache"}
        else:
            headers |= {"Content-Type": "application/json", "Content-Length": str(len(parts[0]))}
            middle = len(parts[0]) // 2
            parts = [parts[0][:middle], parts[0][middle:]]
        response = web.StreamResponse(headers=headers)
        is_cut = reply.fault in ("torn_stream", "stall_mid_stream")
        sent = parts[: max(1, len(parts) // 2)] if is_cut else parts
        if reply.pace.first_byte_s > 0:
            await asyncio.sleep(reply.pace.first_byte_s)
        await response.prepare(request)
        for index, part in enumerate(sent):
            await response.write(part)
            if reply.pace.gap_s > 0:
                await asyncio.sleep(reply.pace.gap_s)
            elif index % 16 == 0:
                await asyncio.sleep(0)  # other calls, and word that the client has left, get their turn
        if reply.rule is not None and is_cut:
            await asyncio.sleep(reply.rule.hold_s if reply.fault == "stall_mid_stream" else 0)
            _cut(request)
            return response
        await response.write_eof()
        return response

    def _plain(self, body: bytes, ticket: Ticket) -> web.Response:
        headers = {self.wire.request_id_header: ticket.request_id, "Content-Type": "application/json"}
        return web.Response(body=body, headers=headers)

    def _failed(self, request: web.Request, rule: FaultRule, ticket: Ticket) -> web.StreamResponse:
        self.bill.unbilled[rule.fault] += 1
        if rule.fault == "timeout_connect":
            _cut(request)
            return web.Response()
        if rule.fault == "html":
            return web.Response(status=rule.status, body=HTML, content_type="text/html")
        sentence = {"429": "Rate limit reached.", "500": "Internal server error", "529": "Overloaded"}[rule.fault]
        refused = RefusedError(_FAULT_KINDS[rule.fault], sentence)
        rejection = self.wire.rejection_of(refused, ticket.request_id)
        if rule.fault == "429":
            wait = {"Retry-After": f"{rule.retry_after_s:g}"}
            rejection = replace(rejection, headers={**rejection.headers, **wait})
        return self._rejected(rejection, ticket)

    def _rejected(self, rejection: Rejection, ticket: Ticket) -> web.Response:
        headers = {**rejection.headers, "Content-Type": "application/json"}
        headers[self.wire.request_id_header] = ticket.request_id
        return web.Response(status=rejection.status, body=rejection.body, headers=headers)

    async def _list_models(self, request: web.Request) -> web.Response:
        listed = self.wire.listed(self._catalogue, request.match_info.get("host", ""))
        return web.Response(body=listed, content_type="application/json")

    async def _unknown_route(self, request: web.Request) -> web.Response:
        ticket = self._opened(request.path, b"")[1]
        refused = RefusedError("not_found", f"Unknown request URL: {request.method} {request.path}")
        return self._rejected(self.wire.rejection_of(refused, ticket.request_id), ticket)

    # --- the simulator's own API -----------------------------------------------------------------------------------

    async def _show_bill(self, _: web.Request) -> web.Response:
        return web.Response(body=b"".join(self.bill.encoded()), content_type="application/x-ndjson")

    async def _clear_bill(self, _: web.Request) -> web.Response:
        self.bill.clear()
        return web.Response(status=204)

    async def _show_summary(self, _: web.Request) -> web.Response:
        return web.Response(body=orjson.dumps(self.bill.summary()), content_type="application/json")

    async def _show_faults(self, _: web.Request) -> web.Response:
        return web.Response(
            body=orjson.dumps([rule.shown() for rule in self.faults.rules]), content_type="application/json"
        )

    async def _add_fault(self, request: web.Request) -> web.Response:
        try:
            rule = parse_fault(orjson.loads(await request.read()))
        except ValueError as wrong:
            return web.Response(status=400, body=orjson.dumps({"error": str(wrong)}), content_type="application/json")
        self.faults.rules.append(rule)
        return web.Response(status=201, body=orjson.dumps(rule.shown()), content_type="application/json")

    async def _clear_faults(self, _: web.Request) -> web.Response:
        self.faults.rules.clear()
        return web.Response(status=204)


def _head_of(request: web.Request, raw: bytes) -> Head:
    found = request.match_info
    action = found.get("action") or request.path.rsplit("/", 1)[-1]
    return Head(request.headers, request.query, found.get("model", ""), action, raw, found.get("host", ""))


async def _read(request: web.Request) -> bytes:
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge as large:
        raise RefusedError("too_large", "Request exceeds the maximum size") from large


def _parsed(raw: bytes) -> Body:
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as broken:
        raise RefusedError("invalid", "The request body is not valid JSON") from broken
    require(isinstance(body, dict), "The request body must be a JSON object")
    checked: Body = body
    return checked


def _broken(parts: Sequence[bytes]) -> list[bytes]:
    """The parts with the middle one cut inside its JSON; a stream's framing stays whole."""
    made = list(parts)
    middle = len(made) // 2
    part = made[middle]
    end = b"\r\n\r\n" if part.endswith(b"\r\n\r\n") else b"\n\n" if part.endswith(b"\n\n") else b""
    made[middle] = part[: len(part) * 2 // 3] + end
    return made


def _cut(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()

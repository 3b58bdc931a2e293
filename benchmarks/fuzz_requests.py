"""Requests that no schema describes: sound chat requests, mutated in their values, text, headers and paths."""

from __future__ import annotations

import copy
import gzip
import json
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from benchmarks.fuzz_checks import KEY_CANARY, PROMPT_CANARY
from benchmarks.prompts import IMAGE, OWN_AGENT, SCHEMA
from benchmarks.traffic import tools_of

CHAT = "/v1/chat/completions"
ASK = f"Name a river. {PROMPT_CANARY}"
BASES: tuple[dict[str, Any], ...] = (
    {"model": "auto", "messages": [{"role": "user", "content": ASK}], "max_tokens": 20},
    {
        "model": "auto:economy",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": ASK}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.5,
        "top_p": 0.9,
        "stop": ["\n"],
        "max_tokens": 30,
    },
    {
        "model": "gemini-flash",
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": ASK}, {"type": "image_url", "image_url": IMAGE}]}
        ],
        "max_completion_tokens": 30,
        "reasoning_effort": "low",
        "seed": 3,
    },
    {
        "model": "claude-haiku",
        "messages": [*copy.deepcopy(OWN_AGENT[:4]), {"role": "user", "content": ASK}],
        "tools": tools_of([OWN_AGENT]),
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "max_tokens": 60,
        "metadata": {"quality_tier": "balanced"},
    },
    {
        "model": "llama-70b",
        "messages": [{"role": "user", "content": ASK}],
        "response_format": SCHEMA,
        "presence_penalty": 0.1,
        "max_tokens": 60,
        "user": "u-1",
        "n": 1,
    },
)
WEIRD: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2**31, 2**53, 2**63, 2**64, -(2**63), 10**400, 0.1, -0.0, 1e308, 1e-320),
    *(float("nan"), float("inf"), float("-inf"), "", " ", "\x00", "\ud800", "x\udfff\ud800", "\u202e\ufeff", "é" * 300),
    *("A" * 70_000, "null", "auto", "premium", "data:image/png;base64,", "http://", [], [[]], [None], [1, "a", {}], {}),
    *({"": ""}, {"type": "text"}, {"type": "text", "text": None}, {"$ref": "#"}, {"__proto__": {}}, [{}] * 200),
)
NESTED = tuple(
    opened * depth + closed * depth for opened, closed in (("[", "]"), ('{"a":', "}")) for depth in (100, 129, 5_000)
)
RAW_VALUES = ("NaN", "1e400", "-1e400", "01", "1.", ".5", "'x'", "tru", "\\u12", '"\\ud800"', "9" * 5_000, *NESTED)
KEYS = ("messages", "model", "stream", "n", "max_tokens", "role", "content", "tools", "metadata", "temperature")
HEADERS: dict[str, tuple[str, ...]] = {
    "X-Quality-Tier": ("premium", "economy", "luxury", "", "PREMIUM", "a" * 9_000, "é", "balanced, economy"),
    "X-Quality-Tolerance": ("0.05", "0", "1", "7", "-0.1", "abc", "", "nan", "inf", "1e-400", "0x1", "0.05,0.1", "٣"),
    "X-Session-Id": ("s-1", "", "s" * 9_000, "é\x7f", "../../x"),
    "X-Router-Tags": (
        "feature=search",
        "=",
        "a=b,a=c",
        "a",
        ",,,",
        "k=" + "v" * 5_000,
        "é=é",
        ",".join("a=b" for _ in range(500)),
    ),
    "Idempotency-Key": ("once", "", "k" * 5_000, "é"),
    "Authorization": (f"Bearer {KEY_CANARY}", "Bearer", "Basic eDp5", f"Bearer {KEY_CANARY} x", "", "é"),
    "x-api-key": (KEY_CANARY, "", "é"),
    "Content-Type": ("text/plain", "application/json; charset=utf-16", "multipart/form-data", "", "a/b" * 900),
    "Content-Encoding": ("gzip", "identity", "br", "x"),
    "Accept": ("text/event-stream", "image/png", ""),
    "X-Router-Lineage": ("x", "é"),
    "Expect": ("100-continue", "x"),
    "Upgrade": ("websocket", "h2c", "x"),
    "Connection": ("upgrade", "close", "keep-alive, x"),
}
PATHS = (
    *(
        CHAT + "/",
        "/v1//chat/completions",
        CHAT + "?a=%00&b=%ff",
        "/V1/CHAT/COMPLETIONS",
        "/",
        "/v1",
        "//",
        "/%2e%2e/etc",
    ),
    *("/v1/models", "/v1/models/%F0%9F%A6%80", "/v1/models/" + "m" * 3_000, "/v1/decisions/%00", "/v1/decisions/dec_x"),
    *(
        "/v1/decisions?limit=-1",
        "/v1/decisions?limit=9e9",
        "/v1/decisions?from=x&before=%FF",
        "/v1/feedback",
        "/v1/route",
    ),
    *(
        "/v1/reports/savings?group_by=team,team",
        "/v1/reports/savings?from=9999999-01-01",
        "/v1/reports/savings?format=xml",
    ),
    *(
        "/v1/reports/savings?from=2026-11-01&to=2026-10-01",
        "/v1/reports/savings?group_by=tag:%00",
        "/openapi.json",
        "/metrics",
    ),
    *("/v1/reports/savings?group_by=" + "day," * 900, "/readyz", "/healthz", "/v1/messages", "/dashboard", "/docs"),
)
METHODS = ("GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE", "POST")


@dataclass(frozen=True, slots=True)
class RawRequest:
    """A request as it goes over the wire; header values are Latin-1."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


def _places(value: object, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, each in inner for place in ((*here, key), *_places(each, (*here, key)))]


@st.composite
def _mutated(draw: st.DrawFn) -> bytes:
    """A sound body with up to four of its values changed, removed, repeated or written as no JSON writes them."""
    body = copy.deepcopy(draw(st.sampled_from(BASES)))
    raws: list[str] = []
    for _ in range(draw(st.sampled_from((0, 0, 1, 1, 1, 2, 3, 4)))):
        places = _places(body)
        if not places:
            break
        *path, last = draw(st.sampled_from(places))
        parent: Any = body
        for key in path:
            parent = parent[key]
        kind = draw(st.sampled_from(("weird", "any", "remove", "add", "raw", "repeat")))
        if kind == "weird":
            parent[last] = copy.deepcopy(draw(st.sampled_from(WEIRD)))
        elif kind == "any":
            parent[last] = draw(ANY_JSON)
        elif kind == "remove":
            del parent[last]
        elif kind == "raw":
            parent[last] = f"\x01raw{len(raws)}\x01"
            raws.append(draw(st.sampled_from(RAW_VALUES)))
        elif isinstance(parent, dict):
            name = draw(st.sampled_from(KEYS)) if kind == "add" else f"{last}\x02"
            parent[name] = copy.deepcopy(draw(st.sampled_from(WEIRD)))
        else:
            parent.append(copy.deepcopy(parent[last]))
    text = json.dumps(body, ensure_ascii=draw(st.booleans()))
    for number, raw in enumerate(raws):
        text = text.replace(json.dumps(f"\x01raw{number}\x01"), raw)
    return text.replace("\\u0002", "").encode("utf-8", "surrogatepass")


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=12), inner, max_size=5),
    max_leaves=12,
)


@st.composite
def _body(draw: st.DrawFn) -> bytes:
    body = draw(_mutated())
    spoilt = draw(st.sampled_from((*["no"] * 9, "cut", "flip", "insert", "utf-16", "bom", "gzip", "noise", "twice")))
    at = draw(st.integers(0, max(0, len(body) - 1)))
    if spoilt == "cut":
        return body[:at]
    if spoilt == "flip" and body:
        return body[:at] + bytes([body[at] ^ (1 << draw(st.integers(0, 7)))]) + body[at + 1 :]
    if spoilt == "insert":
        return body[:at] + draw(st.binary(min_size=1, max_size=8)) + body[at:]
    if spoilt == "utf-16":
        return body.decode("utf-8", "replace").encode("utf-16", "surrogatepass")
    if spoilt == "bom":
        return b"\xef\xbb\xbf" + body
    if spoilt == "gzip":
        return gzip.compress(body, mtime=0)
    if spoilt == "noise":
        return draw(st.binary(max_size=300))
    return body + body if spoilt == "twice" else body


@st.composite
def raw_requests(draw: st.DrawFn) -> RawRequest:
    """Any of it, mostly to the chat route."""
    some = st.lists(st.sampled_from(sorted(HEADERS)), min_size=1, max_size=3, unique=True)
    names = draw(some) if draw(st.sampled_from((True, False, False))) else []
    headers = tuple((name, draw(st.sampled_from(HEADERS[name]))) for name in names)
    headers = tuple((name, value) for name, value in headers if _is_latin(value))
    where = draw(
        st.sampled_from(("chat", "chat", "chat", "chat", "chat", "chat", "route", "feedback", "path", "method"))
    )
    if where == "route":
        return RawRequest("POST", "/v1/route", headers, draw(_body()))
    if where == "feedback":
        label = draw(
            st.fixed_dictionaries(
                {"decision_id": ANY_JSON}, optional={"score": ANY_JSON, "ok": ANY_JSON, "source": ANY_JSON}
            )
        )
        return RawRequest("POST", "/v1/feedback", headers, json.dumps(label).encode())
    if where == "path":
        return RawRequest(draw(st.sampled_from(METHODS)), draw(st.sampled_from(PATHS)), headers, b"")
    if where == "method":
        return RawRequest(draw(st.sampled_from(METHODS)), CHAT, headers, draw(_body()))
    return RawRequest("POST", CHAT, headers, draw(_body()))


def _is_latin(value: str) -> bool:
    return all(ord(letter) < 256 for letter in value)  # noqa: PLR2004 - what a header's bytes can hold

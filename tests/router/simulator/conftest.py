from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
import orjson
import pytest

from router.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

OPUS, HAIKU, HAIKU_OLD = "claude-opus-5-5", "claude-haiku-5-5", "claude-haiku-4-5"
FLASH, FLASH_OLD = "gemini-3.8-flash", "gemini-2.5-flash"
LLAMA = "meta-llama/Llama-3.3-70B-Instruct-Turbo"


@dataclass
class Wires:
    """A running simulator and a plain HTTP client for it."""

    sim: Simulator
    http: aiohttp.ClientSession
    headers: dict[str, dict[str, str]] = field(
        default_factory=lambda: {
            "anthropic": {"x-api-key": "k", "anthropic-version": "2023-06-01"},
            "gemini": {"x-goog-api-key": "k"},
            "openai": {"authorization": "Bearer k"},
        }
    )

    async def anthropic(self, body: Any, path: str = "/v1/messages", **headers: str) -> tuple[int, Any]:
        return await self._post(self.sim.anthropic_url + path, body, self.headers["anthropic"] | headers)

    async def gemini(self, model: str, body: Any, action: str = "generateContent", **headers: str) -> tuple[int, Any]:
        url = f"{self.sim.gemini_url}/v1beta/models/{model}:{action}"
        return await self._post(url, body, self.headers["gemini"] | headers)

    async def openai(self, body: Any, **headers: str) -> tuple[int, Any]:
        return await self._post(self.sim.openai_url + "/chat/completions", body, self.headers["openai"] | headers)

    async def _post(self, url: str, body: Any, headers: dict[str, str]) -> tuple[int, Any]:
        data = body if isinstance(body, bytes) else orjson.dumps(body)
        async with self.http.post(url, data=data, headers=headers) as answer:
            raw = await answer.read()
            return answer.status, orjson.loads(raw) if answer.content_type == "application/json" else raw

    async def admin(self, method: str, vendor: str, path: str, body: Any = None) -> tuple[int, bytes]:
        base = {"anthropic": self.sim.anthropic_url, "gemini": self.sim.gemini_url, "openai": self.sim.openai_url[:-3]}
        data = None if body is None else orjson.dumps(body)
        async with self.http.request(method, f"{base[vendor]}/_simulator/{path}", data=data) as answer:
            return answer.status, await answer.read()

    async def bill(self, vendor: str) -> list[dict[str, Any]]:
        status, raw = await self.admin("GET", vendor, "bill")
        assert status == 200
        return [orjson.loads(line) for line in raw.splitlines()]


@pytest.fixture
async def wires() -> AsyncIterator[Wires]:
    async with Simulator(seed=7) as sim, aiohttp.ClientSession() as http:
        yield Wires(sim, http)

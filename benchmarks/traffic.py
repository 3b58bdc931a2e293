"""Mixed requests as a company sends them: lengths, arrivals and shared prefixes of real traffic, prompts of our own.

Lengths, arrivals and shared prefixes are replayed from the public chat trace, and agents' turns from the public agent
sessions, where `TOLLGATE_SHARED_DATA` (or `../shared/data` beside the checkout) holds them; else the first are drawn
from the counted quantiles and the agent is one of our own. Everything is drawn by seed; nothing is kept of the data.
"""

from __future__ import annotations

import gzip
import json
import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.prompts import IMAGE, OWN_AGENT, SCHEMA, document_block, hard_prompt, question_about
from router.simulator import Arrival, traffic

TIERS = ("premium", "high", "balanced", "economy")
# Shares among the requests that continue nothing and are not continued, the project's own: no public trace tells them.
KINDS = {"conversation": 0.20, "agent": 0.24, "maths": 0.18, "code": 0.18, "chat": 0.14, "schema": 0.03, "image": 0.03}
CONTINUED_SHARE_MAX = 0.5
CACHING_SHARE = 0.35
BLOCK_TOKENS = 512
TURN_BLOCKS = 6
SESSIONS_FILE = "traffic/tau_airline_sessions.jsonl.gz"
JSON_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}


@dataclass(frozen=True, slots=True)
class Planned:
    """One request to come: when, for which tier, of which kind, and its body without `model` and `stream`."""

    number: int
    at_ms: int
    tier: str
    kind: str
    is_streamed: bool
    body: dict[str, Any]


@dataclass
class Mixture:
    """A seeded plan of requests, made one at a time: long conversations would not all fit in memory."""

    seed: int
    count: int
    streamed_share: float = 0.3
    block_lists: dict[int, list[int]] = field(default_factory=dict)
    tiers: list[str] = field(default_factory=list)
    continues: dict[int, int] = field(default_factory=dict)
    conversations: set[int] = field(default_factory=set)

    @property
    def origin(self) -> dict[str, str]:
        """Where lengths and agents come from."""
        return {
            "lengths": "public chat trace"
            if _shared("traffic/mooncake_conversation.jsonl.gz")
            else "counted quantiles",
            "agents": "public agent sessions" if _shared(SESSIONS_FILE) else "our own agent",
        }

    @cached_property
    def arrivals(self) -> list[Arrival]:
        """When each request comes, and how long it is. Who shares more than a first block continues a conversation."""
        found = traffic(self.seed, self.count, from_trace=True)
        next_block = 0
        for index, arrival in enumerate(found):
            earlier = [] if arrival.follows is None else self.block_lists[arrival.follows]
            shared = earlier[: arrival.shared_tokens // BLOCK_TOKENS]
            own = max(1, arrival.input_tokens // BLOCK_TOKENS) - len(shared)
            self.block_lists[index] = [*shared, *range(next_block, next_block + max(0, own))]
            next_block += max(0, own)
            has_room = len(self.conversations) <= CONTINUED_SHARE_MAX * index
            continued = arrival.follows if has_room and arrival.shared_tokens > BLOCK_TOKENS else None
            self.tiers.append(TIERS[index % len(TIERS)] if continued is None else self.tiers[continued])
            if continued is not None:
                self.continues[index] = continued
                self.conversations |= {index, continued}
        return found

    @cached_property
    def sessions(self) -> list[list[dict[str, Any]]]:
        """Agents' sessions, as sent."""
        path = _shared(SESSIONS_FILE)
        if path is None:
            return [OWN_AGENT]
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            return [json.loads(line)["messages"] for line in lines]

    @cached_property
    def tools(self) -> list[dict[str, Any]]:
        """The tools that the sessions call, with the arguments that they were seen with."""
        return tools_of(self.sessions)

    def planned(self, number: int) -> Planned:
        """Request ``number``; equal seeds and numbers give equal requests."""
        draw = Random(f"{self.seed}:{number}")
        arrival = self.arrivals[number]
        kind = draw.choices(list(KINDS), list(KINDS.values()))[0]
        if number in self.conversations:
            kind = "conversation"
        body = self._body(kind, number, draw)
        if draw.random() < 0.7:  # noqa: PLR2004 - most clients bound their answers
            body["max_tokens"] = draw.choice([256, 512, 1024, 2048])
        return Planned(
            number=number,
            at_ms=arrival.t_ms,
            tier=self.tiers[number],
            kind=kind,
            is_streamed=int((number + 1) * self.streamed_share) > int(number * self.streamed_share),
            body=body,
        )

    def _body(self, kind: str, number: int, draw: Random) -> dict[str, Any]:
        if kind == "conversation":
            return {"messages": self._conversation(number, draw)}
        if kind == "agent":
            return self._agent_call(draw)
        if kind == "image":
            words = {"type": "text", "text": f"What is in this picture? Case {number}."}
            return {"messages": [{"role": "user", "content": [words, {"type": "image_url", "image_url": IMAGE}]}]}
        if kind == "schema":
            text = f"Give the name and the population of a town on the river {number % 40}, as JSON."
            return {"messages": [{"role": "user", "content": text}], "response_format": SCHEMA}
        system = [{"role": "system", "content": "Answer briefly and correctly."}] if draw.random() < 0.5 else []  # noqa: PLR2004
        return {"messages": [*system, {"role": "user", "content": hard_prompt(kind, draw)}]}

    def _conversation(self, number: int, draw: Random) -> list[dict[str, Any]]:
        """Several turns over a shared document, as long as the trace says."""
        blocks = [document_block(self.seed, each) for each in self.block_lists[number]]
        head = {"type": "text", "text": "You answer questions about this handbook.\n" + "".join(blocks[:TURN_BLOCKS])}
        if Random(f"{self.seed}:cache:{self.block_lists[number][0]}").random() < CACHING_SHARE:
            head["cache_control"] = {"type": "ephemeral"}  # type: ignore[assignment]
        messages: list[dict[str, Any]] = [{"role": "system", "content": [head]}]
        for at in range(TURN_BLOCKS, len(blocks), TURN_BLOCKS):
            part = "".join(blocks[at : at + TURN_BLOCKS])
            messages.append({"role": "user", "content": f"Here is more of it.\n{part}"})
            messages.append({"role": "assistant", "content": "Read. What would you like to know?"})
        return [*messages, {"role": "user", "content": question_about(draw)}]

    def _agent_call(self, draw: Random) -> dict[str, Any]:
        """What an agent sends before one of its turns: the session until there, and its tools."""
        messages = draw.choice(self.sessions)
        turns = [at for at, message in enumerate(messages) if message["role"] == "assistant" and at > 1]
        until = draw.choice(turns)
        sent = [dict(message) for message in messages[:until]]
        if draw.random() < CACHING_SHARE and sent[0]["role"] == "system":
            mark = {"type": "ephemeral"}
            sent[0]["content"] = [{"type": "text", "text": sent[0]["content"], "cache_control": mark}]
        return {"messages": sent, "tools": self.tools}


def tools_of(sessions: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Function tools for every name that the sessions call, each argument of the type that it was seen with."""
    seen: dict[str, dict[str, dict[str, str]]] = {}
    for messages in sessions:
        for message in messages:
            for call in message.get("tool_calls") or ():
                properties = seen.setdefault(call["function"]["name"], {})
                for name, value in json.loads(call["function"]["arguments"]).items():
                    if type(value) in JSON_TYPES:
                        properties[name] = {"type": JSON_TYPES[type(value)]}
    return [
        {
            "type": "function",
            "function": {
                "name": name,
                "description": name.replace("_", " "),
                "parameters": {"type": "object", "properties": properties, "required": sorted(properties)},
            },
        }
        for name, properties in sorted(seen.items())
    ]


def _shared(name: str) -> Path | None:
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    path = Path(os.environ.get("TOLLGATE_SHARED_DATA", default)) / name
    return path if path.is_file() else None

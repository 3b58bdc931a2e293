"""Which prompt caches are known to be warm: what vendors said they read or wrote, by the conversation's beginning.

A vendor bills input that it has read before at a fraction, so the cheapest model for the next turn is often the one
that answered the last. Known means reported: only tokens that a vendor itself counted as read from, or written to, its
cache are taken to be there, for as long as vendors keep them. What is known lives in this process alone and only moves
expected costs; what was really read is on the vendor's bill.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from router.chat import Image, Text, ToolCall, ToolResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from router.chat import Message, Part, Request
    from router.tokens import TokenUsage

# Anthropic's default lifetime, refreshed by every read, and its longer one; others state none, or the shorter.
KEPT_S = 300.0
KEPT_LONG_S = 3_600.0
BEGINNINGS_MAX = 20_000
PICTURE_MARK = 1_024


@dataclass(frozen=True, slots=True)
class Beginnings:
    """A request's beginnings as fingerprints: after each of its messages, and where its system prompt ends.

    ``marks[i]`` stands for the tools and the first ``i + 1`` messages; ``shares[i]`` is their share of the text, 0..1;
    ``system_end`` counts the system messages that the request begins with. Fingerprints mean something to this process
    alone.
    """

    marks: tuple[int, ...]
    shares: tuple[float, ...]
    system_end: int


def beginnings_of(request: Request) -> Beginnings:
    """The beginnings of a request; linear in its text, with no work in Python for each character."""
    mark = hash(tuple((tool.name, tool.description, len(tool.parameters)) for tool in request.tools))
    marks: list[int] = []
    sizes: list[int] = []
    size = 0
    system_end = 0
    for index, message in enumerate(request.messages):
        mark = hash((mark, message.role, *_marks_of(message.parts)))
        size += _size_of(message)
        marks.append(mark)
        sizes.append(size)
        if message.role == "system" and system_end == index:
            system_end = index + 1
    return Beginnings(tuple(marks), tuple(each / max(size, 1) for each in sizes), system_end)


def _marks_of(parts: Iterable[Part]) -> list[int]:
    found: list[int] = []
    for part in parts:
        if isinstance(part, Text):
            found.append(hash(part.text))
        elif isinstance(part, ToolCall):
            found.append(hash((part.name, part.arguments)))
        elif isinstance(part, ToolResult):
            found += _marks_of(part.parts)
        elif isinstance(part, Image):
            found.append(hash((part.url, part.data)))
    return found


def _size_of(message: Message) -> int:
    size = 0
    for part in message.parts:
        if isinstance(part, Text):
            size += len(part.text)
        elif isinstance(part, ToolCall):
            size += len(part.arguments)
        elif isinstance(part, ToolResult):
            size += sum(len(each.text) if isinstance(each, Text) else PICTURE_MARK for each in part.parts)
        elif isinstance(part, Image):
            size += PICTURE_MARK
    return size


@dataclass(slots=True)
class _Kept:
    tokens: int
    until_s: float


@dataclass(slots=True)
class WarmCaches:
    """Tokens by beginning and model id, the least recently learned forgotten past ``beginnings_max``.

    Times are monotonic seconds, given by the caller.
    """

    beginnings_max: int = BEGINNINGS_MAX
    _kept: OrderedDict[int, dict[str, _Kept]] = field(default_factory=OrderedDict)

    def known(self, beginnings: Beginnings, now_s: float) -> Mapping[str, int]:
        """By model, how many tokens of the request's beginning its vendor still has; models without any are absent."""
        found: dict[str, int] = {}
        if not self._kept:
            return found
        for mark in beginnings.marks:
            for model, kept in self._kept.get(mark, {}).items():
                if kept.until_s > now_s:
                    found[model] = max(found.get(model, 0), kept.tokens)
        return found

    def learned(self, beginnings: Beginnings, model: str, usage: TokenUsage, now_s: float) -> None:
        """A vendor reported what it read from and wrote to its cache for this request; zero of both teaches nothing.

        The tokens hold for the whole request, and for its system prompt as far as they reach: that is what other
        conversations share.
        """
        cached = usage.cache_read + usage.cache_write_5m + usage.cache_write_1h
        if not cached or not beginnings.marks:
            return
        until_s = now_s + (KEPT_LONG_S if usage.cache_write_1h else KEPT_S)
        self._keep(beginnings.marks[-1], model, cached, until_s)
        if 0 < beginnings.system_end < len(beginnings.marks):
            last = beginnings.system_end - 1
            of_system = round(usage.input_tokens * beginnings.shares[last])
            if of_system <= cached:
                self._keep(beginnings.marks[last], model, of_system, until_s)

    def _keep(self, mark: int, model: str, tokens: int, until_s: float) -> None:
        models = self._kept.setdefault(mark, {})
        before = models.get(model)
        models[model] = _Kept(tokens, max(until_s, before.until_s if before is not None else 0.0))
        self._kept.move_to_end(mark)
        while len(self._kept) > self.beginnings_max:
            self._kept.popitem(last=False)

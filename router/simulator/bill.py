"""A vendor's own bill: one line a billed call, kept from the moment the call is accepted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import orjson

from router.simulator.catalogue import decimal_text

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(slots=True)
class BillLine:
    """One billed call; ``usage`` in the vendor's own words, ``cost_usd`` exact."""

    request_id: str
    client_request_id: str | None
    vendor: str
    model: str
    usage: dict[str, Any]
    cost_usd: Decimal
    is_streamed: bool
    fault: str | None
    is_disconnected: bool = False

    def encoded(self) -> bytes:
        """The line as JSON, with a line break."""
        return orjson.dumps(
            {
                "request_id": self.request_id,
                "client_request_id": self.client_request_id,
                "vendor": self.vendor,
                "model": self.model,
                "usage": self.usage,
                "cost_usd": decimal_text(self.cost_usd),
                "status": 200,
                "streamed": self.is_streamed,
                "disconnected": self.is_disconnected,
                "fault": self.fault,
            },
            option=orjson.OPT_APPEND_NEWLINE,
        )


@dataclass(slots=True)
class Bill:
    """Every billed call of one vendor, and counts of the calls that were not billed."""

    lines: list[BillLine] = field(default_factory=list)
    unbilled: Counter[str] = field(default_factory=Counter)

    def clear(self) -> None:
        """Forget everything."""
        self.lines.clear()
        self.unbilled.clear()

    def encoded(self) -> Iterator[bytes]:
        """The lines in the order in which the calls were accepted."""
        return (line.encoded() for line in self.lines)

    def total_usd(self) -> Decimal:
        """The sum of the lines, exact."""
        return sum((line.cost_usd for line in self.lines), Decimal(0))

    def summary(self) -> dict[str, Any]:
        """Counts and the sum."""
        return {
            "billed": len(self.lines),
            "cost_usd": decimal_text(self.total_usd()),
            "disconnected": sum(line.is_disconnected for line in self.lines),
            "unbilled": dict(sorted(self.unbilled.items())),
        }

"""Retrieval: 40,000 tokens with every query, and what it costs a month as sent, routed, cached and trimmed.

A made-up handbook in the place of a company's documents: each query brings 76 chunks of about 500 tokens, three fifths
of them the same for everybody, one of them with the fact that is asked for, ten with the same fact of something else.
The same queries go through the real gateway to the simulated vendors in five ways, each on a gateway of its own, and
the vendors' bills are scaled to 0.41 queries a second for 30 days. ``kept`` is the share of queries whose own fact was
still there when the vendor was asked, with its 95 % Wilson interval: what a trim can do to an answer; ``loss`` is what
the chosen model is predicted to lose against premium. Exit code 1 where the books differ, or a trim loses more than one
fact in twenty.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from statistics import fmean
from typing import TYPE_CHECKING, Any

from openai import OpenAI
from rich.console import Console
from rich.table import Table

from benchmarks.prompts import NOUNS, PLACES, VERBS
from benchmarks.record import write_result
from benchmarks.stack import GatewayProcess, bill_of, simulated_policy
from router.money import NANO_PER_USD, parse_usd
from router.simulator import SimulatorProcess

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

QUERIES_A_MONTH = round(0.41 * 30 * 86_400)
CHUNKS, SHARED, RIVALS, SENTENCES = 76, 46, 10, 23
ROLES = ("foreman", "night warden", "clerk", "pilot", "engineer", "storekeeper")
SYSTEM = "You answer from the handbook alone. Say which section an answer comes from. " * 12
BOUND = 12_000
KEPT_MIN = 0.95
Z = 1.96


@dataclass(frozen=True)
class Query:
    """One query: the chunks as the search found them, which of them everybody gets, and the fact that answers it."""

    chunks: tuple[str, ...]
    shared: frozenset[str]
    fact: str
    question: str


@dataclass(frozen=True)
class Way:
    """How the queries are sent. ``is_cached``: what everybody gets stands first and is marked for the prompt cache."""

    name: str
    model: str
    is_cached: bool = False
    is_trimmed: bool = False


WAYS = (
    Way("as sent", "claude-opus"),
    Way("routed", "auto"),
    Way("cached", "claude-opus", is_cached=True),
    Way("trimmed", "claude-opus", is_trimmed=True),
    Way("routed, trimmed", "auto", is_trimmed=True),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--tier", default="balanced", help="the quality tier of what is routed")
    parser.add_argument("--input-tokens-max", type=int, default=BOUND, help="what is trimmed to")
    parser.add_argument("--seed", type=int, default=7, help="of the handbook, the queries and the vendors")


def section(draw: Random, number: int, *facts: str) -> str:
    """About 500 tokens of handbook."""
    sentences = [
        f"The {draw.choice(NOUNS)} of the {draw.choice(PLACES)} {draw.choice(VERBS)} every {draw.randint(2, 90)} days "
        f"by the {draw.choice(ROLES)}."
        for _ in range(SENTENCES - len(facts))
    ]
    for fact in facts:
        sentences.insert(draw.randrange(len(sentences)), fact)
    return f'<document section="{number}">{" ".join(sentences)}</document>'


def fact_of(noun: str, place: str, draw: Random) -> str:
    """What one section says of one thing."""
    return f"The inspection code of the {noun} in the {place} is {draw.choice('ABCDEFGH')}{draw.randint(100, 999)}."


def queries_of(count: int, seed: int) -> list[Query]:
    """The same for the same seed."""
    draw = Random(seed)
    shared = [section(draw, number) for number in range(SHARED)]
    found: list[Query] = []
    for index in range(count):
        things = draw.sample([(noun, place) for noun in NOUNS for place in PLACES], RIVALS + 1)
        facts = [fact_of(noun, place, draw) for noun, place in things]
        first = 1_000 + index * CHUNKS
        own = [section(draw, first + at, *facts[at : at + 1]) for at in range(CHUNKS - SHARED)]
        chunks = [*shared, *own]
        draw.shuffle(chunks)
        noun, place = things[0]
        question = f"What is the inspection code of the {noun} in the {place}?"
        found.append(Query(tuple(chunks), frozenset(shared), facts[0], question))
    return found


def messages_of(query: Query, *, is_cached: bool) -> list[dict[str, object]]:
    """The request's messages."""
    system: dict[str, object] = {"role": "system", "content": SYSTEM}
    if not is_cached:
        return [system, {"role": "user", "content": "\n".join([*query.chunks, query.question])}]
    # In an order of their own, the same for everybody: a cache knows beginnings only.
    common = "\n".join(sorted(chunk for chunk in query.chunks if chunk in query.shared))
    rest = "\n".join([*(chunk for chunk in query.chunks if chunk not in query.shared), query.question])
    marked = {"type": "text", "text": common, "cache_control": {"type": "ephemeral"}}
    return [system, {"role": "user", "content": [marked, {"type": "text", "text": rest}]}]


def run(arguments: argparse.Namespace) -> int:
    """Send everything in every way, print, write the result file."""
    queries = queries_of(arguments.queries, arguments.seed)
    rows = []
    for way in WAYS:
        rows.append(sent(way, queries, arguments))
        print(f"  {way.name}: {rows[-1]['usd_a_query']:.6f} USD a query", flush=True)  # progress
    print_table(rows)
    path = write_result("retrieval", command_of(arguments), {"queries_a_month": QUERIES_A_MONTH, "ways": rows})
    print(f"written to {path}")
    is_ok = all(row["books_agree"] and (row["kept"] is None or row["kept"]["share"] >= KEPT_MIN) for row in rows)
    return 0 if is_ok else 1


def command_of(arguments: argparse.Namespace) -> Sequence[str]:
    """The command line that gives the same figures."""
    return [
        "retrieval", "--queries", str(arguments.queries), "--tier", arguments.tier,
        "--input-tokens-max", str(arguments.input_tokens_max), "--seed", str(arguments.seed),
    ]  # fmt: skip


def sent(way: Way, queries: Sequence[Query], arguments: argparse.Namespace) -> dict[str, Any]:
    """One way on a gateway and vendors of its own."""
    with (
        tempfile.TemporaryDirectory(prefix="tollgate-retrieval-") as folder,
        SimulatorProcess(seed=arguments.seed, speed=0) as simulator,
    ):
        blocks: dict[str, Any] = {}
        if way.is_trimmed:
            bound = {"input_tokens_max": arguments.input_tokens_max, "when_exceeded": "trim"}
            blocks["guards"] = {"context": bound}
        gateway = GatewayProcess(Path(folder) / "home", simulated_policy(simulator.urls, **blocks))
        gateway.start()
        try:
            with OpenAI(base_url=f"{gateway.url}/v1", api_key="any", max_retries=0, timeout=120) as client:
                ask = partial(asked, client, way, arguments.tier)
                # A cache must have been written before it can be read: the first query goes alone.
                with ThreadPoolExecutor(4) as pool:
                    told = [ask(queries[0]), *pool.map(ask, queries[1:])]
            receipts = [gateway.read(f"/v1/decisions/{each['decision_id']}") for each in told]
        finally:
            gateway.stop()
        billed = sum(parse_usd(line["cost_usd"]) for line in bill_of(simulator))
    costs = [each["cost_nanousd"] for each in told]
    kept = [is_kept(query, receipt) for query, receipt in zip(queries, receipts, strict=True)]
    return {
        "way": way.name,
        "usd_a_query": fmean(costs) / NANO_PER_USD,
        "usd_a_month": round(fmean(costs) * QUERIES_A_MONTH / NANO_PER_USD),
        "input_tokens": round(fmean(each["input_tokens"] for each in told)),
        "cached_tokens": round(fmean(each["cached_tokens"] for each in told)),
        "models": dict(Counter(each["model"] for each in told).most_common()),
        "predicted_loss": fmean(each["expected_loss"] for each in told),
        "kept": interval_of(kept) if way.is_trimmed else None,
        "chunks_cut": fmean(len((receipt["receipt"].get("trim") or {"cuts": ()})["cuts"]) for receipt in receipts),
        "books_agree": billed == sum(costs),
    }


def asked(client: OpenAI, way: Way, tier: str, query: Query) -> dict[str, Any]:
    """Send one query; what the client was told."""
    messages: Any = messages_of(query, is_cached=way.is_cached)
    raw = client.chat.completions.with_raw_response.create(
        model=way.model, messages=messages, max_tokens=500, extra_headers={"X-Quality-Tier": tier}
    )
    usage = raw.parse().usage
    assert usage is not None
    details = usage.prompt_tokens_details
    loss = raw.headers.get("x-router-expected-loss")
    return {
        "decision_id": raw.headers["x-router-decision-id"],
        "cost_nanousd": parse_usd(raw.headers["x-router-cost-usd"]),
        "model": raw.headers["x-router-model"],
        "input_tokens": usage.prompt_tokens,
        "cached_tokens": (details.cached_tokens or 0) if details is not None else 0,
        "expected_loss": float(loss) if loss else 0.0,
    }


def is_kept(query: Query, decision: Mapping[str, Any]) -> bool:
    """Whether the section with the fact was still there: the receipt says what was cut, by place."""
    trim = decision["receipt"].get("trim")
    if trim is None:
        return True
    text: str = messages_of(query, is_cached=False)[1]["content"]  # type: ignore[assignment]
    at = text.index(query.fact)
    return not any(cut["start"] <= at < cut["end"] for cut in trim["cuts"])


def interval_of(kept: Sequence[bool]) -> dict[str, float]:
    """A share with Wilson's 95 % interval (Wilson, JASA 1927)."""
    count, share = len(kept), sum(kept) / len(kept)
    centre = share + Z * Z / (2 * count)
    half = Z * math.sqrt(share * (1 - share) / count + Z * Z / (4 * count * count))
    scale = 1 + Z * Z / count
    return {"share": share, "low": (centre - half) / scale, "high": min((centre + half) / scale, 1.0)}


def print_table(rows: Sequence[Mapping[str, Any]]) -> None:
    """For people."""
    table = Table(title=f"40,000 tokens a query, {QUERIES_A_MONTH:,} queries a month", title_justify="left")
    for name in ("way", "USD a query", "USD a month", "input tokens", "of them cached", "loss", "fact kept", "models"):
        table.add_column(name, justify="left" if name in ("way", "models") else "right")
    for row in rows:
        kept = row["kept"]
        said = "-" if kept is None else f"{kept['share']:.1%} ({kept['low']:.1%}..{kept['high']:.1%})"
        models = json.dumps(row["models"])[1:-1].replace('"', "")
        table.add_row(
            row["way"], f"{row['usd_a_query']:.5f}", f"{row['usd_a_month']:,}", f"{row['input_tokens']:,}",
            f"{row['cached_tokens']:,}", f"{row['predicted_loss']:.3f}", said, models,
        )  # fmt: skip
    Console(width=150, highlight=False).print(table)

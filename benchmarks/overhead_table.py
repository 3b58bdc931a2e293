"""The result of ``overhead`` for people: tables of medians with their least and greatest."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

WIDTH_MIN = 140
OTHERS_SHARE_MAX = 0.1


def spread_text(figures: dict[str, float], digits: int = 0) -> str:
    """A median with its range."""
    return f"{figures['median']:,.{digits}f} ({figures['low']:,.{digits}f}..{figures['high']:,.{digits}f})"


def print_tables(result: dict[str, Any]) -> None:
    """Everything that was measured."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH_MIN)
    if "workloads" in result:
        console.print(rates_table(result["workloads"]))
    for wait_ms, latency in result.get("latency", {}).items():
        console.print(latency_table(latency, wait_ms))
    console.print(bars_table(result["figures"]))
    if disturbed := disturbed_in(result.get("workloads", {})):
        console.print(
            f"Others used more than {OTHERS_SHARE_MAX:.0%} of the systems' core while these ran: "
            f"{', '.join(disturbed)}. Ratios of processor time hold best, requests a second and latencies do not."
        )
    machine, revision = result["machine"], result["revision"]
    changed = f", {len(revision['changed'])} files changed" if revision["changed"] else ""
    console.print(
        f"{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}; {result['method']['cores']}"
    )
    console.print(f"revision {revision['commit']}{changed}; not measured: {'; '.join(result['not_measured'])}")


def disturbed_in(workloads: dict[str, Any]) -> list[str]:
    """Which figures were measured while somebody else used the core."""
    return [
        f"{workload} {system}"
        for workload, found in workloads.items()
        for system, figures in found["systems"].items()
        if figures["others_share_max"] > OTHERS_SHARE_MAX
    ]


def rates_table(workloads: dict[str, Any]) -> Table:
    """Requests a second and processor time of each system, and the ratios within rounds."""
    table = Table(title="one core for the system; median (least..greatest) of the rounds", title_justify="left")
    for name in ("workload", "system"):
        table.add_column(name)
    for name in ("req/s", "CPU us a request", "CPU: litellm / tollgate", "CPU: tollgate / floor", "others on its core"):
        table.add_column(name, justify="right")
    for workload, found in workloads.items():
        for system, figures in found["systems"].items():
            ratios = found["ratios"] if system == "tollgate" else {}
            peer, floor = ratios.get("cpu_litellm_over_tollgate"), ratios.get("cpu_over_floor")
            table.add_row(
                workload,
                system,
                spread_text(figures["per_s"]),
                spread_text(figures["cpu_us"]),
                spread_text(peer, 1) + " x" if peer else "",
                spread_text(floor, 2) + " x" if floor else "",
                f"{figures['others_share_max']:.0%}",
            )
        table.add_section()
    return table


def latency_table(latency: dict[str, Any], wait_ms: str) -> Table:
    """Percentiles at the fixed rate."""
    table = Table(title=f"milliseconds at 50 req/s, the vendor begins after {wait_ms} ms", title_justify="left")
    table.add_column("system")
    for name in ("p50", "p99", "added p50", "added p99"):
        table.add_column(name, justify="right")
    for system, figures in latency.items():
        added = [spread_text(figures[name], 2) if name in figures else "" for name in ("added_p50_ms", "added_p99_ms")]
        table.add_row(system, f"{figures['p50_ms']:.2f}", f"{figures['p99_ms']:.2f}", *added)
    return table


def bars_table(figures: list[dict[str, Any]]) -> Table:
    """Each figure beside its bar and its goal."""
    table = Table(title="bars and goals", title_justify="left")
    table.add_column("figure")
    for name in ("median (least..greatest)", "bar", "goal"):
        table.add_column(name, justify="right")
    table.add_column("verdict")
    for each in figures:
        digits = 2 if each["median"] < 100 else 0  # noqa: PLR2004  # three digits need no fraction
        table.add_row(
            each["shows"],
            f"{spread_text(each, digits)} {each['unit']}",
            f"{each['bar']:g}",
            f"{each['goal']:g}",
            each["verdict"],
        )
    return table

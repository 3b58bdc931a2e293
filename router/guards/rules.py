"""The rules: what leaves the shape of legitimate traffic, by how much, and what it has cost since.

Thresholds that no policy field moves stand here with their reason. Where a rule looks at dollars, it is so that what
costs little is not worth a stop: the same question from a hundred people on the day of a launch is no runaway.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from router.guards.kinship import has_kin, has_replies
from router.guards.state import DAY_MS, scope_id_of
from router.guards.volatile import ids_moved
from router.money import NANO_PER_USD

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from router.guards.book import Book
    from router.guards.events import Asked
    from router.guards.state import Node, Pattern, Root, Scope
    from router.policy import Guards

GuardName: TypeAlias = Literal[
    "exact_repeat",
    "near_repeat",
    "no_progress",
    "context_growth",
    "lineage_depth",
    "fan_out",
    "retry_storm",
    "dollar_velocity",
]
GUARDS: tuple[GuardName, ...] = (
    "exact_repeat",
    "near_repeat",
    "no_progress",
    "context_growth",
    "lineage_depth",
    "fan_out",
    "retry_storm",
    "dollar_velocity",
)
# What may be spent past a limit before a call is refused: a twentieth of what the key spent on new work in the last
# hour, between these. On a busy key the same thing from many people is likelier.
FLOOR_NANOUSD = NANO_PER_USD // 5
FLOOR_MAX_NANOUSD = NANO_PER_USD
FLOOR_SHARE = 0.05
# The first question of a conversation may be a button that everybody presses: where it costs no more than this, and
# people go on from it with words of their own, which no loop does, more may be spent on it.
OPENING_NANOUSD = 3 * NANO_PER_USD // 100
OPENING_FLOOR_NANOUSD = 4 * NANO_PER_USD
OPENING_FLOOR_SHARE = 1.0
# Of a table's rows or a file's lines some are the same: where each costs no more than this, a quarter of what the key
# spent on new work in the last hour may be spent on one of them.
ROW_NANOUSD = NANO_PER_USD // 100
ROW_FLOOR_SHARE = 0.25
ROW_FLOOR_MAX_NANOUSD = 5 * NANO_PER_USD
# Requests that differ in opaque ids alone may be about different things, each of which a tool looks up next.
GOES_ON_SHARE = 0.5
# A caller that says so (batch tag, Idempotency-Key) may repeat more; but a runaway may say so too.
DECLARED_FLOOR_NANOUSD = 5 * NANO_PER_USD
# However slowly: what the same request may cost in a day.
DAY_NANOUSD = 10 * NANO_PER_USD
DAY_CALLS = 10
# How long it must be silent then: what comes once in two hours spends no ten calls a day.
DAY_QUIET_MS = DAY_MS // 4
# The same answer to the same words with other numbers, at least so long: a "No" says nothing.
SAME_SAID_CHARS = 40
SAME_SAID_FACTOR = 2
# 200 real agent sessions: the same call with the same result ran at most twice in a row, four times in all, and at most
# two errors followed each other.
SEEN_STREAK_MAX = 8
ERROR_STREAK_MAX = 12
# Results that differ in opaque ids alone may be new things all the same: twice as many of them are let through.
OUTLINE_FACTOR = 2
NEARED_MAX = 12
# Errors that each say something else, as while one after the other is mended.
OTHER_ERRORS_MAX = 8 * ERROR_STREAK_MAX
# At a pace at which a person can have read the answer, as in games and by voice, and where an agent that waits for a
# job asks seldom and cheaply, so much may be spent past a limit.
PERSON_FLOOR_NANOUSD = 2 * NANO_PER_USD
PERSON_PAUSE_MS = 1_000
READ_MS_PER_CHAR = 10
WAIT_FLOOR_NANOUSD = NANO_PER_USD
WAIT_NANOUSD = 3 * NANO_PER_USD // 100
# A conversation with itself: so many turns at a machine's pace that bring next to nothing but its own words.
FED_STREAK_MAX = 9
FED_SHARE = 0.15
FED_OWN_CHARS_MIN = 4_000
ALERT_SHARE = 0.75
HOUR_MS = 3_600_000
# Alerts where no limit is set: an hour that costs so much, and ten times what the day's average hour does.
VELOCITY_ALERT_NANOUSD = 25 * NANO_PER_USD
VELOCITY_FACTOR = 10
DAY_HOURS = 24
RETRY_AFTER_S = 10.0


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that is past its limit for a request: what it counted, and what was spent past it, this call included.

    ``is_hard`` knows no allowance in dollars. ``most`` is as far up the ladder as the rule goes. ``quiet_ms`` is how
    long a silence ends a stop, where that is longer than the window.
    """

    guard: GuardName
    scope: Scope
    scope_id: str
    evidence: Mapping[str, int | float]
    leaked_nanousd: int
    floor_nanousd: int = 0
    is_hard: bool = False
    most: Literal["alert", "throttle", "stop"] = "stop"
    retry_after_s: float = 0.0
    counts_as_over: bool = True
    quiet_ms: int = 0


def findings(book: Book, event: Asked, node: Node, bounds: Guards, *, is_declared: bool) -> Iterator[Finding]:
    """Every rule that the request is past."""
    fresh = book.owner(event.owner, event.time_ms).fresh.now(event.time_ms)
    floor = min(max(round(fresh * FLOOR_SHARE), FLOOR_NANOUSD), FLOOR_MAX_NANOUSD)
    same = floor
    if event.expected_nanousd <= ROW_NANOUSD:
        same = max(floor, min(round(fresh * ROW_FLOOR_SHARE), ROW_FLOOR_MAX_NANOUSD))
    opening = _opening_floor(book, event, fresh)
    same = max(same + opening, DECLARED_FLOOR_NANOUSD if is_declared else 0)
    yield from _repeats(book, event, bounds, same, has_people=opening > 0)
    yield from _paths(book, event, node, bounds, floor)
    yield from _lineages(book, event, bounds)
    yield from _retries(book, event)
    yield from _velocity(book, event, bounds)


def _opening_floor(book: Book, event: Asked, fresh: float) -> int:
    """What more may be spent on a first question that people go on from, and on what they all reply to its answer."""
    before = book.nodes.peek(event.parent) if event.parent else None
    opening = event.pattern if not event.parent else before.opening if before is not None and before.calls == 1 else 0
    is_cheap = event.kind == "user" and event.expected_nanousd <= OPENING_NANOUSD
    if not is_cheap or not opening or event.stamps or not has_replies(book, opening):
        return 0
    return OPENING_FLOOR_NANOUSD + round(fresh * OPENING_FLOOR_SHARE)


def _repeats(book: Book, event: Asked, bounds: Guards, floor: int, *, has_people: bool) -> Iterator[Finding]:
    now_ms = event.time_ms
    pattern = book.patterns.get(event.pattern)
    if pattern is not None and book.is_again(pattern, event):
        has_ids = ids_moved(pattern.stamps, event.stamps)
        if has_ids and pattern.went_on >= GOES_ON_SHARE * pattern.asked:
            return
        # In a short text the id may be what it is about.
        most = OUTLINE_FACTOR * bounds.repeats_max if has_ids and not event.head else bounds.repeats_max
        count = pattern.lately.now(now_ms, book.drain(pattern, now_ms, bounds)) + 1
        is_moved = pattern.stamps != event.stamps
        day = pattern.day.now(now_ms) + event.expected_nanousd
        is_daily = day > max(DAY_NANOUSD, DAY_CALLS * event.expected_nanousd) and not has_people
        if count > most + 0.5 or is_daily:
            yield Finding(
                "near_repeat" if is_moved else "exact_repeat",
                "pattern",
                scope_id_of("pattern", event.pattern),
                {"repeats": round(count), "repeats_max": most, "day_usd": _usd(day)},
                round(day if is_daily else pattern.over.now(now_ms) + event.expected_nanousd),
                0 if is_daily else floor,
                quiet_ms=DAY_QUIET_MS if is_daily else 0,
            )
            return
    bare = book.patterns.get(event.bare) if event.bare else None
    most = SAME_SAID_FACTOR * bounds.repeats_max
    if bare is None or bare.same_said < most:
        return
    if bare.lately.now(now_ms, book.drain(bare, now_ms, bounds)) + 1 > bounds.repeats_max:
        yield Finding(
            "near_repeat",
            "pattern",
            scope_id_of("pattern", event.bare),
            {"same_answers": bare.same_said, "same_answers_max": most},
            _over(bare, now_ms) + event.expected_nanousd,
            floor,
        )


def _over(pattern: Pattern, now_ms: int) -> int:
    return round(pattern.over.now(now_ms))


def _paths(book: Book, event: Asked, node: Node, bounds: Guards, floor: int) -> Iterator[Finding]:
    leaked = node.over_nanousd + event.expected_nanousd
    scope_id = scope_id_of("lineage", event.root)
    found: list[tuple[GuardName, dict[str, int | float]]] = []
    most = OUTLINE_FACTOR * bounds.repeats_max
    if event.kind == "tool" and (stalled := _stalled(event, node, bounds)):
        found.append(("no_progress", stalled))
    elif event.kind == "user" and node.recurred >= bounds.repeats_max:
        found.append(("exact_repeat", {"same_turns": node.recurred + 1, "same_turns_max": bounds.repeats_max}))
    elif event.kind == "user" and event.is_fast and node.outlined >= most:
        found.append(("near_repeat", {"same_but_for_ids": node.outlined + 1, "same_but_for_ids_max": most}))
    elif node.neared > NEARED_MAX:
        found.append(("near_repeat", {"near_turns": node.neared + 1, "near_turns_max": NEARED_MAX}))
    if (
        node.fed_streak > FED_STREAK_MAX
        and node.own_chars >= FED_OWN_CHARS_MIN
        and node.fed_chars <= FED_SHARE * node.own_chars
    ):
        share = round(node.fed_chars / node.own_chars, 3)
        found.append(("context_growth", {"turns": node.fed_streak, "new_share": share, "new_share_min": FED_SHARE}))
    allowed = max(floor, _paced_floor(book, event)) if found else floor
    for guard, evidence in found:
        yield Finding(guard, "lineage", scope_id, {**evidence, "calls": node.calls}, leaked, allowed)


def _paced_floor(book: Book, event: Asked) -> int:
    """What may be spent past a limit where a person may be at work, or an agent waits for something."""
    before = book.nodes.peek(event.parent) if event.parent else None
    if before is None or before.done_ms < before.asked_ms:
        return 0
    if event.kind == "tool":
        return WAIT_FLOOR_NANOUSD if not event.is_fast and event.expected_nanousd <= WAIT_NANOUSD else 0
    has_paused = event.time_ms - before.done_ms >= PERSON_PAUSE_MS
    chars = event.said_chars or before.said_chars
    has_read = event.time_ms - before.asked_ms >= READ_MS_PER_CHAR * chars
    is_echo = not event.turn_chars and has_kin(book, event.root)
    return PERSON_FLOOR_NANOUSD if has_paused and has_read and not is_echo else 0


def _stalled(event: Asked, node: Node, bounds: Guards) -> dict[str, int | float]:
    """What shows that tools bring nothing new; empty where they may."""
    if min(node.recurred, node.seen_streak) >= bounds.repeats_max:
        return {"same_results": node.recurred + 1, "same_results_max": bounds.repeats_max}
    if node.seen_streak > SEEN_STREAK_MAX:
        return {"nothing_new_streak": node.seen_streak, "streak_max": SEEN_STREAK_MAX}
    has_said_it = node.outline_streak >= ERROR_STREAK_MAX // 2
    if node.error_streak > (ERROR_STREAK_MAX if has_said_it else OTHER_ERRORS_MAX):
        return {"error_streak": node.error_streak, "streak_max": ERROR_STREAK_MAX}
    most = max(OUTLINE_FACTOR * bounds.repeats_max, ERROR_STREAK_MAX if event.is_error else 0)
    if min(node.outlined, node.outline_streak) >= most:
        return {"same_but_for_ids": node.outlined + 1, "same_but_for_ids_max": most}
    if node.outline_streak > OUTLINE_FACTOR * SEEN_STREAK_MAX:
        return {"only_ids_new_streak": node.outline_streak, "streak_max": OUTLINE_FACTOR * SEEN_STREAK_MAX}
    return {}


def _lineages(book: Book, event: Asked, bounds: Guards) -> Iterator[Finding]:
    root = book.roots.peek(event.root)
    agents = root.agents if root is not None else 1
    scope_id = scope_id_of("lineage", event.root)
    spent = (root.spent_nanousd if root is not None else 0) + event.expected_nanousd
    for guard, count, most in (
        ("lineage_depth", event.depth, bounds.depth_max),
        ("fan_out", agents if event.is_agent else agents - 1, bounds.descendants_max),
    ):
        name: GuardName = "lineage_depth" if guard == "lineage_depth" else "fan_out"
        evidence = {"depth" if name == "lineage_depth" else "descendants": count, "most": most}
        if count > most and (event.is_agent or name == "fan_out"):
            yield Finding(name, "lineage", scope_id, evidence, spent, is_hard=True)
        elif event.is_agent and count > ALERT_SHARE * most:
            yield Finding(name, "lineage", scope_id, evidence, 0, most="alert", counts_as_over=False)


def _retries(book: Book, event: Asked) -> Iterator[Finding]:
    if not event.is_retry:
        return
    owner = book.owner(event.owner, event.time_ms)
    if owner.retries_left >= 1:
        return
    evidence = {"attempts": owner.attempts, "retries": owner.retries, "retries_left": round(owner.retries_left, 2)}
    yield Finding(
        "retry_storm",
        "key",
        scope_id_of("key", event.owner),
        evidence,
        event.expected_nanousd,
        is_hard=True,
        most="throttle",
        retry_after_s=RETRY_AFTER_S,
    )


def _velocity(book: Book, event: Asked, bounds: Guards) -> Iterator[Finding]:
    most = bounds.nanousd_per_hour_max
    scopes: tuple[tuple[Scope, int], ...] = (("lineage", event.root), ("session", event.session))
    for scope, number in scopes:
        root = book.roots.peek(number) if number else None
        if most is not None and number:
            yield from _bounded(root, scope, number, event, most)
        elif root is not None and root.hour.now(event.time_ms) + event.expected_nanousd > VELOCITY_ALERT_NANOUSD:
            spent = root.hour.now(event.time_ms) + event.expected_nanousd
            yield _alert(scope, number, spent, VELOCITY_ALERT_NANOUSD)
    owner = book.owner(event.owner, event.time_ms)
    hour = owner.hour.now(event.time_ms) + event.expected_nanousd
    usual = VELOCITY_FACTOR * owner.day.now(event.time_ms) / DAY_HOURS
    is_known = event.time_ms - owner.since_ms > DAY_HOURS * HOUR_MS
    if is_known and hour > max(VELOCITY_ALERT_NANOUSD, usual):
        yield _alert("key", event.owner, hour, max(VELOCITY_ALERT_NANOUSD, usual))


def _bounded(root: Root | None, scope: Scope, number: int, event: Asked, most: int) -> Iterator[Finding]:
    per_ms = most / HOUR_MS
    level = (root.bucket.now(event.time_ms, per_ms) if root is not None else 0.0) + event.expected_nanousd
    if level > most and root is not None and root.bucket.level > 0:
        evidence = {"usd": _usd(level), "usd_per_hour_max": _usd(most)}
        wait_s = max((level - most) / per_ms / 1000, 1.0)
        yield Finding(
            "dollar_velocity",
            scope,
            scope_id_of(scope, number),
            evidence,
            round(level - most),
            is_hard=True,
            most="throttle",
            retry_after_s=wait_s,
        )


def _alert(scope: Scope, number: int, spent: float, most: float) -> Finding:
    evidence = {"hour_usd": _usd(spent), "usual_usd": _usd(most)}
    scope_id = scope_id_of(scope, number)
    return Finding("dollar_velocity", scope, scope_id, evidence, 0, most="alert", counts_as_over=False)


def _usd(nanousd: float) -> float:
    return round(nanousd / NANO_PER_USD, 6)

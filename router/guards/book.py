"""The book: events folded into records. The same events give the same book, in whichever gateway."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING

from router.guards.events import Asked, Done, Event
from router.guards.fingerprints import distance
from router.guards.state import (
    CASES_MAX,
    HOUR_MS,
    LINKS_MAX,
    NODE_PACKING,
    NODES_MAX,
    OWNERS_MAX,
    PATTERN_PACKING,
    PATTERNS_MAX,
    ROOT_PACKING,
    ROOTS_MAX,
    Case,
    Node,
    Owner,
    Pattern,
    Root,
    columns_of,
)
from router.guards.tables import Bounded
from router.guards.volatile import moved_as_clock

if TYPE_CHECKING:
    from router.guards.events import Ruled
    from router.policy import Guards

NEAR_BITS = 3
RETRIES_FIRST = 10.0
RETRIES_PER_ANSWER = 0.3
RETRIES_MAX = 100.0


class Book:
    """What this gateway knows of every scope. Bounded (see ``state``); nothing in it is text."""

    def __init__(self) -> None:
        spent = attrgetter("spent_nanousd")
        self.nodes: Bounded[int, Node] = Bounded(NODES_MAX, spent, NODE_PACKING)
        self.roots: Bounded[int, Root] = Bounded(ROOTS_MAX, spent, ROOT_PACKING)
        self.patterns: Bounded[int, Pattern] = Bounded(PATTERNS_MAX, spent, PATTERN_PACKING)
        self.owners: Bounded[int, Owner] = Bounded(OWNERS_MAX, spent)
        self.cases: Bounded[str, Case] = Bounded(CASES_MAX, spent)
        # From what was said to the node whose answer it was, and with which it is dear; 0 where several said it.
        spent_of = self.nodes.spent_of
        self.answers: Bounded[int, int] = Bounded(NODES_MAX, spent_of)
        self.pieces: Bounded[int, int] = Bounded(LINKS_MAX, spent_of)
        self.heads: Bounded[int, int] = Bounded(NODES_MAX, spent_of)
        self.templates: dict[int, tuple[int, ...]] = {}

    def fold(self, event: Event, bounds: Guards) -> None:
        """Take an event in; how fast repeats and dollars are forgotten is in the bounds."""
        if isinstance(event, Asked):
            self._asked(event, bounds)
        elif isinstance(event, Done):
            self._done(event, bounds)
        else:
            self._ruled(event)

    def root(self, root: int) -> Root:
        """The lineage's record, a new one where it is not known."""
        return self.roots.get(root) or self.roots.put(root, Root())

    def owner(self, owner: int, now_ms: int) -> Owner:
        """The key's or team's record, a new one where it is not known."""
        return self.owners.get(owner) or self.owners.put(owner, Owner(since_ms=now_ms))

    def pattern(self, pattern: int) -> Pattern:
        """The pattern's record, a new one where it is not known."""
        return self.patterns.get(pattern) or self.patterns.put(pattern, Pattern())

    def is_again(self, pattern: Pattern, event: Asked) -> bool:
        """Whether a request says the same as the one before it: its times stayed, or went on with the clock."""
        if not pattern.asked_ms or pattern.stamps == event.stamps:
            return True
        return moved_as_clock(pattern.stamps, event.stamps, (event.time_ms - pattern.asked_ms) / 1000)

    def drain(self, pattern: Pattern, now_ms: int, bounds: Guards) -> float:
        """How fast its repeats are forgotten, per millisecond: not at all while they come faster than may be for ever.

        So they count as in a window that slides, though no list of their times is kept; and after a pause no more of
        them count than the window may hold, however many there were.
        """
        gap_ms, interval_ms = now_ms - pattern.lately.at_ms, bounds.window_ms / bounds.repeats_max
        if gap_ms < interval_ms:
            return 0.0
        return 1 / interval_ms + max(pattern.lately.level - bounds.repeats_max, 0.0) / gap_ms

    def next_node(self, event: Asked) -> Node:
        """The node of a request, counted on from its parent's."""
        parent = self.nodes.peek(event.parent) if event.parent else None
        if parent is None:
            return Node(
                event.root,
                event.depth,
                1,
                event.time_ms,
                context_chars=event.turn_chars,
                opening=event.pattern,
            )
        own = event.said_chars or parent.said_chars
        before = parent.turns()
        turns, nears, calls, outlines = columns_of(before)
        recurred = turns.count(event.turn)
        outlined = outlines.count(event.outline) if event.outline else 0
        neared = (
            0
            if not event.near
            else sum(
                near != 0 and call == event.call and distance(near, event.near) <= NEAR_BITS
                for near, call in zip(nears, calls, strict=True)
            )
        )
        is_fed = event.kind == "user" and event.is_fast
        is_tool = event.kind == "tool"
        return Node(
            root=event.root,
            depth=event.depth,
            calls=parent.calls + 1,
            asked_ms=event.time_ms,
            context_chars=parent.context_chars + own + event.turn_chars,
            turn=event.turn,
            near=event.near,
            call=event.call,
            outline=event.outline,
            before=before,
            seen_streak=(parent.seen_streak + 1 if recurred else 0) if is_tool else parent.seen_streak,
            outline_streak=(parent.outline_streak + 1 if outlined else 0) if is_tool else parent.outline_streak,
            error_streak=(parent.error_streak + 1 if event.is_error else 0) if is_tool else parent.error_streak,
            fed_streak=parent.fed_streak + 1 if is_fed else 0,
            fed_chars=parent.fed_chars + event.turn_chars if is_fed else 0,
            own_chars=parent.own_chars + own if is_fed else 0,
            recurred=recurred if is_tool or event.is_fast else 0,
            outlined=outlined,
            neared=neared if event.is_fast else 0,
            over_nanousd=parent.over_nanousd,
            spent_nanousd=parent.spent_nanousd,
            # Until somebody replies it is the first question that is worked on.
            opening=parent.opening if is_tool else 0,
        )

    def _asked(self, event: Asked, bounds: Guards) -> None:
        now_ms, expected = event.time_ms, event.expected_nanousd
        root = self.root(event.root)
        if event.is_agent:
            root.agents += 1
            root.depth = max(root.depth, event.depth)
        root.hour.add(expected, now_ms)
        self._pour(event.root, event.session, expected, now_ms, bounds)
        node = self.next_node(event)
        node.spent_nanousd += expected
        node.over_nanousd = node.over_nanousd + expected if event.is_over else node.over_nanousd // 2
        if event.whole not in (event.parent, 0) and not (event.parent == 0 and self.nodes.peek(event.whole)):
            self.nodes.put(event.whole, node)
        before = self.nodes.peek(event.parent) if event.parent else None
        if before is not None and before.opening:
            self._went_on(before, event)
        if event.head:
            self.heads.put(event.head, event.whole)
        self._again(self.pattern(event.pattern), event, bounds)
        if event.bare:
            self._again(self.pattern(event.bare), event, bounds)
        for who in (event.owner, event.team):
            if who:
                owner = self.owner(who, now_ms)
                owner.hour.add(expected, now_ms)
                owner.day.add(expected, now_ms)
                if who == event.owner:
                    self._tried(owner, event)

    def _went_on(self, before: Node, event: Asked) -> None:
        """A conversation goes on from its first question; or from what tools said to it, and a person replies."""
        pattern = self.pattern(before.opening)
        pattern.went_on += before.calls == 1
        pattern.replied += event.kind == "user"

    def _tried(self, owner: Owner, event: Asked) -> None:
        owner.attempts += 1
        if event.is_retry:
            owner.retries += 1
            owner.retries_left = max(owner.retries_left - 1, 0.0)
        elif not event.is_over:
            owner.fresh.add(event.expected_nanousd, event.time_ms)

    def _pour(self, root: int, session: int, nanousd: int, now_ms: int, bounds: Guards) -> None:
        """Into the dollars an hour of the lineage and of the session, where the policy bounds them."""
        if bounds.nanousd_per_hour_max is None:
            return
        for each in {root, session} - {0}:
            self.root(each).bucket.add(nanousd, now_ms, bounds.nanousd_per_hour_max / HOUR_MS)

    def _again(self, pattern: Pattern, event: Asked, bounds: Guards) -> None:
        if self.is_again(pattern, event):
            pattern.lately.add(1, event.time_ms, self.drain(pattern, event.time_ms, bounds))
            pattern.day.add(event.expected_nanousd, event.time_ms)
            if event.is_over:
                pattern.over.add(event.expected_nanousd, event.time_ms)
        pattern.stamps, pattern.asked_ms = event.stamps, max(event.time_ms, pattern.asked_ms)
        pattern.asked += 1
        pattern.spent_nanousd += event.expected_nanousd

    def _done(self, event: Done, bounds: Guards) -> None:
        more = event.cost_nanousd - event.expected_nanousd
        root = self.root(event.root)
        root.spent_nanousd += event.cost_nanousd
        root.hour.add(more, event.time_ms)
        self._pour(event.root, event.session, more, event.time_ms, bounds)
        if event.session:
            self.root(event.session).spent_nanousd += event.cost_nanousd
        for who in (event.owner, event.team):
            if who:
                owner = self.owner(who, event.time_ms)
                owner.spent_nanousd += event.cost_nanousd
                owner.hour.add(more, event.time_ms)
                owner.day.add(more, event.time_ms)
        owner = self.owner(event.owner, event.time_ms)
        pattern = self.pattern(event.pattern)
        if event.is_over:
            pattern.over.add(more, event.time_ms)
        else:
            owner.fresh.add(more, event.time_ms)
        if event.is_answered:
            pattern.failed = 0
            owner.retries_left = min(owner.retries_left + RETRIES_PER_ANSWER, RETRIES_MAX)
        elif event.cost_nanousd > 0:
            pattern.failed += 1
        node = self.nodes.get(event.node)
        if node is not None:
            node.done_ms, node.said_chars = event.time_ms, event.said_chars
            node.spent_nanousd = max(node.spent_nanousd + more, 0)
        if event.said and event.bare:
            bare = self.pattern(event.bare)
            bare.same_said = bare.same_said + 1 if bare.said == event.said else 0
            bare.said = event.said
        if event.said:
            self.answers.put(event.said, event.node)
        self._link(event)

    def _link(self, event: Done) -> None:
        """Remember whose words these are; what two lineages say is a phrase, and leads to neither."""
        is_kin = {0: False, event.node: True}
        for piece in event.pieces:
            node = self.pieces.peek(piece)
            if node is None:
                self.pieces.put(piece, event.node)
                continue
            if node not in is_kin:
                is_kin[node] = self._is_kin(node, event)
            if is_kin[node]:
                self.pieces.put(piece, event.node)
            elif node:
                self.pieces.put(piece, 0)

    def _is_kin(self, node: int, event: Done) -> bool:
        known = self.nodes.peek(node)
        return known is not None and known.root == event.root

    def _ruled(self, event: Ruled) -> None:
        case = self.cases.get(event.scope_id)
        if case is None:
            if event.what in ("touch", "close"):
                return
            case = self.cases.put(
                event.scope_id,
                Case(event.guard, event.guard_id, event.scope, event.quiet_ms, event.time_ms, opened_ms=event.time_ms),
            )
        case.team, case.project, case.key_id = event.team, event.project, event.key_id
        case.asked_ms = max(case.asked_ms, event.time_ms)
        if event.what == "stop":
            case.is_stopped, case.probe_ms, case.quiet_ms = True, 0, event.quiet_ms
            case.guard, case.guard_id = event.guard, event.guard_id
        elif event.what == "strike":
            case.strikes += 1
        elif event.what == "probe":
            case.probe_ms = event.time_ms
        elif event.what in ("release", "close"):
            case.is_stopped, case.strikes, case.probe_ms, case.told, case.exempt_until_ms = False, 0, 0, 0, 0
            self._forgive(event.scope_id)
        elif event.what == "exempt":
            case.is_stopped, case.exempt_until_ms = False, event.until_ms
            self._forgive(event.scope_id)

    def _forgive(self, scope_id: str) -> None:
        """What led to the stop counts no more."""
        kind, _, number = scope_id.partition("-")
        key = int(number, 16) if number else 0
        if kind == "pattern":
            self.patterns.drop(key)
        elif kind == "lineage":
            for name, _ in self.nodes.having("root", key):
                self.nodes.put(name, Node(key, 0))
            root = self.roots.get(key)
            if root is not None:
                root.agents, root.depth = 1, 0

"""What share of a model's bad answers the cascade's checks catch, counted on graded answers, with a lower bound."""

from __future__ import annotations

from collections import Counter, defaultdict
from math import comb
from typing import TYPE_CHECKING, Final, NamedTuple

from router.answer_checks import CHECKS
from router.chat import Reply, Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from router.chat import FinishReason, Request
    from router.policy import Check

BAD_BELOW: Final = 0.5
CONFIDENCE: Final = 0.95
BISECTIONS: Final = 60


class Judged(NamedTuple):
    """A graded answer with its text: the model's name, the score 0..1, the request it answers, and how it ended."""

    model: str
    score: float
    request: Request
    text: str
    finish_reason: FinishReason = "stop"


class Catch(NamedTuple):
    """One model's counts: bad answers and those of them that fail a check, good ones and those that do all the same.

    ``by_check`` counts bad answers by each check that they fail; one may fail several.
    """

    bad: int
    caught: int
    good: int
    false_alarms: int
    by_check: Mapping[str, int]

    @property
    def share(self) -> float | None:
        """Caught of bad; None without a bad answer."""
        return self.caught / self.bad if self.bad else None

    @property
    def share_low(self) -> float:
        """The one-sided 95 % lower bound of the share: what a policy may state."""
        return share_low(self.caught, self.bad)


def catches_of(answers: Iterable[Judged], verify: Sequence[Check]) -> dict[str, Catch]:
    """Each model's counts, by the checks that one answer alone can fail."""
    bad: Counter[str] = Counter()
    good: Counter[str] = Counter()
    caught: Counter[str] = Counter()
    false: Counter[str] = Counter()
    by_check: dict[str, Counter[str]] = defaultdict(Counter)
    for each in answers:
        reply = Reply("", each.model, (Text(each.text),), each.finish_reason, None)
        failed = [name for name in verify if name in CHECKS and CHECKS[name](reply, each.request)]
        if each.score < BAD_BELOW:
            bad[each.model] += 1
            caught[each.model] += bool(failed)
            by_check[each.model].update(failed)
        else:
            good[each.model] += 1
            false[each.model] += bool(failed)
    return {
        model: Catch(bad[model], caught[model], good[model], false[model], dict(by_check[model]))
        for model in sorted(bad.keys() | good.keys())
    }


def share_low(hits: int, count: int) -> float:
    """The one-sided 95 % lower bound of a share (Clopper and Pearson 1934): the least at which so many are not rare."""
    if not hits:
        return 0.0
    low, high = 0.0, hits / count
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        at_least = sum(comb(count, k) * middle**k * (1 - middle) ** (count - k) for k in range(hits, count + 1))
        low, high = (middle, high) if at_least < 1 - CONFIDENCE else (low, middle)
    return low

from __future__ import annotations

from collections import Counter

from router.judge import comparison_of, parse_verdict, preference_of
from router.simulator.words import verdict_answer


def test_a_simulated_judge_is_read_and_does_not_go_by_the_order() -> None:
    """As a live calibration asks it: both orders, quotes and line breaks in the answers."""
    found: Counter[str | None] = Counter()
    for number in range(200):
        one, other = f'It says "{number}".\nSo it binds.', f"No {{}}, by clause {number}\\."
        first = verdict_answer(comparison_of(f"Is {number} binding?", one, other))
        second = verdict_answer(comparison_of(f"Is {number} binding?", other, one))
        assert first is not None
        assert second is not None
        found[preference_of(parse_verdict(first), parse_verdict(second))] += 1
    assert None not in found
    assert {"premium", "candidate", "tie"} == set(found)
    assert found["tie"] > 100


def test_nobody_else_is_answered_with_a_verdict() -> None:
    for question in ("What is a verdict?", "Say VERDICT: TIE", 'VERDICT: TIE "answer_a": "x"', ""):
        assert verdict_answer(question) is None

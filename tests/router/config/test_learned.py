"""Feedback folded from the ledger into versions on disk."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from router.answer_marks import MARK_NAMES
from router.calibration import NO_CALIBRATIONS, Adjustment, Match
from router.config import learned as store
from router.config.learned import FeedbackWatch, Learned
from router.decide import decide
from router.errors import ConfigError
from router.feedback import VOICE_SHIFT_MAX, fold, labels_of
from router.ledger import Feedback
from router.policy import Caller, Terms
from router.receipt import receipt_of
from router.stores.memory import MemoryLedger
from router.verifier import Verifier
from tests.builders import model_of, policy_of, request_of
from tests.lines import START_MS, StillClock, intent_line, settlement_line
from tests.router.scripted import ScriptedQuality

if TYPE_CHECKING:
    from pathlib import Path

REVISION = "quality-revision"
NONE = (0.0,) * len(MARK_NAMES)
BAD = tuple(2.0 if name in ("cut_off", "mid_sentence") else 0.0 for name in MARK_NAMES)
POLICY = policy_of(model_of("premium", output_usd="50"), model_of("cheap"))
QUALITY = ScriptedQuality({"anthropic/premium": 0.0, "anthropic/cheap": 0.01})
OWN = Match("key", "k1")
FOLD_MS = store.FOLD_S * 1000


async def judged(ledger: MemoryLedger, count: int, score: float, *, at: int = START_MS, name: str = "d") -> None:
    for number in range(count):
        decision_id = f"{name}{number}"
        decision = decide(request_of(), Caller(key_id="k1"), Terms(), POLICY, QUALITY, decision_id=decision_id)  # type: ignore[arg-type]
        subject: dict[str, Any] = {"team": None, "key_id": "k1", "premium": "premium", "quality_revision": REVISION}
        intent = intent_line(decision_id, time_ms=at, model="cheap", **subject)
        receipt = json.loads(json.dumps(receipt_of(decision)))
        await ledger.append(replace(intent, receipt=receipt), settlement_line(decision_id))
        await ledger.append(Feedback(decision_id, at, score, f"user{number % 5}", "k1"))


def watch_of(home: Path, ledger: MemoryLedger, now_ms: int = START_MS + FOLD_MS) -> FeedbackWatch:
    return FeedbackWatch(home, ledger, StillClock(now_ms), REVISION)


async def test_labels_become_a_version_and_another_process_finds_it(tmp_path: Path) -> None:
    ledger = MemoryLedger()
    await judged(ledger, 30, 0.0)
    watch = watch_of(tmp_path, ledger)
    assert not watch.adjustments
    assert await watch.fold_once(POLICY, NO_CALIBRATIONS)
    found = watch.adjustments[OWN]
    assert found.shifts["anthropic/cheap"] < -VOICE_SHIFT_MAX
    assert (found.version, found.labels, found.voices) == (1, 30, 1)
    assert not await watch.fold_once(POLICY, NO_CALIBRATIONS)  # nothing new, no version
    assert watch_of(tmp_path, ledger).adjustments == watch.adjustments
    assert FeedbackWatch(tmp_path, ledger, StillClock(), "another model").adjustments == {}


async def test_a_version_is_folded_again_from_the_ledger_to_the_same(tmp_path: Path) -> None:
    ledger = MemoryLedger()
    await judged(ledger, 30, 0.25)
    watch = watch_of(tmp_path, ledger)
    await watch.fold_once(POLICY, NO_CALIBRATIONS)
    # What is said later, also by a voice that has spoken, is not in the version and does not change its rebuilding.
    await ledger.append(Feedback("d1", START_MS + 10 * FOLD_MS, 1.0, "user1", "k1"))
    held = store.read_newest(tmp_path)
    labels = [
        label
        async for row, lines in ledger.labelled(0, 2**62, limit=1000)
        for label in labels_of(row, lines, held.as_of_ms)
    ]
    names = store.names_in(POLICY)
    again = fold(labels, NO_CALIBRATIONS, names, REVISION, held.as_of_ms, forgotten_ms=held.forgotten_ms)
    assert store.content_of(replace(held, adjustments=again)) == store.content_of(held)


async def test_what_is_rolled_back_stays_so_and_later_labels_count(tmp_path: Path) -> None:
    ledger = MemoryLedger()
    await judged(ledger, 30, 0.0)
    watch = watch_of(tmp_path, ledger)
    await watch.fold_once(POLICY, NO_CALIBRATIONS)
    assert store.forget(tmp_path, START_MS + FOLD_MS) == 2
    assert await watch.fold_once(POLICY, NO_CALIBRATIONS)
    assert watch.adjustments == {}
    later = START_MS + 3 * FOLD_MS
    await judged(ledger, 30, 0.0, at=later, name="e")
    again = watch_of(tmp_path, ledger, later + FOLD_MS)
    await again.fold_once(POLICY, NO_CALIBRATIONS)
    assert again.adjustments[OWN].labels == 30
    assert again.learned.forgotten_ms == START_MS + FOLD_MS


async def test_a_changed_file_is_refused_and_says_what_to_do(tmp_path: Path) -> None:
    ledger = MemoryLedger()
    await judged(ledger, 30, 0.0)
    await watch_of(tmp_path, ledger).fold_once(POLICY, NO_CALIBRATIONS)
    path = store.folder_of(tmp_path) / "1.json"
    path.write_text(path.read_text().replace('"labels": 30', '"labels": 31'))
    with pytest.raises(ConfigError, match=r"feedback/1\.json: .*--rollback feedback"):
        store.read_newest(tmp_path)
    watch = watch_of(tmp_path, ledger)
    assert watch.refused is not None
    assert watch.adjustments == {}
    path.write_text("[")
    assert watch_of(tmp_path, ledger).refused is not None


def test_a_version_is_never_written_over_and_old_ones_go(tmp_path: Path) -> None:
    assert store.save(tmp_path, Learned(1))
    assert not store.save(tmp_path, Learned(1))
    for version in range(2, store.VERSIONS_KEPT + 5):
        store.save(tmp_path, Learned(version))
    assert len(store.versions_in(tmp_path)) == store.VERSIONS_KEPT
    assert store.read_newest(tmp_path).version == store.VERSIONS_KEPT + 4


# --- the verifier that labels teach ----------------------------------------------------------------------------------


async def shown(ledger: MemoryLedger, count: int, *, at: int = START_MS, name: str = "v") -> None:
    """Answers of which each fifth broke off, and their labels, which say that this is bad."""
    for number in range(count):
        decision_id, is_bad = f"{name}{number}", number % 5 == 0
        decision = decide(request_of(), Caller(key_id="k1"), Terms(), POLICY, QUALITY, decision_id=decision_id)  # type: ignore[arg-type]
        subject: dict[str, Any] = {"team": None, "key_id": "k1", "premium": "premium", "quality_revision": REVISION}
        intent = intent_line(decision_id, time_ms=at, model="cheap", prompt_hash=decision_id, **subject)
        end = settlement_line(decision_id, marks=BAD if is_bad else NONE)
        await ledger.append(
            replace(intent, receipt=json.loads(json.dumps(receipt_of(decision)))), replace(end, time_ms=at)
        )
        await ledger.append(Feedback(decision_id, at, float(not is_bad), f"user{number % 5}", "k1"))


async def taught(home: Path, count: int) -> tuple[MemoryLedger, FeedbackWatch, Verifier]:
    """So many labels, folded once, and the verifier that they teach."""
    ledger = MemoryLedger()
    await shown(ledger, count)
    watch = watch_of(home, ledger)
    assert await watch.fold_once(POLICY, NO_CALIBRATIONS)
    found = watch.adjustments[OWN].verifier
    assert found is not None
    return ledger, watch, found


async def test_a_verifier_is_part_of_the_version_and_of_its_rebuilding_and_goes_with_it(tmp_path: Path) -> None:
    ledger, watch, found = await taught(tmp_path, 120)
    assert found.is_in_force
    assert found.doubts(0.5, BAD) is False, "no policy has said yet how sure it wants to be"
    assert watch_of(tmp_path, ledger).adjustments == watch.adjustments
    await ledger.append(Feedback("v1", START_MS + 10 * FOLD_MS, 0.0, "user1", "k1"))
    held = store.read_newest(tmp_path)
    labels = [
        label
        async for row, lines in ledger.labelled(0, 2**62, limit=1000)
        for label in labels_of(row, lines, held.as_of_ms)
    ]
    again = fold(labels, NO_CALIBRATIONS, store.names_in(POLICY), REVISION, held.as_of_ms)
    assert store.content_of(replace(held, adjustments=again)) == store.content_of(held)
    store.forget(tmp_path, START_MS + FOLD_MS)
    assert await watch.fold_once(POLICY, NO_CALIBRATIONS)
    assert watch.adjustments == {}


async def test_what_is_missing_is_in_a_version_before_anything_is_in_force(tmp_path: Path) -> None:
    ledger, watch, found = await taught(tmp_path, 20)
    assert (found.why_not, found.labels, found.labels_needed) == ("too_few_labels", 20, 30)
    assert not await watch.fold_once(POLICY, NO_CALIBRATIONS)
    await shown(ledger, 2, name="w")
    again = watch_of(tmp_path, ledger)
    assert not await again.fold_once(POLICY, NO_CALIBRATIONS), "two labels more are no version of their own"
    await shown(ledger, 8, name="x")
    assert await watch_of(tmp_path, ledger).fold_once(POLICY, NO_CALIBRATIONS)


def test_a_version_from_before_there_were_verifiers_is_read_and_one_of_other_marks_has_none(tmp_path: Path) -> None:
    adjustment = Adjustment(OWN, {"anthropic/cheap": -0.25}, 30, 1)
    store.save(tmp_path, Learned(1, START_MS, 0, REVISION, {OWN: adjustment}))
    written = json.loads((store.folder_of(tmp_path) / "1.json").read_text())
    assert set(written["workloads"][0]) == {"match", "shifts", "labels", "voices", "alarm"}, "as it was"
    assert store.read_newest(tmp_path).adjustments == {OWN: replace(adjustment, version=1)}
    taught = Verifier(None, 120, 0, 0.2, 0.1, -0.1, dict.fromkeys(MARK_NAMES, 0.25))
    waiting = Verifier("not_proven", 80, None, -0.001, -0.02)
    for version, verifier in ((2, taught), (3, waiting)):
        store.save(tmp_path, Learned(version, START_MS, 0, REVISION, {OWN: replace(adjustment, verifier=verifier)}))
        assert store.read_newest(tmp_path).adjustments[OWN].verifier == verifier
    other = taught._replace(weights={"sparkle": 0.25})
    store.save(tmp_path, Learned(4, START_MS, 0, REVISION, {OWN: replace(adjustment, verifier=other)}))
    assert store.read_newest(tmp_path).adjustments == {OWN: replace(adjustment, version=4)}

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.batch import batch_of
from router.features import PromptView, features_of
from router.quality import Placement, QualityModel, load_quality_model
from router.quality.model import BOUND_SETS_MAX, IMAGE_SUPPORT, LOSS_MAX, TOOLS_SUPPORT, interpolated

MODEL = load_quality_model()
TODAY = ("anthropic/claude-opus-5-5", "gemini/gemini-3.8-flash", "deepinfra/meta-llama/Meta-Llama-3.1-8B-Instruct")
QUESTION = b"Explain why the sum of two even numbers is even, and write a short proof of it for a student."


def view(text: bytes = QUESTION, **others: object) -> PromptView:
    return PromptView(question=text, **others)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "origin",
    [
        "claude-3-5-sonnet-20241022",
        "claude-3-5-sonnet-20240620",
        "Meta-Llama-3.1-8B-Instruct",
        "Meta-Llama-3_1-8B-Instruct",
        "gemini-1.5-pro-002",
        "gpt-4-1106-preview",
        "mistralai/Mixtral-8x7B-Instruct-v0.1",
        "Llama-3.1-405B-Inst-fp8@together",
        "llama-3.1-70b-instruct",
    ],
)
def test_an_origins_own_name_finds_its_outcomes(origin: str) -> None:
    assert origin in MODEL.names
    assert MODEL.ability_of(origin).placement.basis == "outcomes"


@pytest.mark.parametrize("name", MODEL.names)
def test_every_name_that_is_offered_is_known(name: str) -> None:
    assert MODEL.ability_of(name).placement.basis != "none"


def test_hosts_spell_one_model_and_dated_snapshots_stay_two() -> None:
    keys = {
        MODEL.key_of(name) for name in (TODAY[2], "Meta-Llama-3.1-8B-Instruct", "meta_llama/Meta-Llama-3_1-8B-Instruct")
    }
    assert len(keys) == 1
    assert MODEL.key_of("claude-3-5-sonnet-20240620") != MODEL.key_of("claude-3-5-sonnet-20241022")


def test_what_a_model_rests_on_is_named_and_a_predecessors_place_is_wider() -> None:
    opus, flash, llama = (MODEL.ability_of(name) for name in TODAY)
    assert opus.placement.basis == flash.placement.basis == "predecessor"
    assert opus.placement.sources[0].startswith("predecessor claude-opus-4-8")
    before = MODEL.ability_of("claude-opus-4-8")
    assert before.placement.basis == "own"
    assert all("20" in source for source in before.placement.sources if "effort" not in source), "harness and date"
    assert opus.standard_error > before.standard_error > llama.standard_error


def test_a_model_that_nothing_is_known_of_is_placed_nowhere() -> None:
    scores = MODEL.score(features_of(view()), ("somebody/new-model-9", *TODAY))
    assert scores.placement[0].basis == "none"
    assert scores.width[0] > scores.width[3]


def test_scores_are_plain_python_that_any_encoder_takes() -> None:
    for text in (b"", b"...", b"x", QUESTION):
        scores = MODEL.score(features_of(view(text)), TODAY)
        numbers = (scores.complexity, scores.support, scores.output_tokens, *scores.quality, *scores.width)
        assert {type(each) for each in numbers} == {float}
        assert type(scores.has_ground) is bool
        assert type(scores.kind) is str


@given(st.binary(max_size=400), st.integers(0, 2), st.integers(0, 2))
def test_scores_stay_in_their_ranges(text: bytes, images: int, tools: int) -> None:
    scores = MODEL.score(features_of(view(text, n_images=images, n_tools=tools)), TODAY)
    assert 0 <= scores.complexity <= 1
    assert 0 <= scores.support <= 1
    assert 1 <= scores.output_tokens <= 4_000
    assert all(0 <= each <= 1 for each in scores.quality)
    assert all(0 <= each <= 1 for each in scores.width)


def test_one_by_one_and_all_at_once_agree() -> None:
    features = [features_of(view(text)) for text in (b"", b"hello", QUESTION, QUESTION * 200, "Größe?".encode())]
    batch = batch_of(MODEL, features)
    single = [MODEL.score(each, TODAY) for each in features]
    assert batch.quality(TODAY) == pytest.approx(np.array([each.quality for each in single]), abs=1e-5)
    assert batch.complexity == pytest.approx(np.array([each.complexity for each in single]), abs=1e-5)
    assert batch.support == pytest.approx(np.array([each.support for each in single]), abs=1e-9)
    assert [MODEL.kinds[kind] for kind in batch.kinds] == [each.kind for each in single]
    apart = ("claude-3-5-sonnet-20241022", "gemini-1.5-pro", "gemini-1.5-flash-002", "Meta-Llama-3.1-8B-Instruct")
    for names in (TODAY, apart, apart[::-1]):
        losses = [MODEL.predicted_loss(MODEL.score(each, names), 0) for each in features]
        assert batch.losses(names) == pytest.approx(np.array(losses), abs=1e-5)


def test_the_order_and_number_of_models_do_not_matter() -> None:
    features = features_of(view())
    alone = MODEL.score(features, TODAY[1:2]).quality[0]
    assert MODEL.score(features, TODAY[::-1]).quality[1] == pytest.approx(alone, abs=1e-6)


def test_only_so_many_sets_of_models_are_kept() -> None:
    model = load_quality_model()
    for number in range(3 * BOUND_SETS_MAX):
        model.bound_to((f"model-{number}",))
    assert len(model._bound) <= BOUND_SETS_MAX


def test_images_and_tools_lower_support_and_words_unlike_any_leave_no_ground() -> None:
    plain = MODEL.score(features_of(view()), TODAY)
    assert plain.has_ground
    image = MODEL.score(features_of(view(n_images=1)), TODAY)
    tools = MODEL.score(features_of(view(n_tools=1)), TODAY)
    assert image.support == pytest.approx(plain.support * IMAGE_SUPPORT)
    assert tools.support == pytest.approx(plain.support * TOOLS_SUPPORT)
    assert not image.has_ground
    foreign = "Пожалуйста, объясните, почему сумма двух чётных чисел чётна".encode()
    assert not MODEL.score(features_of(view(foreign)), TODAY).has_ground
    assert not MODEL.score(features_of(view(b"")), TODAY).has_ground


def test_a_laxer_tolerance_never_has_a_stricter_threshold() -> None:
    for kind in (*MODEL.kinds, "unheard of", ""):
        limits = [MODEL.threshold(tolerance, kind) for tolerance in np.linspace(0, 1, 101)]
        assert limits == sorted(limits)
        assert limits[0] == float("-inf")


def test_between_two_tolerances_the_stricter_ones_threshold_holds_and_unknown_sources_get_the_strictest() -> None:
    kind = MODEL.kinds[0]
    low, high = MODEL.tolerances[:2].tolist()
    assert MODEL.threshold((low + high) / 2, kind) == MODEL.threshold(low + 1e-12, kind)
    for tolerance in (0.02, 0.05, 0.1):
        strictest = min(MODEL.threshold(tolerance, f"{source}:x") for source in MODEL.threshold_sources)
        assert MODEL.threshold(tolerance, "unheard of") <= strictest


OWN, PREDECESSOR = Placement("own", ("LiveBench (2025-04-18)",)), Placement("predecessor", ("predecessor x",))
ZEROEVAL, ARENA = Placement("outcomes", ("zeroeval",)), Placement("outcomes", ("arena_hard_v01", "llmrouter"))
NOBODY = Placement("none")


def loss_of(mine: Placement, premium: Placement, *, kind: str = "zeroeval:math-l5") -> float:
    """Of a model of quality 0.7 +- 0.04 against a premium model of 0.8 +- 0.03."""
    scores = dataclasses.replace(
        MODEL.score(features_of(view()), TODAY[:2]),
        quality=(0.8, 0.7), width=(0.03, 0.04), placement=(premium, mine), kind=kind,
    )  # fmt: skip
    return MODEL.predicted_loss(scores, 0)[1]


@pytest.mark.parametrize("mine", [OWN, PREDECESSOR])
@pytest.mark.parametrize("premium", [OWN, PREDECESSOR])
def test_places_on_one_line_are_charged_for_what_they_differ_in(mine: Placement, premium: Placement) -> None:
    assert loss_of(mine, premium) == pytest.approx(0.1 + 0.01)
    assert loss_of(mine, premium, kind="unheard of") == pytest.approx(0.1 + 0.01)


@pytest.mark.parametrize(
    ("mine", "premium"), [(OWN, ZEROEVAL), (ZEROEVAL, PREDECESSOR), (ARENA, ZEROEVAL), (ARENA, OWN), (NOBODY, OWN)]
)
def test_places_that_share_nothing_are_charged_for_both_errors(mine: Placement, premium: Placement) -> None:
    assert loss_of(mine, premium) == pytest.approx(0.1 + 0.05)


def test_outcomes_on_the_same_prompts_are_charged_nothing_but_on_kinds_that_no_threshold_was_calibrated_on() -> None:
    both = Placement("outcomes", ("mmlu_pro", "zeroeval"))
    assert "zeroeval" in MODEL.threshold_sources
    assert "llmrouter" not in MODEL.threshold_sources
    assert loss_of(both, ZEROEVAL) == pytest.approx(0.1)
    assert loss_of(both, ZEROEVAL, kind="llmrouter:gpqa") == pytest.approx(0.1 + 0.05)


def test_outcomes_name_the_sources_that_they_are_of() -> None:
    sonnet, flash = (MODEL.ability_of(name) for name in ("claude-3-5-sonnet-20241022", "gemini-1.5-flash-002"))
    assert sonnet.placement == Placement("outcomes", ("zeroeval",))
    assert flash.placement == Placement("outcomes", ("mmlu_pro",))
    llama = MODEL.ability_of("Meta-Llama-3.1-8B-Instruct")
    assert set(llama.placement.sources) >= {"zeroeval", "mmlu_pro", "llmrouter"}
    assert llama.standard_error < flash.standard_error, "of four sources, not one"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_feature_that_is_no_finite_number_is_refused_by_its_name(value: float) -> None:
    features = features_of(view())
    features.structure[3] = value
    with pytest.raises(ValueError, match="the feature log_sentences is not a finite number"):
        MODEL.score(features, TODAY)


def test_against_a_premium_model_that_nothing_is_known_of_nothing_else_qualifies() -> None:
    scores = MODEL.score(features_of(view()), ("somebody/new-model-9", *TODAY))
    assert MODEL.predicted_loss(scores, 0) == (0.0, LOSS_MAX, LOSS_MAX, LOSS_MAX)
    assert MODEL.thresholds.max() < LOSS_MAX
    assert batch_of(MODEL, [features_of(view())]).losses(("somebody/new-model-9", *TODAY))[0].tolist() == [0, 1, 1, 1]


def test_the_model_is_compared_by_identity() -> None:
    assert isinstance(MODEL, QualityModel)
    assert load_quality_model() != MODEL


def test_interpolation_is_numpys_to_the_last_bit() -> None:
    draw = np.random.default_rng(3)
    knots, values = np.sort(draw.normal(size=7)).astype(np.float32), draw.normal(size=7).astype(np.float32)
    for at in [*draw.normal(size=500).tolist(), *knots.tolist(), -9.0, 9.0]:
        assert interpolated(at, knots.tolist(), values.tolist()) == np.interp(at, knots, values)

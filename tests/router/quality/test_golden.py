"""Made-up prompts and what the shipped model says of them, to six digits.

The file changes only with the artifact or with the features; ``TOLLGATE_WRITE_GOLDEN=1`` writes it anew.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from router.features import PromptView, features_of
from router.quality import load_quality_model

GOLDEN = Path(__file__).with_name("scores.json")
MODELS = (
    "anthropic/claude-opus-5-5",
    "anthropic/claude-haiku-5-5",
    "gemini/gemini-3.8-flash",
    "deepinfra/meta-llama/Llama-3.3-70B-Instruct",
    "claude-3-5-sonnet-20241022",
    "Meta-Llama-3.1-8B-Instruct",
)
PROMPTS: dict[str, PromptView] = {
    "empty": PromptView(question=b""),
    "greeting": PromptView(question=b"Hi! How are you today?"),
    "sum": PromptView(question=b"A farmer sells 12 crates of 24 apples at 3 dollars a crate. How much does he earn?"),
    "choices": PromptView(
        question=b"Which gas do plants take in from the air?\nA. oxygen\nB. carbon dioxide\nC. argon\nD. neon"
    ),
    "proof": PromptView(question=b"Prove that $\\sum_{n=1}^{\\infty} 1/n^2$ converges and find its value."),
    "code": PromptView(
        question=b"```python\ndef f(xs):\n    return [x for x in xs if x % 2]\n```\nWhat is f([1, 2, 3])?"
    ),
    "letter": PromptView(question=b"Write a kind letter to a neighbour whose dog barks at night."),
    "russian": PromptView(question="Почему небо голубое?".encode()),
    "follow-up": PromptView(question=b"go on", history=b"Derive the determinant of a Vandermonde matrix.", n_turns=2),
    "image": PromptView(question=b"What is written on this sign?", n_images=1),
    "tools": PromptView(question=b"Book me a table for four tomorrow at eight.", n_tools=3, tool_schema_bytes=900),
    "long": PromptView(question=b"The treaty was signed in spring, and nobody kept it. " * 4_000 + b"Why did it fail?"),
    "any bytes": PromptView(question=bytes(range(256))),
}


def scored() -> dict[str, object]:
    model = load_quality_model()
    found: dict[str, object] = {"revision": model.revision}
    for name, view in PROMPTS.items():
        scores = model.score(features_of(view), MODELS)
        found[name] = {
            "complexity": round(scores.complexity, 6),
            "quality": [round(each, 6) for each in scores.quality],
            "width": [round(each, 6) for each in scores.width],
            "support": round(scores.support, 6),
            "has_ground": scores.has_ground,
            "kind": scores.kind,
            "output_tokens": round(scores.output_tokens, 3),
        }
    return found


def test_the_same_artifact_scores_made_up_prompts_as_before() -> None:
    found = scored()
    if os.environ.get("TOLLGATE_WRITE_GOLDEN") == "1":
        GOLDEN.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert list(found) == list(golden)
    assert found["revision"] == golden["revision"]
    for name in PROMPTS:
        mine, theirs = found[name], golden[name]
        assert isinstance(mine, dict)
        for key, value in theirs.items():
            expected = value if isinstance(value, str | bool) else pytest.approx(value, abs=2e-6, rel=1e-5)
            assert mine[key] == expected, (name, key)

from __future__ import annotations

from datetime import date

from router.config.hosts import SIMULATED_KEY, deployments_of
from router.config.load import load_policy
from router.config.prices import load_catalog
from router.config.settings import shipped_policy

POLICY = load_policy(shipped_policy("default"), load_catalog(), date(2026, 11, 25))


def test_simulated_models_are_reached_by_their_provider() -> None:
    urls = {"anthropic": "http://a", "deepinfra": "http://o/deepinfra/v1"}
    found = deployments_of(POLICY, {}, urls)
    assert {name: each.api_base for name, each in found.items()} == {
        "claude-opus": "http://a",
        "claude-sonnet": "http://a",
        "claude-haiku": "http://a",
        "llama-maverick": "http://o/deepinfra/v1",
        "llama-70b": "http://o/deepinfra/v1",
        "llama-8b": "http://o/deepinfra/v1",
    }
    assert {each.api_key for each in found.values()} == {SIMULATED_KEY}


def test_a_model_without_its_key_is_left_out() -> None:
    found = deployments_of(POLICY, {"GOOGLE_API_KEY": "g"}, None)
    assert set(found) == {"gemini-argon", "gemini-flash"}
    assert {each.api_key for each in found.values()} == {"g"}

from __future__ import annotations

from dataclasses import replace

import pytest

from router.config.hosts import SIMULATED_KEY, deployments_of, has_any_key, host_of, wire_of
from tests.builders import model_of, policy_of

OPUS = model_of("opus", provider_model="anthropic/claude-opus-5-5")
FLASH = model_of("flash", provider_model="gemini/gemini-3.8-flash", wire="gemini")
LLAMA = model_of("llama", provider_model="together_ai/meta-llama/Llama-3.3-70B", wire="openai")
HOME = model_of("home", provider_model="ollama/llama3.1:8b", wire="openai")
BEDROCK = model_of("bedrock", provider_model="bedrock/anthropic.claude-x", wire="litellm")
POLICY = policy_of(OPUS, FLASH, LLAMA, HOME, BEDROCK)


@pytest.mark.parametrize(
    ("provider_model", "wire"),
    [("anthropic/x", "anthropic"), ("gemini/x", "gemini"), ("groq/a/b", "openai"), ("vertex_ai/x", "litellm")],
)
def test_the_wire_is_the_providers(provider_model: str, wire: str) -> None:
    assert wire_of(provider_model) == wire


def test_a_model_is_reached_where_its_key_is_set() -> None:
    found = deployments_of(POLICY, {"ANTHROPIC_API_KEY": "a", "GOOGLE_API_KEY": "g"}, None)
    assert {name: (each.api_base, each.api_key) for name, each in found.items()} == {
        "opus": ("https://api.anthropic.com", "a"),
        "flash": ("https://generativelanguage.googleapis.com", "g"),
        "home": ("http://127.0.0.1:11434/v1", ""),
        "bedrock": ("", ""),
    }


def test_the_first_of_a_providers_variables_wins_and_an_empty_one_is_none() -> None:
    env = {"GEMINI_API_KEY": "first", "GOOGLE_API_KEY": "second", "ANTHROPIC_API_KEY": ""}
    found = deployments_of(POLICY, env, None)
    assert found["flash"].api_key == "first"
    assert "opus" not in found


def test_blanks_around_a_key_are_no_part_of_it_and_blanks_alone_are_none() -> None:
    env = {"ANTHROPIC_API_KEY": " sk-1\r\n", "GEMINI_API_KEY": " \n", "GOOGLE_API_KEY": "g"}
    found = deployments_of(POLICY, env, None)
    assert (found["opus"].api_key, found["flash"].api_key) == ("sk-1", "g")
    assert not has_any_key(policy_of(OPUS), {"ANTHROPIC_API_KEY": "\n"})


def test_the_policys_variable_and_address_win() -> None:
    mine = replace(OPUS, api_key_env="MY_KEY", api_base="http://proxy/anthropic/")
    env = {"ANTHROPIC_API_KEY": "theirs", "MY_KEY": "mine"}
    found = deployments_of(policy_of(mine), env, None)["opus"]
    assert (found.api_base, found.api_key) == ("http://proxy/anthropic", "mine")
    # The variable that was named is the one that is meant: the usual one does not stand in for it.
    assert deployments_of(policy_of(mine), {"ANTHROPIC_API_KEY": "theirs"}, None) == {}


def test_the_simulator_takes_the_place_of_the_vendors_that_it_plays() -> None:
    urls = {"anthropic": "http://sim/a", "together_ai": "http://sim/o/together_ai/v1"}
    found = deployments_of(POLICY, {"GEMINI_API_KEY": "g"}, urls)
    assert {name: (each.api_base, each.api_key) for name, each in found.items()} == {
        "opus": ("http://sim/a", SIMULATED_KEY),
        "llama": ("http://sim/o/together_ai/v1", SIMULATED_KEY),
    }


@pytest.mark.parametrize(
    ("policy", "env", "expected"),
    [
        (policy_of(OPUS, FLASH), {}, False),
        (policy_of(OPUS, FLASH), {"GEMINI_API_KEY": "g"}, True),
        (policy_of(OPUS, FLASH), {"OPENAI_API_KEY": "x"}, False),
        (policy_of(replace(HOME, api_base="http://127.0.0.1:11434/v1")), {}, True),
    ],
)
def test_without_any_key_or_address_there_is_nobody_to_ask(policy, env, expected) -> None:  # noqa: ANN001
    assert has_any_key(policy, env) is expected


def test_a_key_never_shows() -> None:
    found = deployments_of(POLICY, {"ANTHROPIC_API_KEY": "secret-word"}, None)
    assert "secret-word" not in repr(found)
    assert host_of("anthropic/x").key_names == ("ANTHROPIC_API_KEY",)

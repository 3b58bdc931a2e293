from __future__ import annotations

from router.ports import Deployment
from tests.builders import model_of, policy_of


def test_the_vendors_own_id_has_no_prefix_of_ours() -> None:
    assert model_of("m", provider_model="anthropic/claude-x").vendor_model == "claude-x"
    assert model_of("m", provider_model="together_ai/meta-llama/Llama-3").vendor_model == "meta-llama/Llama-3"
    assert model_of("m", provider_model="gpt-x").vendor_model == "gpt-x"


def test_premium_is_the_model_that_the_policy_names() -> None:
    policy = policy_of(model_of("a"), model_of("b"), premium="b")
    assert policy.premium_model.id == "b"


def test_a_deployments_key_never_prints() -> None:
    deployment = Deployment(model_of("m"), "https://vendor", "sk-secret")
    assert "sk-secret" not in repr(deployment)
    assert "sk-secret" not in f"{[deployment]}"

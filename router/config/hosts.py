"""Where each provider is reached, in which wire, and which variable holds its key: facts of their own docs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from router.ports import Deployment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.chat import Wire
    from router.policy import Policy, PolicyModel


@dataclass(frozen=True, slots=True)
class Host:
    """A provider's wire, base URL as its own SDK takes it, and the names that its key goes by."""

    wire: Wire
    api_base: str | None
    key_names: tuple[str, ...]
    needs_key: bool = True


HOSTS: dict[str, Host] = {
    "anthropic": Host("anthropic", "https://api.anthropic.com", ("ANTHROPIC_API_KEY",)),
    "gemini": Host("gemini", "https://generativelanguage.googleapis.com", ("GEMINI_API_KEY", "GOOGLE_API_KEY")),
    "openai": Host("openai", "https://api.openai.com/v1", ("OPENAI_API_KEY",)),
    "together_ai": Host("openai", "https://api.together.xyz/v1", ("TOGETHERAI_API_KEY", "TOGETHER_API_KEY")),
    "groq": Host("openai", "https://api.groq.com/openai/v1", ("GROQ_API_KEY",)),
    "deepinfra": Host("openai", "https://api.deepinfra.com/v1/openai", ("DEEPINFRA_API_KEY",)),
    "fireworks_ai": Host("openai", "https://api.fireworks.ai/inference/v1", ("FIREWORKS_API_KEY",)),
    "openrouter": Host("openai", "https://openrouter.ai/api/v1", ("OPENROUTER_API_KEY",)),
    "cerebras": Host("openai", "https://api.cerebras.ai/v1", ("CEREBRAS_API_KEY",)),
    "sambanova": Host("openai", "https://api.sambanova.ai/v1", ("SAMBANOVA_API_KEY",)),
    "nebius": Host("openai", "https://api.studio.nebius.ai/v1", ("NEBIUS_API_KEY",)),
    "novita": Host("openai", "https://api.novita.ai/v3/openai", ("NOVITA_API_KEY",)),
    "hosted_vllm": Host("openai", None, ("VLLM_API_KEY",), needs_key=False),
    "ollama": Host("openai", "http://127.0.0.1:11434/v1", ("OLLAMA_API_KEY",), needs_key=False),
    "ollama_chat": Host("openai", "http://127.0.0.1:11434/v1", ("OLLAMA_API_KEY",), needs_key=False),
}
LONG_TAIL = Host("litellm", "", ())
SIMULATED_KEY = "simulated"


def host_of(provider_model: str) -> Host:
    """The provider of a litellm-style name; what is not spoken natively goes through litellm."""
    return HOSTS.get(provider_model.split("/", 1)[0], LONG_TAIL)


def wire_of(provider_model: str) -> Wire:
    """The wire that the provider speaks."""
    return host_of(provider_model).wire


def key_of(model: PolicyModel, env: Mapping[str, str]) -> str | None:
    """The provider's key from the environment, by the policy's variable or by its usual names; None without one.

    Blanks around it are no part of it: files that secrets are mounted from end in a line break.
    """
    names = (model.api_key_env,) if model.api_key_env else host_of(model.provider_model).key_names
    return next(filter(None, (env.get(name, "").strip() for name in names)), None)


def deployments_of(
    policy: Policy, env: Mapping[str, str], simulator_urls: Mapping[str, str] | None
) -> dict[str, Deployment]:
    """Where each model is reached, by model id; models that this process has no key for are left out.

    With ``simulator_urls`` (by provider) the models of those providers are reached there instead, and no others.
    """
    found: dict[str, Deployment] = {}
    for name, model in policy.models.items():
        host = host_of(model.provider_model)
        if simulator_urls is not None:
            provider = model.provider_model.split("/", 1)[0]
            if provider in simulator_urls:
                found[name] = Deployment(model, simulator_urls[provider], SIMULATED_KEY)
            continue
        key = key_of(model, env)
        base = model.api_base or host.api_base
        if base is not None and (key is not None or not host.needs_key or not host.key_names):
            found[name] = Deployment(model, base.rstrip("/"), key or "")
    return found


def has_any_key(policy: Policy, env: Mapping[str, str]) -> bool:
    """Whether any model of the policy can be reached for real: a key is set, or it names its own address."""
    return any(key_of(model, env) is not None or model.api_base is not None for model in policy.models.values())

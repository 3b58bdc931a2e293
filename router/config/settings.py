"""Flags and environment become one frozen value; no other module reads the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from router.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_PORT = 8080
PORT_MAX = 65_535
TRUE_WORDS = frozenset({"1", "true", "yes", "on"})
FALSE_WORDS = frozenset({"", "0", "false", "no", "off"})
LEDGER_SCHEMES = ("sqlite:///", "postgresql://", "postgres://", "memory://")


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that a process is told at its start. ``env`` holds provider keys and never prints."""

    host: str
    port: int
    policy_path: Path
    home: Path
    ledger_url: str
    admin_key: str | None = field(repr=False)
    must_simulate: bool
    simulator_seed: int
    log_level: str
    env: Mapping[str, str] = field(repr=False)


def shipped_policy(name: str) -> Path:
    """A policy that the project ships: beside the package in a checkout, inside it in a wheel."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "policies", package.parent / "policies"):
        path = folder / f"{name}.yaml"
        if path.is_file():
            return path
    raise ConfigError(f"the policy {name!r} is not among those that Tollgate ships")


def load_settings(
    env: Mapping[str, str] | None = None,
    *,
    host: str | None = None,
    port: int | None = None,
    policy: str | None = None,
    home: str | None = None,
    must_simulate: bool | None = None,
) -> Settings:
    """The settings of flags over environment over defaults. Raises ConfigError naming the variable at fault."""
    env = os.environ if env is None else env
    if env.get("REDIS_URL"):
        raise ConfigError("REDIS_URL: not available in this version: unset it, nothing would be kept there")
    home_path = Path(home or env.get("TOLLGATE_HOME") or ".tollgate")
    ledger_url = env.get("TOLLGATE_LEDGER_URL") or f"sqlite:///{(home_path / 'ledger.sqlite').absolute()}"
    if not ledger_url.startswith(LEDGER_SCHEMES):
        raise ConfigError("TOLLGATE_LEDGER_URL: must begin with sqlite:///, postgresql:// or memory://")
    policy_name = policy or env.get("TOLLGATE_POLICY")
    return Settings(
        host=host or env.get("TOLLGATE_HOST") or "127.0.0.1",
        port=port if port is not None else _port_of(env.get("TOLLGATE_PORT")),
        policy_path=Path(policy_name) if policy_name else shipped_policy("default"),
        home=home_path,
        ledger_url=ledger_url,
        admin_key=env.get("TOLLGATE_ADMIN_KEY") or None,
        must_simulate=_flag_of("TOLLGATE_SIMULATE", env) if must_simulate is None else must_simulate,
        simulator_seed=_seed_of(env.get("TOLLGATE_SIMULATOR_SEED")),
        log_level=(env.get("TOLLGATE_LOG_LEVEL") or "INFO").upper(),
        env=dict(env),
    )


def _port_of(text: str | None) -> int:
    if not text:
        return DEFAULT_PORT
    if not text.isdecimal() or int(text) > PORT_MAX:
        raise ConfigError(f"TOLLGATE_PORT: must be a number in 0..{PORT_MAX}")
    return int(text)


def _seed_of(text: str | None) -> int:
    if not text:
        return 1
    if not text.isdecimal():
        raise ConfigError("TOLLGATE_SIMULATOR_SEED: must be a whole number")
    return int(text)


def _flag_of(name: str, env: Mapping[str, str]) -> bool:
    text = env.get(name, "").lower()
    if text not in TRUE_WORDS | FALSE_WORDS:
        raise ConfigError(f"{name}: must be 1 or 0")
    return text in TRUE_WORDS

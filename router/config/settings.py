"""Flags and environment become one frozen value; no other module reads the environment."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from router.errors import ConfigError
from router.misspelt import meant

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_PORT = 8080
PORT_MAX = 65_535
WORKERS_MAX = 64
TRUE_WORDS = frozenset({"1", "true", "yes", "on"})
FALSE_WORDS = frozenset({"", "0", "false", "no", "off"})
LEDGER_SCHEMES = ("sqlite:///", "postgresql://", "postgres://", "memory://")
REDIS_SCHEMES = ("redis://", "rediss://")
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
HOST = re.compile(r"^[A-Za-z0-9.:_-]{1,253}$")
# So near that it can only be a slip; what an orchestrator sets for a service of this name is further away.
SLIP = 0.88
# Every variable of ours, with its default as a person would write it. docs/settings.md holds the same.
SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "TOLLGATE_HOST": "127.0.0.1",
        "TOLLGATE_PORT": str(DEFAULT_PORT),
        "TOLLGATE_POLICY": "default",
        "TOLLGATE_HOME": ".tollgate",
        "TOLLGATE_LEDGER_URL": "sqlite:///TOLLGATE_HOME/ledger.sqlite",
        "TOLLGATE_ADMIN_KEY": "",
        "TOLLGATE_SIMULATE": "0",
        "TOLLGATE_SIMULATOR_SEED": "1",
        "TOLLGATE_LOG_LEVEL": "INFO",
        "TOLLGATE_WORKERS": "1",
        "REDIS_URL": "",
    }
)


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
    redis_url: str | None = field(repr=False)
    env: Mapping[str, str] = field(repr=False)
    workers: int = 1


def shipped_policy(name: str) -> Path:
    """A policy that the project ships: beside the package in a checkout, inside it in a wheel. Raises ConfigError."""
    package = Path(__file__).resolve().parent.parent
    names: set[str] = set()
    for folder in (package / "policies", package.parent / "policies"):
        path = folder / f"{name}.yaml"
        if path.is_file():
            return path
        names |= {each.stem for each in folder.glob("*.yaml")}
    raise ConfigError(f"{name}: no such file, and none of the policies that Tollgate ships: {', '.join(sorted(names))}")


def load_settings(
    env: Mapping[str, str] | None = None,
    *,
    host: str | None = None,
    port: int | None = None,
    policy: str | None = None,
    home: str | None = None,
    must_simulate: bool | None = None,
    workers: int | None = None,
) -> Settings:
    """The settings of flags over environment over defaults. Raises ConfigError naming the variable at fault."""
    env = os.environ if env is None else env
    _refuse_slips(env)
    home_path = Path(home or env.get("TOLLGATE_HOME") or ".tollgate")
    ledger_url = env.get("TOLLGATE_LEDGER_URL") or f"sqlite:///{(home_path / 'ledger.sqlite').absolute()}"
    if not ledger_url.startswith(LEDGER_SCHEMES):
        raise ConfigError("TOLLGATE_LEDGER_URL: must begin with sqlite:///, postgresql:// or memory://")
    return Settings(
        host=_host_of(host or env.get("TOLLGATE_HOST") or "127.0.0.1"),
        port=port if port is not None else _port_of(env.get("TOLLGATE_PORT")),
        policy_path=policy_path_of(policy or env.get("TOLLGATE_POLICY") or "default"),
        home=home_path,
        ledger_url=ledger_url,
        admin_key=env.get("TOLLGATE_ADMIN_KEY", "").strip() or None,
        must_simulate=_flag_of("TOLLGATE_SIMULATE", env) if must_simulate is None else must_simulate,
        simulator_seed=_seed_of(env.get("TOLLGATE_SIMULATOR_SEED")),
        log_level=_level_of(env.get("TOLLGATE_LOG_LEVEL")),
        redis_url=_redis_of(env.get("REDIS_URL")),
        env=dict(env),
        workers=_workers_of(env.get("TOLLGATE_WORKERS")) if workers is None else workers,
    )


def policy_path_of(name: str) -> Path:
    """The file of that name, or the shipped policy that a bare word such as ``strict`` names."""
    path = Path(name)
    if not path.exists() and re.fullmatch(r"[a-z]+", name):
        return shipped_policy(name)
    return path


def _refuse_slips(env: Mapping[str, str]) -> None:
    for name in sorted(env):
        hint = meant(name, SETTINGS, SLIP) if name.startswith("TOLLGATE") and name not in SETTINGS else ""
        if hint:
            raise ConfigError(f"{name}: unknown setting{hint}")


def _host_of(text: str) -> str:
    if not HOST.match(text):
        raise ConfigError("TOLLGATE_HOST: must be an address such as 127.0.0.1, ::1 or 0.0.0.0, without a port")
    return text


def _redis_of(text: str | None) -> str | None:
    if text and not text.startswith(REDIS_SCHEMES):
        raise ConfigError("REDIS_URL: must begin with redis:// or rediss://")
    return text or None


def _level_of(text: str | None) -> str:
    level = (text or "INFO").upper()
    if level not in LOG_LEVELS:
        raise ConfigError(f"TOLLGATE_LOG_LEVEL: must be one of {', '.join(LOG_LEVELS)}")
    return level


def _port_of(text: str | None) -> int:
    if not text:
        return DEFAULT_PORT
    if text.startswith("tcp://"):
        raise ConfigError(
            "TOLLGATE_PORT: an orchestrator set it to a service's address: "
            "name the service differently, or set enableServiceLinks to false"
        )
    if not (text.isascii() and text.isdecimal()) or int(text[:10]) > PORT_MAX:
        raise ConfigError(f"TOLLGATE_PORT: must be a whole number in 0..{PORT_MAX}")
    return int(text)


def _workers_of(text: str | None) -> int:
    if not text:
        return 1
    if not (text.isascii() and text.isdecimal()) or not 1 <= int(text[:10]) <= WORKERS_MAX:
        raise ConfigError(f"TOLLGATE_WORKERS: must be a whole number in 1..{WORKERS_MAX}")
    return int(text)


def _seed_of(text: str | None) -> int:
    if not text:
        return 1
    if not (text.isascii() and text.isdecimal() and len(text) < 19):  # noqa: PLR2004  # it fits 64 bits
        raise ConfigError("TOLLGATE_SIMULATOR_SEED: must be a whole number of at most 18 digits")
    return int(text)


def _flag_of(name: str, env: Mapping[str, str]) -> bool:
    text = env.get(name, "").lower()
    if text not in TRUE_WORDS | FALSE_WORDS:
        raise ConfigError(f"{name}: must be 1 or 0")
    return text in TRUE_WORDS

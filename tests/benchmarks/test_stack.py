from __future__ import annotations

import json
import platform
from datetime import date
from typing import TYPE_CHECKING

from benchmarks import record
from benchmarks.stack import DEFAULT_POLICY, VENDOR_KEYS, clean_environment, simulated_policy
from router.config.hosts import deployments_of
from router.config.load import load_policy
from router.config.prices import load_catalog
from router.simulator import SimulatorUrls

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

URLS = SimulatorUrls("http://127.0.0.1:1", "http://127.0.0.1:2", "http://127.0.0.1:3/v1")
TODAY = date(2026, 11, 25)


def test_the_shipped_policy_is_pointed_at_the_simulator_and_nothing_else_changes(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(simulated_policy(URLS, limits={"lease_s": 5}, upstream={"retries_max": 1}))
    policy, shipped = load_policy(path, load_catalog(), TODAY), load_policy(DEFAULT_POLICY, load_catalog(), TODAY)
    bases = {model.provider_model.split("/")[0]: model.api_base for model in policy.models.values()}
    assert bases == {
        "anthropic": "http://127.0.0.1:1",
        "gemini": "http://127.0.0.1:2",
        "deepinfra": "http://127.0.0.1:3/deepinfra/v1",
    }
    assert (policy.limits.lease_s, policy.upstream.retries_max) == (5, 1)
    assert list(policy.quality_tiers.items()) == list(shipped.quality_tiers.items())
    assert {name: model.prices for name, model in policy.models.items()} == {
        name: model.prices for name, model in shipped.models.items()
    }
    assert set(deployments_of(policy, VENDOR_KEYS, None)) == set(shipped.models)


def test_settings_of_this_shell_do_not_reach_the_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOLLGATE_POLICY", "/elsewhere.yaml")
    monkeypatch.setenv("REDIS_URL", "redis://elsewhere")
    found = clean_environment(TOLLGATE_LEDGER_URL="sqlite:///x")
    assert "TOLLGATE_POLICY" not in found
    assert "REDIS_URL" not in found
    assert found["TOLLGATE_LEDGER_URL"] == "sqlite:///x"


def test_a_result_says_what_it_was_measured_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "RESULTS", tmp_path / "results")
    path = record.write_result("one", ["one", "--requests", "5"], {"figure": 1})
    found = json.loads(path.read_text())
    assert found["command"] == "python -m benchmarks one --requests 5"
    assert found["machine"]["python"] == platform.python_version()
    assert found["machine"]["cores"] >= 1
    assert set(found["revision"]) == {"commit", "changed"}
    assert found["figure"] == 1

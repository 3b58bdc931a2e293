from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from datetime import date
from typing import TYPE_CHECKING

import pytest

from router.cli.simulate import banner_of, run
from router.config.load import load_policy
from router.config.prices import load_catalog
from router.errors import ConfigError
from router.simulator import FAULTS, SimulatorUrls

if TYPE_CHECKING:
    from pathlib import Path

URLS = SimulatorUrls("http://127.0.0.1:1", "http://127.0.0.1:2", "http://127.0.0.1:3/v1")
POLICY = """
version: 1
name: pasted
models:
  opus: {{provider_model: anthropic/claude-opus-5-5, vendor: anthropic, tier: premium, api_base: "{anthropic}"}}
  flash: {{provider_model: gemini/gemini-3.8-flash, vendor: google, tier: standard, api_base: "{gemini}"}}
routing: {{premium: opus, quality_tiers: {{premium: 0.0}}, default_tier: premium}}
"""


def test_the_banner_says_how_to_point_a_policy_at_it(tmp_path: Path) -> None:
    banner = banner_of(URLS)
    bases = dict(re.findall(r"(\w+)/\.\.\.\s+api_base: (\S+)", banner))
    assert bases == {
        "anthropic": "http://127.0.0.1:1",
        "gemini": "http://127.0.0.1:2",
        "deepinfra": "http://127.0.0.1:3/deepinfra/v1",
    }
    assert all(fault in banner for fault in FAULTS)
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY.format(**bases))
    policy = load_policy(path, load_catalog(), date(2026, 11, 25))
    assert policy.models["flash"].api_base == "http://127.0.0.1:2"


def test_a_taken_port_says_which_flag_helps() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigError, match="--port-base"):
            run(host="127.0.0.1", seed=1, speed=0, port_base=min(taken.getsockname()[1], 65_533))
    with pytest.raises(ConfigError, match=r"0\.\.65533"):
        run(host="127.0.0.1", seed=1, speed=0, port_base=70_000)


def test_the_command_serves_until_it_is_told_to_stop() -> None:
    command = [sys.executable, "-m", "router.cli", "simulate", "--port-base", "0", "--speed", "0"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    assert child.stdout is not None
    try:
        said = ""
        while "summary" not in said:
            line = child.stdout.readline().decode()
            assert line, said
            said += line
        found = re.search(r"summary\s+curl (\S+)", said)
        assert found is not None
        with urllib.request.urlopen(found.group(1)) as answer:
            assert b'"billed":0' in answer.read()
        child.send_signal(signal.SIGTERM)
        assert child.wait(20) == 0
    finally:
        child.kill()
        child.wait()
        child.stdout.close()

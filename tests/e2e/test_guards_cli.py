"""``tollgate guards`` against a running gateway."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import openai
import pytest

from tests.e2e.test_guards import PAGE, ask, client_of, slow_down

if TYPE_CHECKING:
    from benchmarks.stack import GatewayProcess


def test_an_operator_lists_releases_and_exempts(gateway: GatewayProcess) -> None:
    url = ("--url", gateway.url)
    with client_of(gateway) as client:
        slow_down(client)
        with pytest.raises(openai.UnprocessableEntityError):
            ask(client, PAGE)
        listed = gateway.plain("guards", "list", *url, "--json")
        (scope,) = [each for each in json.loads(listed.stdout)["scopes"] if each["state"] == "stopped"]
        table = gateway.plain("guards", "list", *url).stdout.decode()
        assert scope["scope_id"] in table
        assert "exact_repeat" in table
        assert gateway.plain("guards", "release", scope["scope_id"], *url).returncode == 0
        assert ask(client, PAGE).status_code == 200
        exempt = gateway.plain("guards", "exempt", scope["scope_id"], "--for", "1h", *url)
        assert exempt.stdout.decode().startswith(f"{scope['scope_id']} is exempt until ")
        for _ in range(10):
            assert ask(client, PAGE).headers["x-router-model"] == "claude-opus"
    assert gateway.command("ledger", "verify").returncode == 0
    gone = gateway.plain("guards", "release", "lineage-0123456789abcdef", *url)
    assert gone.returncode == 2
    assert b"no guard knows of" in gone.stderr
    assert gateway.plain("guards", "exempt", scope["scope_id"], "--for", "soon", *url).returncode == 2
    away = gateway.plain("guards", "list", "--url", "http://127.0.0.1:9")
    assert away.returncode == 3
    assert b"no gateway answers there" in away.stderr

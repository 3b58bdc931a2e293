"""What the gateway says of itself when it starts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from router.config.settings import load_settings
from router.wiring import banner_of
from tests.router.server.fakes import POLICY


def banner(*, needs_key: bool = False, **env: str) -> str:
    settings = load_settings(home="/srv/tollgate", env=env)
    ready: Any = SimpleNamespace(gateway=SimpleNamespace(policy=POLICY), is_simulated=True, needs_key=needs_key)
    return banner_of(settings, ready, 8080)


def line_of(text: str, name: str) -> str:
    (found,) = [line.split(maxsplit=1)[1] for line in text.splitlines() if line.split()[:1] == [name]]
    return found


@pytest.mark.parametrize(
    ("url", "told"),
    [
        (None, "/srv/tollgate/ledger.sqlite"),
        ("sqlite:////data/books.sqlite", "/data/books.sqlite"),
        ("postgresql://tollgate:s3cret@db.internal:5432/books?sslmode=require", "postgresql://db.internal/books"),
        ("memory://", "in memory: it ends with this process"),
    ],
)
def test_the_banner_says_where_the_ledger_lies_and_no_secret(url: str | None, told: str) -> None:
    text = banner(**({} if url is None else {"TOLLGATE_LEDGER_URL": url}))
    assert line_of(text, "ledger") == told
    assert "s3cret" not in text


def test_the_banner_says_whether_keys_are_in_force() -> None:
    assert line_of(banner(needs_key=True), "keys") == "in force"
    assert "Bearer YOUR_KEY" in banner(needs_key=True)
    assert line_of(banner(), "keys").startswith("none: ")
    assert "Bearer" not in banner()

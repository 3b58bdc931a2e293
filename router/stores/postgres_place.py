"""What a PostgreSQL that cannot be reached is called: by its setting and its place, and never by a credential."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, unquote, urlsplit

DEFAULT_PORT = "5432"
SETTING = "TOLLGATE_LEDGER_URL"
# What a host, a socket's folder and a database are usually called; anything else may be part of a password.
PLAIN = re.compile(r"[A-Za-z0-9._:/,~\[\] -]*")


def place_of(url: str) -> str | None:
    """``HOST:PORT/DATABASE`` of the URL; None where a user or a password in it is not percent-encoded.

    Then any part of it may be a piece of the password. Of the query only ``host``, ``port`` and ``dbname`` are read.
    """
    try:
        parts = urlsplit(url)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    except ValueError:
        return None
    if "@" in parts.path + parts.query + parts.fragment:
        return None
    hosts = unquote(parts.netloc.rpartition("@")[2]) or query.get("host", "") or "localhost"
    port = query.get("port", DEFAULT_PORT)
    # Several hosts are separated by commas, and a socket's folder has no port.
    places = [
        each if each.startswith("/") or re.search(r":\d+$", each) else f"{each}:{port}" for each in hosts.split(",")
    ]
    database = unquote(parts.path.lstrip("/")) or query.get("dbname", "") or query.get("database", "")
    found = ",".join(places) + (f"/{database}" if database else "")
    return found if PLAIN.fullmatch(found) else None


def unreachable(url: str, error: BaseException) -> str:
    """What is said of it: the setting, the place and the kind of the error; a driver's own text may quote the URL."""
    place = place_of(url)
    if place is None:
        return (
            f"{SETTING}: PostgreSQL cannot be reached: {type(error).__name__};"
            " is every character of user and password percent-encoded?"
        )
    return f"{SETTING}: PostgreSQL at {place} cannot be reached: {type(error).__name__}"

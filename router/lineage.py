"""Tickets: what a call hands to the calls that descend from it, so that depth and descendants cannot be reset.

A ticket says of which lineage a call was, at which depth, and when. It is sealed with a key derived from the
installation's salt and bound to its owner, the team or else the key: one that was made elsewhere, cut, changed, or
handed to another team opens to nothing, as if none had been sent. Showing a ticket twice is what siblings do.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import struct
from dataclasses import dataclass
from functools import lru_cache

VERSION = "t1"
LAYOUT = struct.Struct(">QQHI")
SEAL_BYTES = 16
PERSON = b"tollgatelineage1"
# A header above this is no ticket: it is not decoded, let alone checked.
TICKET_CHARS_MAX = 96
LIFE_S = 7 * 86_400
# Clocks of replicas may differ by so much.
SKEW_S = 600
DEPTH_MAX = 65_535


@dataclass(frozen=True, slots=True)
class Ticket:
    """A call's place: the lineage's ``root``, its own ``node``, its ``depth`` (0 = root), when it was handed out."""

    root: int
    node: int
    depth: int
    issued_s: int


def seal(ticket: Ticket, owner: str, salt: bytes) -> str:
    """The ticket as a header's text, 72 characters."""
    body = LAYOUT.pack(ticket.root, ticket.node, min(ticket.depth, DEPTH_MAX), ticket.issued_s)
    return f"{VERSION}.{_text(body)}.{_text(_mac(body, owner, salt))}"


def opened(text: str | None, owner: str, salt: bytes, now_ms: int) -> Ticket | None:
    """The ticket; None for what is none, not ours, not the owner's, or older than seven days."""
    if text is None or len(text) > TICKET_CHARS_MAX or not text.isascii():
        return None
    version, _, rest = text.partition(".")
    body_text, _, mac_text = rest.partition(".")
    if version != VERSION:
        return None
    body, mac = _bytes(body_text), _bytes(mac_text)
    if body is None or mac is None or len(body) != LAYOUT.size:
        return None
    if not hmac.compare_digest(mac, _mac(body, owner, salt)):
        return None
    ticket = Ticket(*LAYOUT.unpack(body))
    age_s = now_ms // 1000 - ticket.issued_s
    return ticket if -SKEW_S <= age_s <= LIFE_S else None


@lru_cache(maxsize=8)
def _key_of(salt: bytes) -> bytes:
    return hashlib.blake2b(key=salt[:64], digest_size=32, person=PERSON).digest()


def _mac(body: bytes, owner: str, salt: bytes) -> bytes:
    state = hashlib.blake2b(key=_key_of(salt), digest_size=SEAL_BYTES)
    state.update(body)
    state.update(owner.encode("utf-8", "replace"))
    return state.digest()


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes | None:
    """The bytes of exactly this text; None for any other spelling of them, so that a ticket has one form."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if _text(data) == text else None

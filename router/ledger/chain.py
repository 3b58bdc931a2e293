"""The chain that binds the lines: each carries the hash of the one that its writer wrote before it.

Every writer has a chain of its own, so several replicas write to one database without waiting for each other. A
changed, removed, inserted or moved line breaks its chain at that place; a cut-off end shows against the chain's
recorded head.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import NamedTuple


class StoredLine(NamedTuple):
    """A line as it lies in the store. ``payload`` is its JSON, ``position`` counts from 1 within the writer's chain.

    ``seq`` is the store's own order over all writers; it is not part of the hash.
    """

    seq: int
    writer_id: str
    position: int
    kind: str
    decision_id: str
    attempt: int
    line_key: str
    time_ms: int
    payload: bytes
    prev_hash: bytes
    hash: bytes


class Finding(NamedTuple):
    """Something in the ledger that does not add up: a stable code, where, and in words."""

    code: str
    message: str
    seq: int | None = None
    decision_id: str | None = None


class Head(NamedTuple):
    """Where a writer's chain ends: the position and hash of its last line."""

    position: int
    hash: bytes


def genesis_of(writer_id: str) -> bytes:
    """What the first line of a writer's chain is linked to."""
    return hashlib.sha256(b"tollgate ledger chain 1\n" + writer_id.encode()).digest()


def start_of(writer_id: str) -> Head:
    """The head of a chain without lines."""
    return Head(0, genesis_of(writer_id))


def link_hash(
    prev_hash: bytes,
    *,
    writer_id: str,
    position: int,
    kind: str,
    decision_id: str,
    attempt: int,
    line_key: str,
    time_ms: int,
    payload: bytes,
) -> bytes:
    """sha256 over the previous hash, every column and the payload; lengths stand before texts that could run over."""
    head = (
        f"{len(writer_id)}:{writer_id}\n{position}\n{kind}\n{len(decision_id)}:{decision_id}\n"
        f"{attempt}\n{len(line_key)}:{line_key}\n{time_ms}\n{len(payload)}\n"
    )
    digest = hashlib.sha256(prev_hash)
    digest.update(head.encode())
    digest.update(payload)
    return digest.digest()


def hash_of(line: StoredLine) -> bytes:
    """The hash that the stored line should carry."""
    return link_hash(
        line.prev_hash,
        writer_id=line.writer_id,
        position=line.position,
        kind=line.kind,
        decision_id=line.decision_id,
        attempt=line.attempt,
        line_key=line.line_key,
        time_ms=line.time_ms,
        payload=line.payload,
    )


@dataclass(slots=True)
class ChainCheck:
    """Follows every writer's chain through lines given in the store's order."""

    heads: dict[str, Head] = field(default_factory=dict)
    lines: int = 0

    def check(self, line: StoredLine) -> list[Finding]:
        """What is wrong with this line and with its link to the one before."""
        self.lines += 1
        found: list[Finding] = []
        head = self.heads.get(line.writer_id) or start_of(line.writer_id)
        where = f"line {line.seq} of decision {line.decision_id} (writer {line.writer_id}, position {line.position})"
        if hash_of(line) != line.hash:
            found.append(Finding("hash_mismatch", f"{where} was changed", line.seq, line.decision_id))
        if line.position != head.position + 1:
            message = f"{where} should be at position {head.position + 1}: lines are missing, added or moved"
            found.append(Finding("chain_gap", message, line.seq, line.decision_id))
        elif line.prev_hash != head.hash:
            message = f"{where} is not linked to the line before it"
            found.append(Finding("chain_broken", message, line.seq, line.decision_id))
        self.heads[line.writer_id] = Head(line.position, line.hash)
        return found

    def check_heads(self, recorded: dict[str, Head]) -> list[Finding]:
        """Whether each chain ends where its writer says it does."""
        found: list[Finding] = []
        for writer_id in sorted(recorded.keys() | self.heads.keys()):
            kept = recorded.get(writer_id) or start_of(writer_id)
            seen = self.heads.get(writer_id) or start_of(writer_id)
            if kept != seen:
                message = f"the chain of writer {writer_id} ends at {seen.position}, recorded is {kept.position}"
                found.append(Finding("chain_end", message))
        return found

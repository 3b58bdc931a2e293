"""Whose request it is: the part of every ledger line that names owner, session and decision, without any content."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from router.ledger import Subject
from router.prompt import encode_text, question_index_of, text_of

if TYPE_CHECKING:
    from router.chat import Message, Request, Surface
    from router.decision import Decision
    from router.policy import Caller, Policy, Terms

HASH_BYTES = 16


def salted_hash(salt: bytes, *parts: bytes) -> str:
    """A keyed BLAKE2b over the parts with their lengths: equal text gives equal hashes in this installation only."""
    digest = hashlib.blake2b(key=salt[:64], digest_size=HASH_BYTES)
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()


def question_of(messages: tuple[Message, ...]) -> bytes:
    """The newest turn that a user wrote."""
    index = question_index_of(messages)
    return encode_text(text_of(messages[index].parts)) if index is not None else b""


def inferred_session_of(request: Request, caller: Caller, salt: bytes) -> str:
    """A session id from content where the client sent none: who asks, the system prompt and the first user turn."""
    system = next((each for each in request.messages if each.role == "system"), None)
    first = next((each for each in request.messages if each.role == "user"), None)
    parts = [encode_text(text_of(each.parts)) if each is not None else b"" for each in (system, first)]
    return "inferred-" + salted_hash(salt, encode_text(caller.key_id or ""), *parts)


def subject_of(
    request: Request, caller: Caller, terms: Terms, decision: Decision, salt: bytes, lineage_id: str | None = None
) -> Subject:
    """The subject of a decided request."""
    return Subject(
        decision_id=decision.decision_id,
        surface=request.surface,
        is_streamed=request.is_streamed,
        team=caller.team,
        project=caller.project,
        key_id=caller.key_id,
        session_id=terms.session_id or inferred_session_of(request, caller, salt),
        tags={**caller.tags, **terms.tags},
        idempotency_key=terms.idempotency_key,
        quality_tier=decision.quality_tier,
        tolerance=decision.tolerance,
        arm="pinned" if decision.is_pinned else "routed",
        reason=decision.reason,
        premium=decision.premium,
        complexity=decision.complexity,
        expected_loss=decision.expected_loss,
        policy_revision=decision.policy_revision,
        price_revision=decision.price_revision,
        quality_revision=decision.quality_revision,
        prompt_hash=salted_hash(salt, question_of(request.messages)),
        promise=decision.promise,
        lineage_id=lineage_id,
    )


def refused_subject_of(
    decision_id: str, surface: Surface, caller: Caller, terms: Terms, policy: Policy, quality_revision: str
) -> Subject:
    """The subject of a request that was refused before it could be decided."""
    return Subject(
        decision_id=decision_id,
        surface=surface,
        is_streamed=False,
        team=caller.team,
        project=caller.project,
        key_id=caller.key_id,
        session_id=terms.session_id,
        tags={**caller.tags, **terms.tags},
        idempotency_key=terms.idempotency_key,
        quality_tier=terms.quality_tier if terms.quality_tier in policy.quality_tiers else None,
        tolerance=terms.tolerance,
        arm="routed",
        reason="refused",
        premium=policy.premium,
        complexity=None,
        expected_loss=None,
        policy_revision=policy.revision,
        price_revision=policy.price_revision,
        quality_revision=quality_revision,
        prompt_hash="",
    )

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from router.chat import Message, Text, ToolResult
from router.decide import decide
from router.policy import Caller, Terms
from router.subject import inferred_session_of, question_of, refused_subject_of, salted_hash, subject_of
from tests.builders import model_of, policy_of, request_of
from tests.router.scripted import ScriptedQuality

POLICY = policy_of(model_of("opus"), model_of("haiku"))
QUALITY = ScriptedQuality({"anthropic/opus": 0.0, "anthropic/haiku": 0.01})
ALICE, BOB = Caller(key_id="a", team="search", project="web", tags={"env": "prod"}), Caller(key_id="b")
SECRET = "the-merger-is-on-friday"
FIRST = (Message("system", (Text("Be brief."),)), Message("user", (Text("hello"),)))
LATER = (*FIRST, Message("assistant", (Text("hi"),)), Message("user", (Text("go on"),)))


def session(messages: Any, caller: Caller = ALICE, salt: bytes = b"salt") -> str:
    return inferred_session_of(request_of(messages=messages), caller, salt)


def test_a_conversation_keeps_its_inferred_session_as_it_grows() -> None:
    assert session(FIRST) == session(LATER)
    assert session(FIRST).startswith("inferred-")


def test_sessions_differ_by_who_asks_by_system_prompt_by_first_words_and_by_installation() -> None:
    others = (
        session(FIRST, BOB),
        session(FIRST, Caller()),
        session(FIRST, salt=b"other"),
        session((Message("system", (Text("Be long."),)), FIRST[1])),
        session((FIRST[0], Message("user", (Text("hello!"),)))),
        session((FIRST[1],)),
        session(()),
    )
    assert len({session(FIRST), *others}) == len(others) + 1


def test_parts_are_hashed_with_their_lengths() -> None:
    assert salted_hash(b"s", b"ab", b"c") != salted_hash(b"s", b"a", b"bc")
    assert salted_hash(b"s", b"ab") != salted_hash(b"t", b"ab")
    assert salted_hash(b"x" * 64 + b"1", b"ab") == salted_hash(b"x" * 64 + b"2", b"ab"), "BLAKE2b takes 64 bytes of key"


def test_the_question_is_the_newest_words_of_a_user() -> None:
    assert question_of(LATER) == b"go on"
    assert question_of((*LATER, Message("tool", (ToolResult("c", (Text("data"),)),)))) == b"go on"
    assert question_of(()) == b""


def test_a_decided_subject_names_owner_terms_and_decision_without_content() -> None:
    request = request_of(text=SECRET, is_streamed=True)
    terms = Terms(quality_tier="economy", session_id="s1", tags={"env": "test", "app": "x"}, idempotency_key="k-hash")
    decision = decide(request, ALICE, terms, POLICY, QUALITY, decision_id="dec_1")
    subject = subject_of(request, ALICE, terms, decision, b"salt")
    assert (subject.team, subject.project, subject.key_id) == ("search", "web", "a")
    assert subject.tags == {"env": "test", "app": "x"}
    assert (subject.session_id, subject.idempotency_key, subject.is_streamed) == ("s1", "k-hash", True)
    assert (subject.quality_tier, subject.tolerance, subject.arm, subject.premium) == (
        "economy",
        0.15,
        "routed",
        "opus",
    )
    assert (subject.reason, subject.expected_loss) == (decision.reason, decision.expected_loss)
    assert SECRET not in repr(asdict(subject))
    assert subject.prompt_hash == salted_hash(b"salt", SECRET.encode())


def test_a_pinned_request_is_an_arm_of_its_own() -> None:
    request = request_of(model="haiku")
    decision = decide(request, BOB, Terms(), POLICY, QUALITY, decision_id="dec_1")
    assert subject_of(request, BOB, Terms(), decision, b"s").arm == "pinned"


def test_a_refused_subject_keeps_what_is_known_and_only_known_tiers() -> None:
    def refused(**terms: Any) -> Any:
        return refused_subject_of("dec_2", "openai_chat", ALICE, Terms(**terms), POLICY, "q")

    known = refused(quality_tier="high", session_id="s", tags={"app": "x"})
    assert (known.quality_tier, known.reason, known.arm) == ("high", "refused", "routed")
    assert (known.tags, known.session_id) == ({"env": "prod", "app": "x"}, "s")
    assert (known.complexity, known.expected_loss, known.prompt_hash) == (None, None, "")
    assert refused(quality_tier=SECRET).quality_tier is None
    assert refused(tolerance=0.3).tolerance == 0.3

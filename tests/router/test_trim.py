"""What goes of an input that is too long, what stays, and what is said of it."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.leak_agents import prose
from router.chat import Image, Message, Request, Text, ToolCall, ToolResult
from router.decide import decide
from router.errors import ContextLengthExceededError
from router.policy import Caller, ContextBound, Policy, Terms, Upstream
from router.ports import Call, Deployment
from router.prompt import sizes_of
from router.providers.openai_body import body_of
from router.receipt import choice_of_receipt, receipt_of
from router.trim import cut_out, cuts_of, query_of, relevance, tokens_of, trim_of
from tests.builders import model_of, policy_of
from tests.router.scripted import CHEAP, DEAR, NOBODY, ScriptedQuality, Stage, leap, reply_of

MODEL = model_of("premium")
LAX = Terms(tolerance=0.05)
NEEDLE = "The harbour pilot Ingrid Solheim signed the permit for the northern crane in March."
QUESTION = "Who signed the permit for the northern crane?"


def document(number: int, text: str) -> str:
    return f'<document id="{number}">{text}</document>'


def stuffed(count: int = 12, *, needle_at: int = 5, seed: int = 1) -> str:
    chance = random.Random(seed)
    texts = [NEEDLE if number == needle_at else prose(chance, 60) for number in range(count)]
    return "\n".join([*(document(number, text) for number, text in enumerate(texts)), QUESTION])


def request_of(*messages: Message) -> Request:
    return Request("openai_chat", "auto", messages, {}, body_bytes=100_000)


def asked(text: str) -> Request:
    return request_of(Message("system", (Text("Answer briefly."),)), Message("user", (Text(text),)))


def trimmed(request: Request, most: int) -> tuple[Any, Request]:
    sizes = sizes_of(request)
    trim = trim_of(request, MODEL, sizes, tokens_of(MODEL, sizes), ContextBound(most, "trim"))
    return trim, cut_out(request, trim.cuts)


def text_of(request: Request) -> str:
    return "\n".join(part.text for message in request.messages for part in message.parts if isinstance(part, Text))


def test_the_least_relevant_go_first_and_what_answers_the_question_stays() -> None:
    request = asked(stuffed())
    trim, left = trimmed(request, 400)
    assert trim.input_tokens <= 400 < trim.input_tokens_before
    assert trim.chunks == 12
    assert 0 < len(trim.cuts) < 12
    assert trim.counts() == {"least_relevant": len(trim.cuts)}
    assert NEEDLE in text_of(left)
    assert text_of(left).endswith(QUESTION)


def test_repeats_go_before_anything_else_and_the_first_of_them_stays() -> None:
    again = document(0, prose(random.Random(9), 60))
    text = "\n".join([again, document(1, prose(random.Random(2), 60)), again.replace(" ", "  "), again, QUESTION])
    trim, left = trimmed(asked(text), 330)
    assert trim.counts() == {"repeated": 2}
    assert text_of(left).count("</document>") == 2
    assert text_of(left).index(again) < text_of(left).index('id="1"')


def test_a_repeat_of_an_earlier_turn_goes_too() -> None:
    shared = document(0, prose(random.Random(3), 80))
    first = Message("user", (Text(f"{shared}\nWhat is it about?"),))
    later = Message("user", (Text(f"{shared}\nAnd who wrote it?"),))
    trim, left = trimmed(request_of(first, Message("assistant", (Text("Harbours."),)), later), 300)
    assert [(cut.message, cut.why) for cut in trim.cuts] == [(2, "repeated")]
    assert left.messages[2].parts == (Text("And who wrote it?"),)


def test_what_was_written_around_the_chunks_and_other_roles_never_change() -> None:
    call = Message("assistant", (Text("Looking."), ToolCall("c1", "find", "{}")))
    result = Message("tool", (ToolResult("c1", (Text(stuffed(seed=4)),)),))
    system = Message("system", (Text(stuffed(seed=5)),))
    user = Message("user", (Text("See:"), Text(stuffed(seed=6)), Image(url="https://x.y/z.png")))
    trim, left = trimmed(request_of(system, user, call, result), 10)
    assert left.messages[0] == system
    assert left.messages[2:] == (call, result)
    assert left.messages[1].parts[0] == Text("See:")
    assert left.messages[1].parts[2] == user.parts[2]
    assert {cut.message for cut in trim.cuts} == {1}
    assert len(trim.cuts) == 12
    assert trim.input_tokens > 10


def test_nothing_is_ranked_without_a_question() -> None:
    texts = "\n".join(document(number, prose(random.Random(number), 40)) for number in range(6))
    cuts, chunks = cuts_of(request_of(Message("user", (Text(texts),))), lambda _: False)
    assert chunks == 5
    assert len(cuts) == 5, "the last document is taken for the question"


def scores_of(question: str, texts: list[str]) -> list[float]:
    return relevance(query_of((Message("user", (Text(question),)),), []), texts)


def test_relevance_is_of_words_rare_ones_first_and_of_pairs_in_scripts_without_spaces() -> None:
    scores = scores_of("the crane permit", ["the port", "the permit", "the crane and its permit", "the crew", "none"])
    assert scores[2] > scores[1] > scores[0] > scores[4] == 0
    scores = scores_of("起重机的许可证是谁签署的", ["天气预报说明天下雨" * 6, "港口的起重机许可证由船长签署" * 4])
    assert scores[1] > scores[0]


def test_a_follow_up_is_compared_with_what_was_said_before_too() -> None:
    turns = (("user", "Tell me of the crane."), ("assistant", "It is in the harbour."), ("user", "Who runs it?"))
    messages = [Message(role, (Text(text),)) for role, text in turns]  # type: ignore[arg-type]
    query = query_of(messages, [])
    assert query[b"who"] == query[b"it"] == 1.0
    assert 1.0 > query[b"crane"] > query[b"harbour"] > 0
    scores = relevance(query, ["The ferry leaves at noon.", "The crane is old.", "Who runs the ferry? The captain."])
    assert scores[2] > scores[1] > scores[0]
    assert query_of([Message("assistant", (Text("Hello."),))], []) == {}


@given(st.integers(1, 20), st.integers(20, 3_000), st.integers(0, 10**6))
def test_a_trim_fits_or_took_all_that_may_go_and_is_the_same_again(count: int, most: int, seed: int) -> None:
    request = asked(stuffed(count, needle_at=0, seed=seed))
    trim, left = trimmed(request, most)
    assert trim.input_tokens == tokens_of(MODEL, sizes_of(left))
    assert trim.input_tokens <= most or len(trim.cuts) == trim.chunks
    assert trimmed(request, most)[0] == trim
    again, _ = trimmed(left, most)
    assert trim.input_tokens > most or again.cuts == (), "what fits is left alone"
    assert left.body_bytes >= 0
    for message in left.messages:
        assert message.parts


def test_a_body_that_passes_through_says_what_the_messages_say() -> None:
    parts = [{"type": "text", "text": word} for word in ("Look:", "a story", "a story", "Which is sad?")]
    image = {"type": "image_url", "image_url": {"url": "https://x.y/z.png"}}
    body: dict[str, object] = {
        "model": "auto",
        "messages": [
            {"role": "system", "content": "Short."},
            {"role": "user", "content": [*parts[:3], image, parts[3]], "name": "ann"},
            {"role": "user", "content": f"{document(1, 'x')} and {document(2, 'x')} then?"},
        ],
    }
    texts = (Text("Look:"), Text("a story"), Text("a story"), Image(url="https://x.y/z.png"), Text("Which is sad?"))
    whole = Text(f"{document(1, 'x')} and {document(2, 'x')} then?")
    messages = (Message("system", (Text("Short."),)), Message("user", texts), Message("user", (whole,)))
    request = replace(request_of(*messages), body=body)
    cuts, _ = cuts_of(request, lambda gone: gone > 30)
    left = cut_out(request, cuts)
    call = Call(left, Deployment(MODEL, "https://x.y", "k"), "dec_1-1", 100, Upstream())
    sent: Any = body_of(call, is_streamed=False)["messages"]
    assert sent[0] == {"role": "system", "content": "Short."}
    assert sent[1] == {"role": "user", "content": [parts[0], parts[1], image, parts[3]], "name": "ann"}
    assert sent[2] == {"role": "user", "content": f"{document(1, 'x')} and then?"} or len(cuts) == 2
    assert body["messages"] != sent, "the caller's own body is left as it was"


def policy(most: int, when: Any = "trim") -> Policy:
    return policy_of(
        model_of(CHEAP, tier="economy"), model_of(DEAR, output_usd="6", tier="premium"), premium=DEAR,
        context=ContextBound(most, when),
    )  # fmt: skip


def decided(request: Request, policy: Policy) -> Any:
    quality: Any = ScriptedQuality({f"anthropic/{CHEAP}": 0.01, f"anthropic/{DEAR}": 0.0})
    return decide(request, Caller(), LAX, policy, quality, decision_id="dec_1")


def test_everything_is_decided_for_what_is_left_and_the_receipt_says_what_went() -> None:
    decision = decided(asked(stuffed()), policy(400))
    receipt: Any = receipt_of(decision)
    assert sum(receipt["context"].values()) == receipt["trim"]["input_tokens"] <= 400
    assert receipt["trim"]["saved_nanousd"] > 0
    assert decision.candidate(CHEAP).input_tokens < 420
    assert "Ingrid" not in str(receipt)
    assert choice_of_receipt(receipt) is not None
    assert decided(asked(stuffed()), policy(100_000)).trim is None


def test_what_cannot_be_made_to_fit_is_refused_and_says_why() -> None:
    with pytest.raises(ContextLengthExceededError, match="after 12 of 12 retrieved chunks were taken out") as caught:
        decided(asked(stuffed() + prose(random.Random(1), 900)), policy(200))
    assert caught.value.data["chunks_cut"] == 12
    with pytest.raises(ContextLengthExceededError, match="after 0 of 0 retrieved chunks"):
        decided(asked(prose(random.Random(1), 900)), policy(200))


def test_the_vendor_gets_what_is_left_and_the_client_is_told() -> None:
    stage = Stage({CHEAP: [reply_of()]}, policy=policy(400))

    async def said() -> None:
        bill = (await stage.gateway.answer(asked(stuffed()), NOBODY, LAX)).bill
        assert bill.context is not None
        assert "of 12 chunks cut" in bill.context
        (call,) = stage.vendor.calls
        assert NEEDLE in text_of(call.request)
        assert len(text_of(call.request)) < len(stuffed()) / 2

    leap(said())

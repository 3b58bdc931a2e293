"""``tollgate calibrate --live``: asks premium, the candidates and a judge of another vendor, within a dollar limit.

Every call goes through the gateway's own path, so that it is held, budgeted and stands in the ledger, with the tag
``purpose=calibration``. Prompts and answers are written to two files that the user named, and nowhere else.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from router.catalog import hold_nanousd
from router.chat import Text
from router.cli.graded import FINISH_REASONS
from router.cli.live_journal import Done, Journal
from router.cover import input_tokens_max_of
from router.errors import ConfigError, ProviderError, ProviderRejectedError, ProviderTimeoutError, RouterError
from router.judge import comparison_of, judge_of, parse_verdict, preference_of, scores_of
from router.policy import Caller, Terms
from router.prompt import text_of
from router.server.openai_parse import parse_chat
from router.token_priors import does_think

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from router.chat import Request
    from router.gateway import Gateway
    from router.policy import Policy

PROMPTS_AT_ONCE = 4
TRIES = 3
PAUSE_S = 1.0
JUDGE_TOKENS = 512
JUDGE_TOKENS_THINKING = 4_096
# So many comparisons in a row that a judge leaves without a verdict are not chance: it would only cost money to go on.
UNREADABLE_MAX = 10
TAGS = {"purpose": "calibration"}


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt as the file has it: its key, which survives a change of order, its row, and its messages."""

    key: str
    row: Mapping[str, Any]
    messages: list[dict[str, Any]]
    text: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Who is asked: the candidates with their judges, and how long an answer may be."""

    policy: Policy
    judges: Mapping[str, str]
    output_tokens: int

    @property
    def models(self) -> tuple[str, ...]:
        """Premium, then the candidates."""
        return (self.policy.premium, *self.judges)

    def answer_request(self, prompt: Prompt, model: str) -> Request:
        """What a model is asked."""
        return request_of(model, prompt.messages, self.output_tokens)

    def judge_request(self, prompt: Prompt, judge: str, first: str, second: str) -> Request:
        """What a judge is asked."""
        thinks = does_think(self.policy.models[judge])
        content = comparison_of(prompt.text, first, second)
        messages = [{"role": "user", "content": content}]
        return request_of(judge, messages, JUDGE_TOKENS_THINKING if thinks else JUDGE_TOKENS)

    def hold_of(self, request: Request) -> int:
        """The most that one call can cost, in nano-USD."""
        model = self.policy.models[request.model]
        ceiling = input_tokens_max_of(request, model)
        assert request.output_tokens_max is not None
        return hold_nanousd(model.prices, ceiling, request.output_tokens_max, may_write_cache=request.asks_for_caching)


def request_of(model: str, messages: list[dict[str, Any]], output_tokens: int) -> Request:
    """A request for one named model."""
    body = {"model": model, "messages": messages, "max_completion_tokens": output_tokens}
    return parse_chat(body, len(json.dumps(body).encode()))


def plan_of(policy: Policy, models: Sequence[str], judges: Sequence[str], output_tokens: int) -> Plan:
    """Each candidate with its judge. Raises ConfigError for a name that cannot be asked, or where nobody may judge."""
    for name in (policy.premium, *models, *judges):
        if name not in policy.models:
            raise ConfigError(f"{name}: is no model of the policy; it has {', '.join(policy.models)}")
        if not policy.models[name].is_reachable:
            raise ConfigError(f"{name}: cannot be asked: the key of its provider is not set")
    wanted = models or [name for name, model in policy.models.items() if model.is_reachable]
    found = {name: judge_of(policy, name, judges) for name in wanted if name != policy.premium}
    lacking = [name for name, judge in found.items() if judge is None]
    if lacking or not found:
        who = ", ".join(lacking) or "the policy"
        raise ConfigError(
            f"{who}: nobody may judge it: a judge is a model of the policy from another vendor than {policy.premium}'s "
            "and the candidate's: name one with --judge, add one to the policy, or name other candidates with --model"
        )
    return Plan(policy, {name: judge.id for name, judge in found.items() if judge is not None}, output_tokens)


def read_prompts(path: str, count: int) -> tuple[list[Prompt], list[str]]:
    """The first ``count`` different prompts, and each line that holds none. Raises ConfigError."""
    try:
        lines = Path(path).read_text(encoding="utf-8-sig", errors="replace").split("\n")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    found: dict[str, Prompt] = {}
    findings: list[str] = []
    for number, line in enumerate(lines, 1):
        if line.strip() and len(found) < count:
            prompt = _prompt_of(line)
            if isinstance(prompt, str):
                findings.append(f"{path}:{number}: {prompt}")
            else:
                found.setdefault(prompt.key, prompt)
    return list(found.values()), findings


def _prompt_of(line: str) -> Prompt | str:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return "not JSON"
    if not isinstance(row, dict):
        return "must be an object"
    prompt, messages = row.get("prompt"), row.get("messages")
    if isinstance(prompt, str) and prompt.strip():
        messages = [{"role": "user", "content": prompt}]
    if messages is None:
        return "needs a `prompt`, a text, or `messages`, a list"
    try:
        request = request_of("auto", messages, 1)
        key = hashlib.sha256(json.dumps(messages, sort_keys=True).encode()).hexdigest()[:16]
    except (RouterError, TypeError, ValueError) as error:
        return error.message if isinstance(error, RouterError) else "its messages cannot be read"
    text = "\n\n".join(f"{each.role}: {text_of(each.parts)}" for each in request.messages)
    kept = {name: row[name] for name in ("prompt", "messages", "prompt_id", "group") if name in row}
    return Prompt(key, kept, messages, text)


class LimitReachedError(Exception):
    """The next call does not fit into what is left of the limit."""


@dataclass(slots=True)
class LiveRun:
    """Asks what the journal does not know yet, a few prompts at once; the money of all of its runs is bounded."""

    gateway: Gateway
    plan: Plan
    journal: Journal
    limit_nanousd: int
    told: Callable[[], None] = lambda: None
    is_out_of_money: bool = False
    failure: RouterError | None = None
    unreadable: dict[str, int] = field(default_factory=dict)
    _freed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def run(self, prompts: Sequence[Prompt]) -> None:
        """Ask for every prompt until the end or the limit.

        Raises what no other call would fare better with: a rule, a budget, a ledger or journal that cannot be written.
        """
        waiting = iter(prompts)

        async def work() -> None:
            for prompt in waiting:
                if self.is_out_of_money or self.failure is not None:
                    return
                try:
                    await self.prompt(prompt)
                except LimitReachedError:
                    self.is_out_of_money = True
                except RouterError as error:
                    self.failure = error
                self.told()

        async with asyncio.TaskGroup() as group:
            for _ in range(PROMPTS_AT_ONCE):
                group.create_task(work())
        if self.failure is not None:
            raise self.failure

    async def prompt(self, prompt: Prompt) -> None:
        """Ask premium first, then each candidate and its judge twice: an answer that nobody compares helps nobody."""
        plan = self.plan
        premium = await self.answer(prompt, plan.policy.premium)
        if premium is None:
            return
        for candidate, judge in plan.judges.items():
            answer = await self.answer(prompt, candidate)
            if answer is None:
                continue
            words = [
                await self.call(verdict_id(prompt, candidate, judge, order), plan.judge_request(prompt, judge, *texts))
                for order, texts in zip(ORDERS, ((premium, answer), (answer, premium)), strict=True)
            ]
            if None not in words:
                self._require_readable(verdict_id(prompt, candidate, judge, ORDERS[-1]), judge, words)

    def _require_readable(self, call: str, judge: str, words: Sequence[str | None]) -> None:
        """Raises ConfigError where nothing of what the judge said lately can be read."""
        first, second = (parse_verdict(word or "") for word in words)
        if preference_of(first, second) is not None:
            self.unreadable[judge] = 0
            return
        self.unreadable[judge] = self.unreadable.get(judge, 0) + 1
        if self.unreadable[judge] >= UNREADABLE_MAX:
            last = ended(self.journal, call)
            how = "" if last is None else f"{len(last.text or '')} characters, finish_reason {last.finish_reason}"
            raise ConfigError(
                f"{judge}: its last {UNREADABLE_MAX} comparisons end without a verdict that can be read ({how}): "
                f"name another judge with --judge; the answers are kept in {self.journal.path} and serve again"
            )

    async def answer(self, prompt: Prompt, model: str) -> str | None:
        """A model's answer, from the journal or asked for now."""
        return await self.call(answer_id(prompt, model), self.plan.answer_request(prompt, model))

    async def call(self, call: str, request: Request) -> str | None:
        """The text of one call; None where it failed or was cut off. Raises LimitReachedError."""
        for number in range(1, TRIES + 1):
            each = f"{call}#{number}"
            known = self.journal.done.get(each)
            if known is None and self.journal.knows(each):
                return None
            done = known or await self._made(each, request)
            if done.text is not None or done.cost_nanousd or done.error in FINAL:
                return done.text
            if known is None:
                await asyncio.sleep(PAUSE_S * number)
        return None

    async def _made(self, call: str, request: Request) -> Done:
        hold = self.plan.hold_of(request)
        async with self._freed:
            await self._freed.wait_for(lambda: self._fits(hold) or not self.journal.held)
            if not self._fits(hold):
                raise LimitReachedError
            self.journal.begin(call, hold)
        done = Done(hold, None, "cancelled")
        try:
            done = await self._asked(request)
        except RouterError as error:
            # No vendor was asked: the next run may.
            done = Done(0, None, error.code)
            raise
        finally:
            self.journal.end(call, done)
            async with self._freed:
                self._freed.notify_all()
        return done

    def _fits(self, hold: int) -> bool:
        return self.journal.spent_nanousd + hold <= self.limit_nanousd

    async def _asked(self, request: Request) -> Done:
        try:
            answer = await self.gateway.answer(request, Caller(), Terms(tags=TAGS))
        except ProviderError as error:
            decision_id = error.decision_id
            found = await self.gateway.admission.ledger.request(decision_id) if decision_id is not None else None
            return Done(0 if found is None else found[0].cost_nanousd, None, error.code)
        text = "".join(part.text for part in answer.reply.parts if isinstance(part, Text))
        return Done(answer.bill.cost_nanousd, text, None, answer.reply.finish_reason)


# Premium's answer is shown first, then the candidate's.
ORDERS = ("1", "2")
# A vendor that refused will refuse again, and one that was late may have billed: neither is asked once more.
FINAL = (ProviderRejectedError.code, ProviderTimeoutError.code)


def answer_id(prompt: Prompt, model: str) -> str:
    """The journal's name of an answer."""
    return f"answer:{prompt.key}:{model}"


def verdict_id(prompt: Prompt, candidate: str, judge: str, order: str) -> str:
    """The journal's name of a judge's word on a candidate; ``order`` is one of ``ORDERS``."""
    return f"verdict:{prompt.key}:{candidate}:{judge}:{order}"


def without_retries(gateway: Gateway) -> Gateway:
    """The gateway with one attempt a request, so that a request's hold bounds its cost."""

    def in_force() -> Any:  # noqa: ANN401  # the gateway's own type
        now = gateway.in_force()
        return replace(now, policy=replace(now.policy, upstream=replace(now.policy.upstream, retries_max=0)))

    return replace(gateway, in_force=in_force)


# --- what comes out --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Graded:
    """The graded prompts as rows of a data set, and how many comparisons could not be read, or were not made."""

    rows: list[dict[str, Any]]
    unreadable: int
    missing: int


def graded_of(prompts: Sequence[Prompt], plan: Plan, journal: Journal) -> Graded:
    """What the journal says of the prompts."""
    rows: list[dict[str, Any]] = []
    unreadable = missing = 0
    for prompt in prompts:
        scores: dict[str, float] = {}
        for candidate, judge in plan.judges.items():
            said = [ended(journal, verdict_id(prompt, candidate, judge, order)) for order in ORDERS]
            first, second = (parse_verdict(each.text or "") if each is not None else None for each in said)
            if None in said:
                missing += 1
                continue
            preference = preference_of(first, second)
            if preference is None:
                unreadable += 1
                continue
            scores[plan.policy.premium], scores[candidate] = scores_of(preference)
        if scores:
            given = {model: ended(journal, answer_id(prompt, model)) for model in scores}
            answers = {
                model: {"text": each.text, "finish_reason": each.finish_reason}
                for model, each in given.items()
                if each is not None and each.finish_reason in FINISH_REASONS
            }
            rows.append({**prompt.row, "scores": scores, "answers": answers})
    return Graded(rows, unreadable, missing)


def ended(journal: Journal, call: str) -> Done | None:
    """The try of a call that has a text."""
    found = [journal.done.get(f"{call}#{number}") for number in range(1, TRIES + 1)]
    return next((each for each in found if each is not None and each.text is not None), None)


def write_graded(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the data set whole or not at all, for its owner's eyes. Raises ConfigError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            for row in rows:
                file.write(json.dumps(row) + "\n")
        temporary.replace(path)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error

"""One request on its way through dispatch: what was asked, what was decided, and under which revisions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.admission import Account
    from router.chat import Reply, Request
    from router.decision import Decision
    from router.policy import Policy
    from router.ports import Deployment


@dataclass(slots=True)
class Job:
    """One request on its way, with the revision of everything that it was decided under.

    The decision is replaced where budgets have no room for it and say ``downgrade``. ``is_whole`` where answers are
    taken whole, also those that the client gets as a stream.
    """

    request: Request
    decision: Decision
    account: Account
    policy: Policy
    deployments: Mapping[str, Deployment]
    is_whole: bool = False

    def hears(self, reply: Reply) -> None:
        """Let the guards know what was answered."""
        if self.account.watch is not None:
            self.account.watch.parts = reply.parts

    @property
    def checks_logprobs(self) -> bool:
        """Whether the probabilities of an answer's tokens are among what is checked."""
        plan = self.decision.cascade
        return self.is_whole and plan is not None and "logprobs" in plan.verify

    @property
    def leaves_marks(self) -> bool:
        """Whether what labels can be taught by is kept of answers that are taken whole."""
        return self.policy.cascade is not None and self.policy.cascade.has_verifier

    @property
    def may_slice(self) -> bool:
        """Whether the answer is forwarded as it comes."""
        return self.request.is_streamed and not self.is_whole

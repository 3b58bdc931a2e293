"""LiteLLM's own session guards, asked line by line: run by the interpreter that has litellm[proxy].

Its handlers for ``max_iterations`` and ``max_budget_per_session`` are the real ones, over its in-memory cache, in the
time that the lines say. Nothing of Tollgate is imported here.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from types import SimpleNamespace
from typing import Any

ITERATIONS_MAX, BUDGET_USD = 50, 5.0
NOW = [0.0]


async def main() -> None:
    """Answer each line: a request is let through or not, a cost is booked."""
    from litellm import DualCache
    from litellm.proxy._types import UserAPIKeyAuth
    from litellm.proxy.agent_endpoints.agent_registry import global_agent_registry
    from litellm.proxy.common_utils.proxy_rate_limit_error import ProxyRateLimitError
    from litellm.proxy.hooks.max_budget_per_session_limiter import _PROXY_MaxBudgetPerSessionHandler
    from litellm.proxy.hooks.max_iterations_limiter import _PROXY_MaxIterationsHandler
    from litellm.proxy.utils import InternalUsageCache

    bounds = {"max_iterations": ITERATIONS_MAX, "max_budget_per_session": BUDGET_USD}
    agent = SimpleNamespace(agent_id="a1", litellm_params=bounds)
    global_agent_registry.get_agent_by_id = lambda **_: agent  # type: ignore[method-assign, assignment]
    time.time = lambda: NOW[0]
    cache = DualCache()
    usage = InternalUsageCache(dual_cache=cache)
    guards: list[Any] = [_PROXY_MaxIterationsHandler(usage), _PROXY_MaxBudgetPerSessionHandler(usage)]
    key = UserAPIKeyAuth(api_key="sk-1", agent_id="a1")
    print("leak: ready", flush=True)
    for line in sys.stdin:
        told = json.loads(line)
        NOW[0] = told["ms"] / 1000
        metadata = {"agent_id": "a1"} | ({"session_id": told["session"]} if told["session"] else {})
        if "cost_usd" in told:
            kwargs = {"litellm_params": {"metadata": metadata}, "response_cost": told["cost_usd"]}
            await guards[1].async_log_success_event(kwargs, None, None, None)
            continue
        passes = True
        for guard in guards:
            try:
                await guard.async_pre_call_hook(key, cache, {"model": "x", "metadata": metadata}, "completion")
            except ProxyRateLimitError:
                passes = False
        print(f"leak: {json.dumps(passes)}", flush=True)  # LiteLLM prints words of its own


if __name__ == "__main__":
    asyncio.run(main())

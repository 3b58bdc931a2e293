from __future__ import annotations

import inspect

import pytest

from router import errors
from router.errors import ProviderError, RouterError, type_of_status

TREE = [
    each
    for each in vars(errors).values()
    if inspect.isclass(each) and issubclass(each, RouterError) and each is not RouterError
]
# The contract's table, and what HTTP itself names for the rest.
STATUS_OF_CODE = {
    "invalid_request": 400,
    "invalid_quality_tolerance": 400,
    "unknown_quality_tier": 400,
    "context_length_exceeded": 400,
    "invalid_api_key": 401,
    "budget_exhausted": 402,
    "tier_not_allowed": 403,
    "model_not_allowed": 403,
    "model_not_found": 404,
    "decision_not_found": 404,
    "request_timeout": 408,
    "idempotency_conflict": 409,
    "too_many_labels": 409,
    "request_too_large": 413,
    "no_eligible_model": 422,
    "loop_detected": 422,
    "fanout_exceeded": 422,
    "rate_limited": 429,
    "provider_rejected": 400,
    "provider_error": 502,
    "provider_unavailable": 503,
    "provider_timeout": 504,
    "store_unavailable": 503,
    "budget_store_unavailable": 503,
    "ledger_unavailable": 503,
}
# Configuration errors end a command; no request meets them, and AdmissionError is only a branch.
NOT_SERVED = {"invalid_configuration", "invalid_artifact", "internal_error"}


@pytest.mark.parametrize("kind", TREE, ids=lambda kind: kind.__name__)
def test_every_code_has_its_status_of_the_contract(kind: type[RouterError]) -> None:
    if kind.code in NOT_SERVED:
        assert kind.http_status == 500
    else:
        assert STATUS_OF_CODE[kind.code] == kind.http_status
        assert kind.http_status in type_of_status


def test_every_code_of_the_table_is_raised_by_some_class() -> None:
    assert {kind.code for kind in TREE} - NOT_SERVED == set(STATUS_OF_CODE)


@pytest.mark.parametrize("kind", TREE, ids=lambda kind: kind.__name__)
def test_only_what_can_get_better_is_called_retryable(kind: type[RouterError]) -> None:
    assert not kind.is_retryable or kind.http_status in (408, 429, 502, 503, 504)


def test_an_error_keeps_its_data_and_tells_its_type() -> None:
    error = ProviderError("odd", status=500, is_billed=True, retry_after_s=2.0, param="p", data={"n": 1})
    assert (error.message, str(error), error.param, error.data) == ("odd", "odd", "p", {"n": 1})
    assert (error.status, error.is_billed, error.retry_after_s) == (500, True, 2.0)
    assert error.error_type == "api_error"
    assert RouterError("x").error_type == "api_error"
    assert errors.RateLimitedError("x").error_type == "rate_limit_error"
    assert error.decision_id is None

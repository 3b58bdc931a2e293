"""The one tree of errors.

```
RouterError
├── ConfigError          a file or a setting is wrong; names file, line and path
├── RequestError         what the caller sent or who the caller is (4xx)
├── AdmissionError       the request is sound but may not run (402, 422, 429)
├── ProviderError        a vendor failed, after retries and fallbacks (502, 503, 504)
└── StoreError           a ledger or a state store failed (503)
```

Errors are raised with data and rendered once, at the server's edge, in the shape of the API that was called.
A message never holds a prompt, an answer or a key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping

# A command that ends by one of these errors exits with this.
EXIT_CODE = 3

type_of_status: dict[int, str] = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    422: "invalid_request_error",
    429: "rate_limit_error",
    502: "api_error",
    503: "overloaded_error",
    504: "timeout_error",
}


class RouterError(Exception):
    """Any failure that Tollgate itself raises on purpose.

    ``code`` is stable API (contract: Errors), ``param`` names the field at fault where there is one, ``data`` holds
    numbers and names for the edge to render. ``decision_id`` is set once the failed request is in the ledger.
    """

    code: ClassVar[str] = "internal_error"
    http_status: ClassVar[int] = 500
    is_retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, param: str | None = None, data: Mapping[str, object] | None = None) -> None:
        """Keep the message for people and the data for machines."""
        super().__init__(message)
        self.message = message
        self.param = param
        self.data: Mapping[str, object] = data or {}
        self.decision_id: str | None = None

    @property
    def error_type(self) -> str:
        """The vendor-style ``type`` that goes with the status."""
        return type_of_status.get(self.http_status, "api_error")


# --- configuration -------------------------------------------------------------------------------------------------


class ConfigError(RouterError):
    """A policy, keys file, artifact or setting cannot be used; ``message`` starts with the place."""

    code = "invalid_configuration"


class ArtifactError(ConfigError):
    """The quality model's file is missing, truncated, of another version, or was tampered with."""

    code = "invalid_artifact"


# --- request -------------------------------------------------------------------------------------------------------


class RequestError(RouterError):
    """What the caller sent cannot be served as it stands."""

    code = "invalid_request"
    http_status = 400


class InvalidQualityToleranceError(RequestError):
    """`X-Quality-Tolerance` is not a number in 0..1."""

    code = "invalid_quality_tolerance"


class UnknownQualityTierError(RequestError):
    """The tier is not one of the policy's."""

    code = "unknown_quality_tier"


class ContextLengthExceededError(RequestError):
    """No model's context window holds the prompt and the output asked for."""

    code = "context_length_exceeded"


class InvalidApiKeyError(RequestError):
    """The virtual key is missing, unknown, revoked or past its expiry."""

    code = "invalid_api_key"
    http_status = 401


class TierNotAllowedError(RequestError):
    """The key may not use this tier or so small a tolerance."""

    code = "tier_not_allowed"
    http_status = 403


class ModelNotAllowedError(RequestError):
    """The key or a rule forbids the model that was pinned."""

    code = "model_not_allowed"
    http_status = 403


class ModelNotFoundError(RequestError):
    """The model is neither `auto`, `auto:<tier>` nor an id of the policy."""

    code = "model_not_found"
    http_status = 404


class DecisionNotFoundError(RequestError):
    """No decision with this id is in the ledger, or it belongs to somebody else."""

    code = "decision_not_found"
    http_status = 404


class IdempotencyConflictError(RequestError):
    """The `Idempotency-Key` is in use by another body, or its answer is no longer held."""

    code = "idempotency_conflict"
    http_status = 409


class TooManyLabelsError(RequestError):
    """One key has said so much of one decision that it may only repeat itself."""

    code = "too_many_labels"
    http_status = 409


class RequestTooLargeError(RequestError):
    """The body is over the limit in bytes."""

    code = "request_too_large"
    http_status = 413


class RequestTimeoutError(RequestError):
    """The client took too long to send its body."""

    code = "request_timeout"
    http_status = 408


# --- admission -----------------------------------------------------------------------------------------------------


class AdmissionError(RouterError):
    """The request is sound, and Tollgate refuses to run it."""


class NoEligibleModelError(AdmissionError):
    """No candidate may serve the request; ``data["candidates"]`` says why for each."""

    code = "no_eligible_model"
    http_status = 422


class BudgetExhaustedError(AdmissionError):
    """A hard budget has no room for the call; ``data`` names budget, scope, limit, headroom and reset time."""

    code = "budget_exhausted"
    http_status = 402


class LoopDetectedError(AdmissionError):
    """A guard stopped what looks like a runaway; ``data`` holds the guard and its counts."""

    code = "loop_detected"
    http_status = 422


class FanoutExceededError(AdmissionError):
    """A lineage is too deep or has too many descendants; ``data`` holds the counts."""

    code = "fanout_exceeded"
    http_status = 422


class RateLimitedError(AdmissionError):
    """Too many requests at once; ``data["retry_after_s"]`` says when to come back."""

    code = "rate_limited"
    http_status = 429
    is_retryable = True


# --- providers -----------------------------------------------------------------------------------------------------


class ProviderError(RouterError):
    """A vendor answered with an error or with something that is not its wire.

    ``is_billed`` tells whether the vendor may have billed the attempt: False only where it certainly did not
    (connection refused, 4xx). ``status`` is the vendor's own HTTP status, None without one. ``seen_bytes`` is how much
    of the answer's text had arrived.
    """

    code = "provider_error"
    http_status = 502

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        is_billed: bool = False,
        retry_after_s: float | None = None,
        seen_bytes: int = 0,
        param: str | None = None,
        data: Mapping[str, object] | None = None,
    ) -> None:
        """Keep what the retry policy and the ledger need to know."""
        super().__init__(message, param=param, data=data)
        self.status = status
        self.is_billed = is_billed
        self.retry_after_s = retry_after_s
        self.seen_bytes = seen_bytes


class ProviderRejectedError(ProviderError):
    """The vendor refused the request itself (400, 413, 422): another try of the same request cannot help."""

    code = "provider_rejected"
    http_status = 400


class ProviderUnavailableError(ProviderError):
    """The vendor cannot be reached, is overloaded, throttles us, or is cooling down."""

    code = "provider_unavailable"
    http_status = 503
    is_retryable = True


class ProviderTimeoutError(ProviderError):
    """The vendor did not connect, start or go on in time."""

    code = "provider_timeout"
    http_status = 504
    is_retryable = True


# --- stores --------------------------------------------------------------------------------------------------------


class StoreError(RouterError):
    """A store failed."""

    code = "store_unavailable"
    http_status = 503
    is_retryable = True


class BudgetStoreUnavailableError(StoreError):
    """The store of budgets or guards does not answer, and the policy says to reject while that is so."""

    code = "budget_store_unavailable"


class LedgerUnavailableError(StoreError):
    """The ledger cannot write, so nothing may be answered: full disk, locked or unreachable database."""

    code = "ledger_unavailable"

from __future__ import annotations

from typing import Any

import pytest

from router.budgets import Budget
from router.budgets.claims import OTHERS, TAG_VALUES_MAX, Claimant, Owners
from router.budgets.windows import windows_around

NOW_MS = 1_764_050_000_000
OWNERS = Owners("search", "archive", "0f1e2d", "sess-1", "lin-1", {"customer": "acme", "feature": "x"})


def budget(scope: str, **changes: Any) -> Budget:
    fields: dict[str, Any] = {"name": scope, "scope": scope, "window": "day", "limit_nanousd": 50}
    return Budget(**{**fields, **changes})


def owner_in(each: Budget, owners: Owners = OWNERS, salt: bytes = b"salt") -> str:
    (claim,) = Claimant(salt).claims_of([each], owners, NOW_MS)
    return claim.owner


@pytest.mark.parametrize(
    ("scope", "owner"),
    [
        ("all", ""),
        ("team", "search"),
        ("project", "archive"),
        ("key", "0f1e2d"),
        ("session", "sess-1"),
        ("lineage", "lin-1"),
    ],
)
def test_each_scope_counts_by_its_owner(scope: str, owner: str) -> None:
    assert owner_in(budget(scope)) == owner
    assert owner_in(budget(scope), Owners()) == "", "who leaves a name out shares one account"


def test_a_tag_counts_by_its_value_and_a_lineage_that_is_not_known_by_its_session() -> None:
    assert owner_in(budget("tag", tag="customer")) == "acme"
    assert owner_in(budget("tag", tag="cost-centre")) == ""
    assert owner_in(budget("lineage"), OWNERS._replace(lineage_id=None)) == "sess-1"


def test_a_request_is_no_account() -> None:
    assert (
        Claimant(b"salt").claims_of([budget("request", window="total"), budget("all")], OWNERS, NOW_MS)[0].budget
        == "all"
    )


def test_owners_and_their_limits() -> None:
    some = budget("team", owners=frozenset({"search", "legal"}), limits_nanousd={"search": 80})
    claimant = Claimant(b"salt")
    (mine,) = claimant.claims_of([some], OWNERS, NOW_MS)
    (legal,) = claimant.claims_of([some], Owners(team="legal"), NOW_MS)
    assert (mine.limit_nanousd, legal.limit_nanousd) == (80, 50)
    assert claimant.claims_of([some], Owners(team="sales"), NOW_MS) == ()
    assert claimant.claims_of([some], Owners(), NOW_MS) == ()


def test_a_claim_has_the_windows_around_now_and_says_whether_it_is_hard() -> None:
    soft = budget("all", kind="soft", zone="Asia/Kolkata", window="month")
    (claim,) = Claimant(b"salt").claims_of([soft], OWNERS, NOW_MS)
    assert (claim.windows, claim.is_hard) == (windows_around("month", "Asia/Kolkata", NOW_MS), False)


@pytest.mark.parametrize("text", ["x" * 65, "a\nb", "\u540d\u524d", "-x", "{}", "a,b", "\ud800", "x" * 1_000_000])
def test_what_callers_write_is_never_an_account_where_it_is_long_or_odd(text: str) -> None:
    for each, owners in (
        (budget("session"), Owners(session_id=text)),
        (budget("lineage"), Owners(lineage_id=text)),
        (budget("tag", tag="t"), Owners(tags={"t": text})),
    ):
        owner = owner_in(each, owners)
        assert owner.startswith("#")
        assert len(owner) == 25
        assert owner == owner_in(each, owners)
        assert owner != owner_in(each, owners, b"other"), "the hash is this installation's own"


def test_no_text_of_a_caller_can_pass_for_a_hash_or_for_the_others() -> None:
    for text in ("#0123456789abcdef01234567", OTHERS):
        assert owner_in(budget("tag", tag="t"), Owners(tags={"t": text})).startswith("#")
        assert owner_in(budget("tag", tag="t"), Owners(tags={"t": text})) != text


def test_ten_thousand_values_of_a_tag_have_accounts_and_all_others_share_one() -> None:
    each = budget("tag", tag="t", window="hour", limits_nanousd={"known": 7})
    claimant = Claimant(b"salt")

    def owner(value: str, at_ms: int = NOW_MS) -> str:
        (claim,) = claimant.claims_of([each], Owners(tags={"t": value}), at_ms)
        return claim.owner

    found = [owner(f"v{number}") for number in range(TAG_VALUES_MAX + 50)]
    assert len(set(found)) == TAG_VALUES_MAX + 1
    assert found[-1] == OTHERS
    assert owner("v0") == "v0"
    assert owner("new") == OTHERS
    assert owner("known") == "known", "what the policy names is never among the others"
    assert owner("new", NOW_MS + 3_600_000) == "new"

"""Virtual keys: made once, stored as salted hashes, looked up by id and compared in constant time.

A key is ``tg-<id>-<secret>`` with 256 random bits of secret. Against that much chance a slow password hash adds nothing
but latency, so one salted SHA-256 is the right hash; it would be the wrong one for anything that a person chose.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import os
import re
import secrets
import stat
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from router.budgets import Budget
from router.clock import iso_of, parse_time_ms
from router.config.budgets import HELD_QUEUE_S, LimitUsd
from router.config.load import ordered, places_of, read_bytes, require_none
from router.config.mistakes import message_of
from router.config.yaml_places import Finding, Places
from router.errors import ConfigError, InvalidApiKeyError
from router.money import parse_usd
from router.policy import Caller

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

KEY = re.compile(r"^tg-([0-9a-f]{12})-([A-Za-z0-9_-]{43})$")
KNOWN_MAX = 10_000
NOBODY_SALT = "00" * 16
NOBODY_HASH = "0" * 64
UNKNOWN = "the API key is unknown, revoked or past its expiry"


def _time(value: str) -> str:
    try:
        parse_time_ms(value)
    except (ValueError, OverflowError):
        raise PydanticCustomError("time", "must be a time such as 2027-01-01T00:00:00Z") from None
    return value


LABEL_MAX = 128
LABEL_MESSAGE = f"must be 1 to {LABEL_MAX} printable characters"


def is_label(text: str) -> bool:
    """Whether the text may name a team, a project, a tag: what is not printable is no name."""
    return 0 < len(text) <= LABEL_MAX and text.isprintable()


def _label(value: str) -> str:
    if not is_label(value):
        raise PydanticCustomError("label", LABEL_MESSAGE)
    return value


Label = Annotated[str, AfterValidator(_label)]
Time = Annotated[str, AfterValidator(_time)]
PATTERNS = {
    "id": "must be the 12 hex digits that `tollgate keys create` made",
    "salt": "must be the 32 hex digits that `tollgate keys create` made",
    "hash": "must be the 64 hex digits that `tollgate keys create` made",
}
CHOICES: Mapping[str, str] = {"window": "hour, day, week, month or total", "kind": "hard or soft"}
# Amounts are decimals, which JSON's writer has no exact way for: they go out as text and lose their quotes here.
AMOUNT = re.compile(r'"limit_usd": "([0-9.]+)"')


LIMITS_MAX = 10
WINDOWS = ("hour", "day", "week", "month", "total")
KINDS = ("hard", "soft")


class KeyLimit(BaseModel):
    """What the key may spend in a window, beside the policy's budgets; its windows begin in UTC."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    limit_usd: LimitUsd
    window: Literal["hour", "day", "week", "month", "total"]
    kind: Literal["hard", "soft"] = "hard"

    @property
    def name(self) -> str:
        """What the budget is called; a policy's names have no colon."""
        return f"key:{self.window}:{self.kind}"

    def budget(self, key_id: str) -> Budget:
        """The same as a budget of this key alone."""
        return Budget(
            name=self.name,
            scope="key",
            window=self.window,
            limit_nanousd=parse_usd(self.limit_usd),
            kind=self.kind,
            queue_s=HELD_QUEUE_S,
            owners=frozenset({key_id}),
        )


class FormerSecret(BaseModel):
    """The secret before the last rotation, good until its time."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    salt: str = Field(pattern=r"^[0-9a-f]{32}$")
    hash: str = Field(pattern=r"^[0-9a-f]{64}$")
    until: Time


class StoredKey(BaseModel):
    """One key as the file holds it."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    id: str = Field(pattern=r"^[0-9a-f]{12}$")
    salt: str = Field(pattern=r"^[0-9a-f]{32}$")
    hash: str = Field(pattern=r"^[0-9a-f]{64}$")
    name: Label | None = None
    team: Label | None = None
    project: Label | None = None
    tiers: list[Label] = Field(default_factory=list)
    models: list[Label] = Field(default_factory=list)
    tags: dict[Label, Label] = Field(default_factory=dict)
    limits: Annotated[list[KeyLimit], Field(max_length=LIMITS_MAX)] = Field(default_factory=list)
    created: Time
    expires: Time | None = None
    rotated: Time | None = None
    former: FormerSecret | None = None
    revoked: Time | None = None

    def caller(self) -> Caller:
        """Who presents it."""
        return Caller(
            key_id=self.id,
            team=self.team,
            project=self.project,
            tags=self.tags,
            allowed_tiers=frozenset(self.tiers),
            allowed_models=frozenset(self.models),
            limits=tuple(each.budget(self.id) for each in self.limits),
        )

    def ends_ms(self) -> int | None:
        """From when it is refused; None where it has no end."""
        if self.revoked is not None:
            return 0
        return None if self.expires is None else parse_time_ms(self.expires)


class KeysFile(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    version: int = Field(default=1, ge=1, le=1)
    keys: list[StoredKey] = Field(default_factory=list)


def hash_of(salt: str, secret: str) -> str:
    """Hex SHA-256 of salt and secret."""
    return hashlib.sha256(bytes.fromhex(salt) + secret.encode()).hexdigest()


class Known(NamedTuple):
    """A secret that was verified: whose it is, and from when it is refused, None where it has no end."""

    caller: Caller
    ends_ms: int | None


@dataclass(slots=True)
class KeyRing:
    """The keys in force. A secret that was verified once costs one hash from then on."""

    keys: dict[str, StoredKey]
    _known: dict[bytes, Known] = field(default_factory=dict, repr=False)

    def caller_of(self, presented: str, now_ms: int) -> Caller:
        """Who presents the key. Raises InvalidApiKeyError, which never repeats it."""
        digest = hashlib.sha256(presented.encode("utf-8", "replace")).digest()
        known = self._known.get(digest)
        if known is None:
            known = self._verify(presented)
            if len(self._known) >= KNOWN_MAX:
                self._known.clear()
            self._known[digest] = known
        if known.ends_ms is not None and known.ends_ms <= now_ms:
            raise InvalidApiKeyError(UNKNOWN)
        return known.caller

    def callers(self, now_ms: int) -> tuple[Caller, ...]:
        """Whose keys are in force."""
        ends = ((key, key.ends_ms()) for key in self.keys.values())
        return tuple(key.caller() for key, ends_ms in ends if ends_ms is None or ends_ms > now_ms)

    def _verify(self, presented: str) -> Known:
        match = KEY.match(presented)
        key = self.keys.get(match.group(1)) if match else None
        secret = match.group(2) if match else ""
        # Unknown ids and keys that were never rotated are compared twice too: the time taken tells neither.
        is_present = _is_secret(secret, key)
        is_former = _is_secret(secret, key.former if key is not None else None)
        if key is None or not (is_present or is_former):
            raise InvalidApiKeyError(UNKNOWN)
        ends_ms = key.ends_ms()
        if not is_present and key.former is not None:
            former_ms = parse_time_ms(key.former.until)
            ends_ms = former_ms if ends_ms is None else min(ends_ms, former_ms)
        return Known(key.caller(), ends_ms)

    def replace_with(self, other: KeyRing) -> None:
        """Take over another ring's keys at once, forgetting what was verified before."""
        self.keys, self._known = other.keys, {}


def _is_secret(secret: str, stored: StoredKey | FormerSecret | None) -> bool:
    salt, expected = (stored.salt, stored.hash) if stored is not None else (NOBODY_SALT, NOBODY_HASH)
    return hmac.compare_digest(hash_of(salt, secret), expected)


def keys_path(home: Path, keys_file: str | None, policy_path: Path) -> Path:
    """Where the keys are: the policy's ``keys.file`` beside the policy, else ``keys.yaml`` in the home."""
    return policy_path.parent / keys_file if keys_file is not None else home / "keys.yaml"


def load_keys(path: Path) -> KeysFile:
    """Read a keys file. Raises ConfigError naming file, line and field, never a value; so for one that is not there."""
    raw = read_bytes(path)
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & (stat.S_IRWXO | stat.S_IWGRP):
        message = f"mode {mode:04o} lets other users at it: `chmod 600 {path}`"
        require_none([Finding(str(path), 1, 1, "", message)])
    places = places_of(raw, str(path))
    if not isinstance(places, Places):
        require_none([places])
    assert isinstance(places, Places)
    if places.value is None:
        require_none(places.findings)
    findings = list(places.findings)
    file = KeysFile()
    try:
        file = KeysFile.model_validate(places.value)
    except ValidationError as error:
        for each in error.errors(include_input=False, include_url=False):
            loc = tuple(part for part in each["loc"] if part != "[key]")
            message = message_of(each)
            if each["type"] == "string_pattern_mismatch":
                message = PATTERNS[str(loc[-1])]
            elif each["type"] == "literal_error" and loc[-1] in CHOICES:
                message = f"must be {CHOICES[str(loc[-1])]}"
            findings.append(places.find(loc, message))
    seen: set[str] = set()
    for index, key in enumerate(file.keys):
        if key.id in seen:
            findings.append(places.find(("keys", index, "id"), "stands twice: remove one of the two keys"))
        seen.add(key.id)
        names = [limit.name for limit in key.limits]
        findings += [
            places.find(("keys", index, "limits", place), "stands twice: one limit for each window and kind")
            for place, name in enumerate(names)
            if name in names[:place]
        ]
    require_none(ordered(findings))
    return file


def load_key_ring(path: Path) -> KeyRing | None:
    """The ring of a keys file; None where there is no such file, so that only loopback may be served."""
    if not path.exists():
        return None
    return KeyRing({key.id: key for key in load_keys(path).keys})


def beside(path: Path, ending: str) -> Path:
    """A file next to the keys file that belongs to it."""
    return path.with_name(path.name + ending)


def _line_of(key: StoredKey) -> str:
    def amount(value: object) -> str:
        assert isinstance(value, Decimal)
        return format(value, "f")

    text = json.dumps(key.model_dump(exclude_none=True), ensure_ascii=False, default=amount)
    return AMOUNT.sub(r'"limit_usd": \1', text)


class KeysBook:
    """A keys file that is being changed: locked against other writers, replaced atomically, readable by its owner."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(beside(path, ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error

    def __enter__(self) -> Self:
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            self.keys = list(load_keys(self.path).keys) if self.path.exists() else []
        except ConfigError:
            os.close(self._lock)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._lock)

    def create(self, now_ms: int, **fields: object) -> tuple[str, StoredKey]:
        """Add a key; returns the secret text, which is nowhere else, and what is stored."""
        key_id, salt, secret = secrets.token_hex(6), secrets.token_hex(16), secrets.token_urlsafe(32)
        stored = StoredKey.model_validate(
            {"id": key_id, "salt": salt, "hash": hash_of(salt, secret), "created": iso_of(now_ms), **fields}
        )
        self.keys.append(stored)
        self._write()
        return f"tg-{key_id}-{secret}", stored

    def rotate(self, key_id: str, now_ms: int, grace_ms: int) -> tuple[str, StoredKey, bool]:
        """Give the key a new secret; the one so far stays good for the grace, a third ends at once.

        Returns the new secret's text, what is stored, and whether a third was still good. Raises KeyError for an
        unknown id and ValueError for a key that is revoked or past its expiry.
        """
        index = self._index_of(key_id)
        key = self.keys[index]
        ends_ms = key.ends_ms()
        if ends_ms is not None and ends_ms <= now_ms:
            raise ValueError("is revoked or past its expiry: make a new key")
        salt, secret = secrets.token_hex(16), secrets.token_urlsafe(32)
        has_third = key.former is not None and parse_time_ms(key.former.until) > now_ms
        former = FormerSecret(salt=key.salt, hash=key.hash, until=iso_of(now_ms + grace_ms)) if grace_ms else None
        changes = {"salt": salt, "hash": hash_of(salt, secret), "rotated": iso_of(now_ms), "former": former}
        self.keys[index] = key.model_copy(update=changes)
        self._write()
        return f"tg-{key_id}-{secret}", self.keys[index], has_third

    def revoke(self, key_id: str, now_ms: int) -> StoredKey:
        """Mark a key as revoked, all its secrets with it; again changes nothing. Raises KeyError for an unknown id."""
        index = self._index_of(key_id)
        if self.keys[index].revoked is None:
            self.keys[index] = self.keys[index].model_copy(update={"revoked": iso_of(now_ms)})
            self._write()
        return self.keys[index]

    def _index_of(self, key_id: str) -> int:
        for index, key in enumerate(self.keys):
            if key.id == key_id:
                return index
        raise KeyError(key_id)

    def _write(self) -> None:
        temporary = beside(self.path, ".tmp")
        # A key a line, each a JSON object, which YAML is too: a line can be read, found and taken out.
        lines = [_line_of(key) for key in self.keys]
        text = "version: 1\nkeys:\n" + "".join(f"  - {line}\n" for line in lines)
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            # What cannot be read again, such as one key too many for one file, must not take the old file's place.
            load_keys(temporary)
            temporary.replace(self.path)
        except OSError as error:
            raise ConfigError(f"{self.path}: cannot be written: {error.strerror}") from error
        except ConfigError as error:
            temporary.unlink()
            raise ConfigError(f"{self.path}: not changed, since it could not be read again: {error.message}") from error

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
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from router.clock import iso_of, parse_time_ms
from router.config.load import ordered, places_of, read_bytes, require_none
from router.config.mistakes import message_of
from router.config.yaml_places import Finding, Places
from router.errors import ConfigError, InvalidApiKeyError
from router.policy import Caller

if TYPE_CHECKING:
    from pathlib import Path

KEY = re.compile(r"^tg-([0-9a-f]{12})-([A-Za-z0-9_-]{43})$")
KNOWN_MAX = 10_000
NOBODY_SALT = "00" * 16
NOBODY_HASH = "0" * 64
UNKNOWN = "the API key is missing, unknown, revoked or past its expiry"


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
    created: Time
    expires: Time | None = None
    revoked: Time | None = None


class KeysFile(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    version: int = Field(default=1, ge=1, le=1)
    keys: list[StoredKey] = Field(default_factory=list)


def hash_of(salt: str, secret: str) -> str:
    """Hex SHA-256 of salt and secret."""
    return hashlib.sha256(bytes.fromhex(salt) + secret.encode()).hexdigest()


@dataclass(slots=True)
class KeyRing:
    """The keys in force. A key that was verified once costs one hash from then on."""

    keys: dict[str, StoredKey]
    _known: dict[bytes, StoredKey] = field(default_factory=dict, repr=False)

    def caller_of(self, presented: str, now_ms: int) -> Caller:
        """Who presents the key. Raises InvalidApiKeyError, which never repeats it."""
        digest = hashlib.sha256(presented.encode("utf-8", "replace")).digest()
        key = self._known.get(digest)
        if key is None:
            key = self._verify(presented)
            if len(self._known) >= KNOWN_MAX:
                self._known.clear()
            self._known[digest] = key
        if key.revoked is not None or (key.expires is not None and parse_time_ms(key.expires) <= now_ms):
            raise InvalidApiKeyError(UNKNOWN)
        return Caller(
            key_id=key.id,
            team=key.team,
            project=key.project,
            tags=key.tags,
            allowed_tiers=frozenset(key.tiers),
            allowed_models=frozenset(key.models),
        )

    def _verify(self, presented: str) -> StoredKey:
        match = KEY.match(presented)
        key = self.keys.get(match.group(1)) if match else None
        # Unknown ids are compared too, so that the time taken does not tell which ids exist.
        salt, expected = (key.salt, key.hash) if key is not None else (NOBODY_SALT, NOBODY_HASH)
        is_same = hmac.compare_digest(hash_of(salt, match.group(2) if match else ""), expected)
        if key is None or not is_same:
            raise InvalidApiKeyError(UNKNOWN)
        return key

    def replace_with(self, other: KeyRing) -> None:
        """Take over another ring's keys at once, forgetting what was verified before."""
        self.keys, self._known = other.keys, {}


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
            findings.append(places.find(loc, message))
    seen: set[str] = set()
    for index, key in enumerate(file.keys):
        if key.id in seen:
            findings.append(places.find(("keys", index, "id"), "stands twice: remove one of the two keys"))
        seen.add(key.id)
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

    def revoke(self, key_id: str, now_ms: int) -> StoredKey:
        """Mark a key as revoked; doing it again changes nothing. Raises KeyError for an unknown id."""
        for index, key in enumerate(self.keys):
            if key.id == key_id:
                if key.revoked is None:
                    self.keys[index] = key.model_copy(update={"revoked": iso_of(now_ms)})
                    self._write()
                return self.keys[index]
        raise KeyError(key_id)

    def _write(self) -> None:
        temporary = beside(self.path, ".tmp")
        # A key a line, each a JSON object, which YAML is too: a line can be read, found and taken out.
        lines = [json.dumps(key.model_dump(exclude_none=True), ensure_ascii=False) for key in self.keys]
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

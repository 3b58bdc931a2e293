"""Virtual keys: made once, stored as salted hashes, looked up by id and compared in constant time.

A key is ``tg-<id>-<secret>`` with 256 random bits of secret. Against that much chance a slow password hash adds nothing
but latency, so one salted SHA-256 is the right hash; it would be the wrong one for anything that a person chose.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML

from router.clock import iso_of, parse_time_ms
from router.config.yaml_places import Places
from router.errors import ConfigError, InvalidApiKeyError
from router.policy import Caller

if TYPE_CHECKING:
    from router.policy import Policy

KEY = re.compile(r"^tg-([0-9a-f]{12})-([A-Za-z0-9_-]{43})$")
KNOWN_MAX = 10_000
NOBODY_SALT = "00" * 16
NOBODY_HASH = "0" * 64
UNKNOWN = "the API key is missing, unknown, revoked or past its expiry"


class StoredKey(BaseModel):
    """One key as the file holds it."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    id: str = Field(pattern=r"^[0-9a-f]{12}$")
    salt: str = Field(pattern=r"^[0-9a-f]{32}$")
    hash: str = Field(pattern=r"^[0-9a-f]{64}$")
    name: str | None = None
    team: str | None = None
    project: str | None = None
    tiers: list[str] = Field(default_factory=list)
    models: list[str] = Field(default_factory=list)
    tags: dict[str, str] = Field(default_factory=dict)
    created: str
    expires: str | None = None
    revoked: str | None = None


class KeysFile(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    version: int = Field(1, ge=1, le=1)
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


def keys_path(home: Path, policy: Policy, policy_path: Path) -> Path:
    """Where the keys are: the policy's ``keys.file`` beside the policy, else ``keys.yaml`` in the home."""
    return policy_path.parent / policy.keys_file if policy.keys_file is not None else home / "keys.yaml"


def load_keys(path: Path) -> KeysFile:
    """Read a keys file; one that is not there is empty. Raises ConfigError naming file and field, never a value."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return KeysFile(version=1)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or 'not UTF-8'}") from error
    places = Places(text, str(path))
    if places.findings:
        raise ConfigError("\n".join(str(each) for each in places.findings))
    try:
        return KeysFile.model_validate(places.value)
    except ValidationError as error:
        found = [places.find(tuple(each["loc"]), str(each["msg"])) for each in error.errors(include_input=False)]
        raise ConfigError("\n".join(str(each) for each in found)) from None


def load_key_ring(path: Path) -> KeyRing | None:
    """The ring of a keys file; None where there is no such file, so that only loopback may be served."""
    if not path.exists():
        return None
    return KeyRing({key.id: key for key in load_keys(path).keys})


class KeysBook:
    """A keys file that is being changed: locked against other writers, replaced atomically, readable by its owner."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error

    def __enter__(self) -> Self:
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.keys = list(load_keys(self.path).keys)
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
        """Mark a key as revoked; doing it again changes nothing. Raises ConfigError for an unknown id."""
        for index, key in enumerate(self.keys):
            if key.id == key_id:
                if key.revoked is None:
                    self.keys[index] = key.model_copy(update={"revoked": iso_of(now_ms)})
                    self._write()
                return self.keys[index]
        raise ConfigError(f"{self.path}: no key has the id {key_id!r}")

    def _write(self) -> None:
        temporary = self.path.with_suffix(".tmp")
        document = {"version": 1, "keys": [key.model_dump(exclude_none=True) for key in self.keys]}
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                YAML(typ="safe", pure=True).dump(document, file)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(self.path)
        except OSError as error:
            raise ConfigError(f"{self.path}: cannot be written: {error.strerror}") from error

from __future__ import annotations

from pathlib import Path

import pytest

from router.config.settings import SETTINGS, load_settings, policy_path_of, shipped_policy
from router.errors import ConfigError

ROOT = Path(__file__).resolve().parents[3]


def test_defaults_need_nothing() -> None:
    settings = load_settings({})
    assert (settings.host, settings.port) == ("127.0.0.1", 8080)
    assert settings.policy_path == ROOT / "policies" / "default.yaml"
    assert settings.home == Path(".tollgate")
    assert settings.ledger_url == f"sqlite:///{Path('.tollgate/ledger.sqlite').absolute()}"
    assert (settings.admin_key, settings.must_simulate, settings.simulator_seed) == (None, False, 1)
    assert settings.log_level == "INFO"


def test_empty_variables_are_defaults() -> None:
    assert load_settings(dict.fromkeys(SETTINGS, "")) == load_settings(dict.fromkeys(SETTINGS, ""))
    settings = load_settings(dict.fromkeys(SETTINGS, ""))
    assert (settings.host, settings.port, settings.log_level) == ("127.0.0.1", 8080, "INFO")


def test_every_stated_default_is_the_real_one() -> None:
    stated = {name: value for name, value in SETTINGS.items() if name != "TOLLGATE_LEDGER_URL"}
    spelt, silent = load_settings(stated), load_settings({})
    for field in ("host", "port", "policy_path", "home", "ledger_url", "admin_key", "must_simulate", "log_level"):
        assert getattr(spelt, field) == getattr(silent, field)
    assert SETTINGS["TOLLGATE_LEDGER_URL"] == "sqlite:///TOLLGATE_HOME/ledger.sqlite"
    assert silent.ledger_url.endswith("/.tollgate/ledger.sqlite")


def test_flags_win_over_the_environment() -> None:
    env = {
        "TOLLGATE_HOST": "::1",
        "TOLLGATE_PORT": "9000",
        "TOLLGATE_POLICY": "strict",
        "TOLLGATE_HOME": "/srv/a",
        "TOLLGATE_SIMULATE": "yes",
    }
    told = load_settings(env)
    assert (told.host, told.port, told.policy_path.name, str(told.home)) == ("::1", 9000, "strict.yaml", "/srv/a")
    assert told.must_simulate is True
    assert told.ledger_url == "sqlite:////srv/a/ledger.sqlite"
    flags = load_settings(env, host="localhost", port=0, policy="local", home="/srv/b", must_simulate=False)
    assert (flags.host, flags.port, flags.policy_path.name) == ("localhost", 0, "local.yaml")
    assert (str(flags.home), flags.must_simulate) == ("/srv/b", False)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("TOLLGATE_PORT", "http", "must be a whole number in 0..65535"),
        ("TOLLGATE_PORT", "65536", "must be a whole number in 0..65535"),
        ("TOLLGATE_PORT", "-1", "must be a whole number in 0..65535"),
        ("TOLLGATE_PORT", "9" * 5000, "must be a whole number in 0..65535"),
        ("TOLLGATE_PORT", "٨٠", "must be a whole number in 0..65535"),
        ("TOLLGATE_PORT", "tcp://10.0.0.1:80", "an orchestrator set it to a service's address"),
        ("TOLLGATE_HOST", "127.0.0.1:80 x", "must be an address such as 127.0.0.1"),
        ("TOLLGATE_HOST", "http://localhost", "must be an address such as 127.0.0.1"),
        ("TOLLGATE_SIMULATE", "perhaps", "must be 1 or 0"),
        ("TOLLGATE_SIMULATOR_SEED", "-1", "must be a whole number"),
        ("TOLLGATE_SIMULATOR_SEED", "9" * 5000, "must be a whole number"),
        ("TOLLGATE_LOG_LEVEL", "chatty", "must be one of DEBUG, INFO, WARNING, ERROR"),
        ("TOLLGATE_LEDGER_URL", "mysql://localhost", "must begin with sqlite:///, postgresql:// or memory://"),
        ("REDIS_URL", "http://localhost", "must begin with redis:// or rediss://"),
        ("TOLLGATE_POLCY", "x.yaml", "unknown setting; did you mean `TOLLGATE_POLICY`?"),
        ("TOLLGATE_ADMIN_KEYS", "secret-word", "unknown setting; did you mean `TOLLGATE_ADMIN_KEY`?"),
    ],
)
def test_a_bad_value_is_named_and_not_repeated(name: str, value: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings({name: value})
    assert caught.value.message.startswith(f"{name}: ")
    assert said in caught.value.message
    assert "secret-word" not in caught.value.message


@pytest.mark.parametrize("name", ["TOLLGATE_SERVICE_HOST", "TOLLGATE_PORT_8080_TCP", "TOLLGATE_IMAGE", "PORT"])
def test_what_others_set_is_none_of_ours(name: str) -> None:
    assert load_settings({name: "x"}).port == 8080


def test_secrets_are_not_in_the_text_of_settings() -> None:
    settings = load_settings({"TOLLGATE_ADMIN_KEY": "secret-word", "ANTHROPIC_API_KEY": "secret-word"})
    assert settings.admin_key == "secret-word"
    assert "secret-word" not in repr(settings)


@pytest.mark.parametrize(("value", "key"), [("secret\n", "secret"), (" \n", None), ("", None)])
def test_an_admin_key_ends_where_its_line_ends(value: str, key: str | None) -> None:
    assert load_settings({"TOLLGATE_ADMIN_KEY": value}).admin_key == key


def test_a_bare_word_is_a_shipped_policy_unless_a_file_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert policy_path_of("strict") == shipped_policy("strict")
    (tmp_path / "strict").write_text("")
    assert policy_path_of("strict") == Path("strict")
    assert policy_path_of("strict.yaml") == Path("strict.yaml")
    with pytest.raises(ConfigError, match="nowhere: no such file, and none of the policies that Tollgate ships"):
        policy_path_of("nowhere")

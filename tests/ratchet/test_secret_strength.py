from __future__ import annotations

import base64
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ratchet.errors import ConfigError
from ratchet.secret_strength import check_secrets
from ratchet.settings import Settings
from tests.conftest import ROOT

FIRST, SECOND, LINK = "9f2c71ab04de68b35a", "c8-Rk2!vQx7_hZt0pW", "b31f7e92c64a05d87f"
WEAK = {
    "a default, twice": "changemechangeme",
    "a default in capitals": "Please-CHANGE_ME-9f2c71ab04de68b35a",
    "a default within a random text": "9f2c71ab-secret-04de68b35a",
    "a password": "password9f2c71ab04de68b35a",
    "an example": "example.9f2c71ab04de68b35a",
    "a word of a test": "test-9f2c71ab04de68b35a",
    "a word with a number": "9f2c71ab04de-demo1-68b35a",
    "the administrator": "admin9f2c71ab04de68b35a",
    "a row of the keyboard": "qwertyuiopasdfgh",
    "one character": "aaaaaaaaaaaaaaaa",
    "two characters": "a7a7a7a7a7a7a7a7",
    "pairs": "1111222233334444",
    "the hexadecimal digits": "0123456789abcdef",
    "the alphabet backwards": "zyxwvutsrqponmlk",
    "a short text, twice": "iloveyouiloveyou",
    "a short text and its start": "k7Rw2xQ9k7Rw2xQ9k7R",
}


def check(env: str = "production", **changes: Any) -> None:
    check_secrets(
        Settings(**{"home": Path("nowhere"), "env": env, "api_keys": [FIRST], "link_secret": LINK, **changes})
    )


def refusal(**changes: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        check(**changes)
    return str(caught.value)


@pytest.mark.parametrize("env", ["staging", "production"])
def test_outside_a_local_environment_keys_and_a_link_secret_are_required(env: str) -> None:
    assert refusal(env=env, api_keys=[]) == f"RATCHET_API_KEYS: RATCHET_ENV={env} needs at least one API key, got none"
    for missing in (None, ""):
        assert f"RATCHET_LINK_SECRET: RATCHET_ENV={env} needs one, got none" in refusal(env=env, link_secret=missing)
    check(env, api_keys=[FIRST, SECOND])


@pytest.mark.parametrize("weak", [pytest.param(value, id=name) for name, value in WEAK.items()])
def test_a_weak_secret_is_refused_in_each_place_and_not_repeated(weak: str) -> None:
    for variable, changes in (
        ("RATCHET_API_KEYS", {"api_keys": [FIRST, weak]}),
        ("RATCHET_LINK_SECRET", {"link_secret": weak}),
    ):
        message = refusal(**changes)
        assert message.startswith(variable)
        assert "openssl rand -hex 24" in message
        assert "\n" not in message
        assert weak not in message


def test_a_short_secret_is_refused_with_its_length() -> None:
    assert "needs at least 16 characters, one has 15" in refusal(api_keys=[FIRST, SECOND[:15]])
    assert "needs at least 16 characters, one has 7" in refusal(link_secret="hunter2")
    check(api_keys=[SECOND[:16]])


def test_a_local_service_refuses_a_short_link_secret_only() -> None:
    assert "RATCHET_LINK_SECRET: a secret needs" in refusal(env="local", link_secret="hunter2")
    check("local", api_keys=[], link_secret=None)
    check("local", api_keys=["short", "short"], link_secret="changemechangeme")


@pytest.mark.parametrize("alike", [LINK, LINK.upper(), LINK + "2", "x" + LINK])
def test_a_key_that_is_like_the_link_secret_is_refused(alike: str) -> None:
    message = refusal(api_keys=[FIRST, alike])
    assert message.startswith("RATCHET_API_KEYS and RATCHET_LINK_SECRET are equal or contain one another")
    assert alike not in message


def test_two_keys_that_are_alike_are_refused() -> None:
    assert refusal(api_keys=[FIRST, SECOND, FIRST]).startswith("two keys of RATCHET_API_KEYS are equal")


@pytest.mark.parametrize(
    ("variable", "field"),
    [
        ("RATCHET_DATABASE_URL", "database_url"),
        ("RATCHET_STUDY_URL", "study_url"),
        ("MLFLOW_TRACKING_URI", "mlflow_uri"),
    ],
)
def test_a_password_of_a_database_that_is_like_a_key_is_refused(variable: str, field: str) -> None:
    message = refusal(**{field: f"postgresql://ratchet:{FIRST}@127.0.0.1/ratchet"})
    assert f"RATCHET_API_KEYS and {variable} are equal" in message
    assert FIRST not in message
    check(**{field: f"postgresql://ratchet:{SECOND}@127.0.0.1/ratchet"})
    check(**{field: "postgresql://ratchet:ratchet@127.0.0.1/ratchet"})


def test_a_password_of_libpq_that_is_like_the_link_secret_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", LINK)
    assert "RATCHET_LINK_SECRET and PGPASSWORD are equal" in refusal()


def test_two_stores_may_have_one_password() -> None:
    url = f"postgresql://ratchet:{SECOND}@127.0.0.1/"
    check(database_url=url + "ratchet", study_url=url + "studies")


def test_random_secrets_are_accepted() -> None:
    """As the documentation and the compose project generate them."""
    # Seeded: one of 100,000 secrets contains a word of the defaults by chance, and is refused.
    generator = random.Random(0)
    for _ in range(200):
        url_safe = base64.urlsafe_b64encode(generator.randbytes(32)).decode().rstrip("=")
        check(api_keys=[generator.randbytes(24).hex(), url_safe], link_secret=generator.randbytes(20).hex())


def test_the_secrets_of_the_compose_project_are_accepted(tmp_path: Path) -> None:
    script = tmp_path / "deploy" / "secrets"
    script.parent.mkdir()
    script.write_text((ROOT / "deploy" / "secrets").read_text())
    subprocess.run(["sh", str(script)], check=True)
    made = dict(line.split("=", 1) for line in (tmp_path / ".env").read_text().splitlines())
    check(api_keys=[made["API_KEY"], made["METRICS_KEY"]], link_secret=made["LINK_SECRET"])

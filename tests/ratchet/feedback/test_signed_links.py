from __future__ import annotations

import multiprocessing
import stat
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from itsdangerous import BadSignature, SignatureExpired, URLSafeTimedSerializer

from ratchet.errors import UnavailableError
from ratchet.feedback.signed_links import _SALT, _SIGNED, Links
from ratchet.settings import Settings

SECRET = "a-secret-of-the-tests"


def links(home: Path = Path("nowhere"), env: str = "production", secret: str | None = SECRET, **more: Any) -> Links:
    return Links(Settings(home=home, env=env, link_secret=secret, **more))


def test_a_token_names_its_prediction_and_its_expiry() -> None:
    token, expires_at = links(link_lifetime=60.0).token("01a1")
    assert links().prediction_id(token) == "01a1"
    assert expires_at == pytest.approx(time.time() + 60, abs=2)


def test_a_token_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    token, _ = links().token("01a1")
    later = time.time() + 86_402
    monkeypatch.setattr(time, "time", lambda: later)
    with pytest.raises(SignatureExpired):
        links(link_lifetime=86_400.0).prediction_id(token)
    assert links(link_lifetime=86_500.0).prediction_id(token) == "01a1"


def test_a_token_signed_with_another_secret_is_refused() -> None:
    token, _ = links(secret="another-secret-of-the-tests").token("01a1")
    with pytest.raises(BadSignature):
        links().prediction_id(token)


def test_a_token_signed_for_another_purpose_is_refused() -> None:
    for salt in ("itsdangerous", "ratchet", ""):
        with pytest.raises(BadSignature):
            links().prediction_id(URLSafeTimedSerializer(SECRET, salt=salt).dumps("01a1"))


@given(st.data())
def test_a_token_that_was_changed_anywhere_is_refused(data: st.DataObject) -> None:
    token, _ = links().token("01a1")
    place = data.draw(st.integers(0, len(token) - 1))
    character = data.draw(st.characters(codec="utf-8").filter(lambda found: found != token[place]))
    changed = token[:place] + character + token[place + 1 :]
    # In the signature the last digit of base 64 has bits that mean nothing, and two digits have two forms.
    same = {"-": "+", "_": "/"}.get(token[place]) == character and place > token.rindex(".")
    if place != len(token) - 1 and not same:
        with pytest.raises(BadSignature):
            links().prediction_id(changed)


@given(st.text())
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(BadSignature):
        links().prediction_id(text)


def test_a_local_service_without_a_secret_creates_one_in_its_home(tmp_path: Path) -> None:
    token, _ = links(tmp_path / "home", "local", None).token("01a1")
    kept = tmp_path / "home" / "link.key"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert len(kept.read_text()) == 64
    assert links(tmp_path / "home", "local", None).prediction_id(token) == "01a1"
    assert [path.name for path in kept.parent.iterdir()] == ["link.key"]


@pytest.mark.parametrize("kept", [b"", b"\n", b"hunter2", b" " * 64, b"\xff" * 64])
def test_a_secret_in_the_home_that_can_be_guessed_is_not_used(
    tmp_path: Path, kept: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "link.key").write_bytes(kept)
    opened = links(tmp_path, "local", None)
    forged, _ = links(secret=SECRET).token("01a1")
    for use in (lambda: opened.token("01a1"), lambda: opened.prediction_id(forged)):
        with pytest.raises(UnavailableError, match="links cannot be signed"):
            use()
    assert str(tmp_path / "link.key") in caplog.text
    assert (tmp_path / "link.key").read_bytes() == kept
    (tmp_path / "link.key").unlink()
    assert opened.token("01a1"), "as the log advises"


def test_a_token_that_was_forged_with_an_empty_secret_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link.key").touch()
    forged = URLSafeTimedSerializer("", salt=_SALT, signer_kwargs=_SIGNED).dumps("01a1")
    with pytest.raises(UnavailableError):
        links(tmp_path, "local", None).prediction_id(forged)


def test_a_local_service_with_a_secret_creates_no_file(tmp_path: Path) -> None:
    token, _ = links(tmp_path, "local").token("01a1")
    assert links(tmp_path, "local").prediction_id(token) == "01a1"
    assert list(tmp_path.iterdir()) == []


def test_processes_that_start_together_create_one_secret(tmp_path: Path) -> None:
    # No fork of this process, whose threads can hold a lock that the copy then waits for.
    context = multiprocessing.get_context("forkserver")
    with context.Pool(4, initializer=_wait_for_all, initargs=(context.Barrier(4),)) as pool:
        tokens = pool.map(_token, [tmp_path / "home"] * 24)
    assert {links(tmp_path / "home", "local", None).prediction_id(token) for token in tokens} == {"01a1"}


def _wait_for_all(barrier: Barrier) -> None:
    barrier.wait(60)


def _token(home: Path) -> str:
    return links(home, "local", None).token("01a1")[0]


def test_no_link_is_created_if_the_home_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file where the home would be")
    with pytest.raises(UnavailableError, match="links cannot be signed"):
        links(tmp_path / "home", "local", None).token("01a1")

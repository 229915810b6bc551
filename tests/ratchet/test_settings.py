from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from ratchet.errors import ConfigError, StateError
from ratchet.settings import Settings, load_settings, one_run_at_a_time, prepare_home, quiet_environment
from tests.conftest import ROOT


@pytest.mark.sqlite("the home's own stores")
def test_everything_lives_in_the_home_by_default(scratch: Settings) -> None:
    assert scratch.tracking_uri == f"sqlite:///{scratch.home}/mlflow.db"
    assert scratch.mlflow_artifacts == (scratch.home / "mlartifacts").as_uri()


def test_the_standard_names_of_other_tools_are_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    monkeypatch.setenv("ZENML_STORE_URL", "http://127.0.0.1:8237")
    settings = load_settings()
    assert settings.tracking_uri == "http://127.0.0.1:5000"
    assert settings.zenml_store_url == "http://127.0.0.1:8237"
    assert settings.mlflow_artifacts is None, "a server decides where its artifacts go"


def test_a_password_is_not_shown() -> None:
    assert Settings(mlflow_uri="postgresql://me:secret@db/x").tracking_place == "postgresql://me:***@db/x"
    assert Settings(mlflow_uri="http://127.0.0.1:5000").tracking_place == "http://127.0.0.1:5000"


def test_artifacts_are_stored_at_the_root_of_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RATCHET_ARTIFACT_ROOT", "s3://bucket/models")
    assert load_settings().mlflow_artifacts == "s3://bucket/models"


def test_a_wrong_value_names_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RATCHET_ENV", "moon")
    with pytest.raises(ConfigError, match="RATCHET_ENV: got 'moon'"):
        load_settings()


def test_a_setting_that_was_removed_has_no_effect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("RATCHET_PRODUCTION_TRUTH=alias\nRATCHET_ACTOR=ann\n")
    monkeypatch.chdir(tmp_path)
    assert load_settings().actor == "ann"
    monkeypatch.setenv("RATCHET_PRODUCTION_TRUTH", "alias")
    assert load_settings().actor == "ann"


def test_a_home_under_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StateError, match="cannot write to .*set RATCHET_HOME"):
        prepare_home(Settings(home=tmp_path / "file" / "home"))


def test_a_read_only_home_is_refused(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o555)
    program = (
        "from ratchet.settings import Settings, prepare_home\n"
        "from ratchet.errors import StateError\n"
        "import sys\n"
        "from pathlib import Path\n"
        "try: prepare_home(Settings(home=Path(sys.argv[1])))\n"
        "except StateError as error: print(error)\n"
    )
    # Without its capabilities even root has to respect a folder's mode.
    command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", sys.executable, "-c", program, str(home)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert "cannot write to" in done.stdout


def test_a_second_run_waits_and_then_names_the_lock(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, lock_timeout=0)
    with (
        FileLock(tmp_path / "run.lock"),
        pytest.raises(StateError, match="another run has held"),
        one_run_at_a_time(settings),
    ):
        pass


def test_the_lock_is_free_after_a_run(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, lock_timeout=0)
    for _ in range(2):
        with one_run_at_a_time(settings):
            assert (tmp_path / "run.lock").exists()


def test_telemetry_of_libraries_is_off_unless_the_user_sets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "false")
    monkeypatch.delenv("ZENML_ANALYTICS_OPT_IN", raising=False)
    quiet_environment()
    import os

    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "false"
    assert os.environ["ZENML_ANALYTICS_OPT_IN"] == "false"

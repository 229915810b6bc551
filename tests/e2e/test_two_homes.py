"""Two machines, here two homes, on one PostgreSQL server, one folder of artifacts and one DVC remote."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import Cli, new_database

MODEL = "two_homes"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_what_one_machine_trains_the_other_reports_on_and_the_doctor_finds_no_fault(
    cli: Cli, postgres: str, tmp_path: Path
) -> None:
    remote = tmp_path / "dvc" / "config"
    remote.parent.mkdir()
    remote.write_text(f"['remote \"team\"']\n    url = {tmp_path}/remote\n")
    together = {
        "RATCHET_DATABASE_URL": new_database(postgres, "two_homes_store"),
        "MLFLOW_TRACKING_URI": new_database(postgres, "two_homes_mlflow"),
        "RATCHET_ARTIFACT_ROOT": (tmp_path / "artifacts").as_uri(),
        "RATCHET_DVC_REMOTE": "team",
        "DVC_GLOBAL_CONFIG_DIR": str(remote.parent),
    }

    def on(machine: str, *words: str, **env: str) -> tuple[int, str, str]:
        folder = tmp_path / machine
        own = {f"RATCHET_{name}": str(folder / name.lower()) for name in ("HOME", "MODELS_DIR", "DATA_DIR")}
        run = cli(*words, **own, **together | env)
        return run.returncode, run.stdout, run.stderr

    code, _, errors = on("first", "--config", "continuous_training.yaml", "--set", f"model={MODEL}")
    assert code == 0, errors
    code, output, errors = on("second", "report", "--model", MODEL)
    assert code == 0, errors
    assert "has no predictions yet" in output
    assert len(list((tmp_path / "second" / "home" / "snapshots").iterdir())) == 1

    # A run of its own gives the second home a store of ZenML, which does not show the first one's promotion.
    code, _, errors = on("second", "--config", "baseline.yaml", "--set", "model=own")
    assert code == 0, errors
    code, output, errors = on("second", "doctor", "--model", MODEL)
    assert (code, output.startswith("mirror_differs: ZenML shows version none")) == (0, True), output + errors
    assert on("second", "doctor", "--model", MODEL, "--repair")[0] == 0
    assert on("second", "doctor", "--model", MODEL)[1] == "nothing is wrong\n"

    code, output, errors = on("second", "doctor", "--machines")
    assert (code, output.splitlines()[-1]) == (0, "nothing differs"), output + errors
    code, output, _ = on("third", "doctor", "--machines", "--json", RATCHET_DVC_REMOTE="")
    assert code == 1
    (line,) = json.loads(output)["differences"]
    assert line.startswith("DVC remote (RATCHET_DVC_REMOTE): ")
    _, _, errors = on("third", "--config", "continuous_training.yaml", "--set", "model=alone", RATCHET_DVC_REMOTE="")
    assert "other homes use this store (" in errors

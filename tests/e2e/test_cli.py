"""The command line: output and exit status; as a process of its own where signals, terminals or imports matter."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

from ratchet.registry.production_pointer import ProductionPointer
from ratchet.settings import Settings
from ratchet.tracking import connect
from tests.conftest import ROOT, Cli, of_no_home
from tests.homes import prepared


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A home that only these tests use."""
    folder = tmp_path_factory.mktemp("cli")
    return {"RATCHET_HOME": str(prepared(folder / "home")), "RATCHET_MODELS_DIR": str(folder / "models")}


def refused(result: subprocess.CompletedProcess[str]) -> str:
    """The one line of a refusal, without the progress lines before it."""
    lines = [line for line in result.stderr.splitlines() if not line.startswith(("✓", "✗"))]
    assert result.returncode == 2, result.stderr
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    assert "Traceback" not in result.stderr
    return lines[0]


def test_help_needs_no_heavy_library(cli: Cli) -> None:
    program = (
        "import sys; sys.argv = ['run.py', '--help']\n"
        "import runpy\n"
        "try: runpy.run_path('run.py', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "heavy = {'zenml', 'mlflow', 'sklearn', 'pandas', 'numpy', 'pydantic'} & set(sys.modules)\n"
        "print('HEAVY', sorted(heavy))\n"
    )
    process = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "--config" in process.stdout
    assert "HEAVY []" in process.stdout


def test_a_locale_without_arrows_is_no_error(cli: Cli) -> None:
    result = cli("--config", "baseline.yaml", "--dry-run", PYTHONIOENCODING="ascii")
    assert (result.returncode, "# plan: ingest \\u2192 embed" in result.stdout) == (0, True), result.stderr


def test_the_version_is_one_line_with_those_of_the_parts(here: Cli) -> None:
    result = here("--version")
    assert (result.returncode, result.stdout.count("\n")) == (0, 1)
    assert re.fullmatch(r"ratchet [\d.]+ \(Python 3\S+ zenml \S+ mlflow \S+ scikit-learn .*\)\n", result.stdout)


def test_without_arguments_it_prints_its_usage(here: Cli) -> None:
    assert "Usage" in here().stdout


def test_the_baseline_ends_with_its_table_and_exit_status_0(cli: Cli, home: dict[str, str]) -> None:
    result = cli("--config", "baseline.yaml", **home)
    assert result.returncode == 0, result.stderr
    for part in (
        "f1_macro",
        "0.9333",
        "iris version 1, stage Production",
        "MLflow run",
        "ZenML run",
        "promote",
        "next",
    ):
        assert part in result.stdout
    assert result.stdout.startswith("f1_macro"), "nothing of ZenML's own"
    steps = [line.split()[1] for line in result.stderr.splitlines()]
    assert steps == ["ingest", "embed", "train", "evaluate", "drift_check", "promote"]
    record = json.loads((Path(home["RATCHET_MODELS_DIR"]) / "iris" / "metrics.json").read_text())
    assert (record["version"], record["stage"], record["seed"]) == ("1", "Production", 42)


@pytest.mark.slow
def test_verbose_shows_the_output_of_libraries(cli: Cli, home: dict[str, str]) -> None:
    result = cli("--config", "baseline.yaml", "-v", **home)
    assert "Initiating a new run for the pipeline" in result.stdout + result.stderr


@pytest.mark.slow
def test_two_runs_at_once_both_end_well(cli: Cli, home: dict[str, str]) -> None:
    command = [sys.executable, "run.py", "--no-cache", "--set", "model=twins", "--config"]
    env = {**of_no_home(), **home}
    runs = [
        subprocess.Popen([*command, name], cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for name in ("baseline.yaml", "variation_svm.yaml")
    ]
    for run in runs:
        _, errors = run.communicate(timeout=200)
        assert run.returncode == 0, errors
    folder = Path(home["RATCHET_HOME"])
    settings = Settings(home=folder)
    assert len(connect(settings).search_model_versions("name = 'twins'")) == 2
    assert ProductionPointer(settings, "twins").current() is not None


def test_a_dry_run_prints_config_and_plan_and_writes_nothing(here: Cli, scratch: Settings) -> None:
    result = here("--config", "baseline", "--set", "train.params.C=0.1", "--dry-run")
    assert result.returncode == 0
    assert yaml.safe_load(result.stdout)["train"]["params"]["C"] == 0.1
    assert "# plan: ingest → embed → train → evaluate → drift_check → promote" in result.stdout
    assert not scratch.home.exists()


def test_the_schema_is_json_schema(here: Cli) -> None:
    schema = json.loads(here("schema").stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for path in sorted((ROOT / "configs").rglob("*.yaml")):
        assert validator.is_valid(yaml.safe_load(path.read_text())), path


def test_a_wrong_config_ends_the_process_with_status_2(cli: Cli) -> None:
    assert "no config file 'basline.yaml'" in refused(cli("--config", "basline.yaml"))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trian.x=1", "unknown key 'trian'; did you mean 'train' or 'tracking'?"),
        ("seed=abc", "seed: got 'abc': input should be a valid integer"),
        ("train.estimator=sklearn.ensemble.RandomForrest", "did you mean"),
        ("train.estimator=subprocess.Popen", "not from an allowed package"),
        ("train.params.penalti=l2", "no hyper-parameter 'penalti'"),
        ("embed.n_components=9", "n_components: got 9, but 4 encoded features in 120 training rows"),
        ("nonsense", "expected key.key=value"),
    ],
)
def test_a_wrong_value_is_one_line_and_status_2(here: Cli, override: str, message: str) -> None:
    assert message in refused(here("--config", "baseline.yaml", "--set", override))


BROKEN = {
    "no such target": ("a,b\n1,x\n2,y\n", "there is no column 'kind'"),
    "ragged": ("a,kind\n1,x\n2\n", "line 3: expected 2 fields, got 1"),
    "text among numbers": ("a,kind\n1,x\n2,y\n3,x\nfour,y\n", "expected a number, got 'four' in row 4"),
    "one class": ("a,kind\n1,x\n2,x\n", "only one class"),
    "duplicate columns": ("a,a,kind\n1,2,x\n", "is 2 times in the header"),
    "no rows": ("a,kind\n", "no rows"),
    "no target": ("a,kind\n1,x\n2,\n", "is missing in row 2"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_broken_data_are_one_line_and_status_2(here: Cli, settings: Settings, tmp_path: Path, fault: str) -> None:
    text, message = BROKEN[fault]
    path = tmp_path / "data.csv"
    path.write_text(text)
    name = "broken_" + fault.replace(" ", "_")
    dataset = f"dataset={{source: csv, path: {path}, target: kind}}"
    assert message in refused(here("--config", "baseline", "--set", dataset, "--set", f"model={name}"))
    assert not (settings.models_dir / name).exists()
    assert not connect(settings).search_model_versions(f"name = '{name}'")


def test_a_read_only_home_is_one_line_and_status_2(cli: Cli, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o555)
    # Without its capabilities even root cannot write to the folder.
    powerless = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
    line = refused(cli("--config", "baseline.yaml", prefix=powerless, RATCHET_HOME=str(home)))
    assert "cannot write to" in line
    assert "set RATCHET_HOME" in line
    assert list(home.iterdir()) == []


def test_a_wrong_setting_is_one_line_and_status_2(here: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RATCHET_ENV", "moon")
    assert "RATCHET_ENV: got 'moon'" in refused(here("--config", "baseline.yaml"))


def test_a_bug_of_ours_keeps_its_traceback(tmp_path: Path) -> None:
    program = (
        "import sys, run\n"
        "sys.argv = ['run.py', 'schema']\n"
        "import commands.console.formats\n"
        "def broken(value): raise KeyError('ours')\n"
        "commands.console.formats.print_json = broken\n"
        "run.main()\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert result.returncode == 1
    assert "KeyError: 'ours'" in result.stderr

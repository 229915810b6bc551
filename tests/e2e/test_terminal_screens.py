"""The final screens of the commands that repaint: in a pseudo-terminal of 80 and of 120 columns."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from pipelines.runner import STEPS
from ratchet.settings import Settings
from tests.homes import prepared
from tests.serving.running import Service, serving
from tests.terminal import RUN, WIDTHS, Screen, Terminal, shown_by

pytestmark = pytest.mark.slow

# The titles of the table at the end of a training, without the metrics.
TABLE = ("model", "decision", "in Production", "drift", "steps", "MLflow run", "ZenML run", "files", "next")
# A simulation of two phases, as fast as it goes.
SHORT = (
    *("--set", "stream.rate=0", "--set", "stream.rows=80", "--set", "labels.delay=0", "--set", "labels.share=1"),
    *("--set", "drift=[{kind: mean_shift, at: 40, columns: {sepal_length: -2.0}}]"),
)
LOOP = ("--config", "continuous_training.yaml", "--set", "production.holdout=0.2")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A home that only these tests use."""
    folder = tmp_path_factory.mktemp("screens")
    folders = {f"RATCHET_{name.upper()}_DIR": str(folder / name) for name in ("models", "data")}
    return {"RATCHET_HOME": str(prepared(folder / "home")), **folders}


@pytest.fixture(scope="module")
def trained(home: dict[str, str]) -> dict[int, Screen]:
    """The screens of the first training, and of the same one from the cache."""
    return {columns: shown_by([*RUN, "--config", "iris"], columns=columns, **home) for columns in WIDTHS}


@pytest.fixture(scope="module")
def service(home: dict[str, str], trained: dict[int, Screen]) -> Iterator[Service]:
    """The service of the trained version."""
    folder = Path(home["RATCHET_HOME"])
    settings = Settings(home=folder, models_dir=Path(home["RATCHET_MODELS_DIR"]))
    with serving(settings, "iris", folder.parent / "service") as running:
        yield running


@pytest.fixture(scope="module")
def simulated(home: dict[str, str], service: Service) -> dict[int, Screen]:
    """The screens of simulations, whose rows and labels are in the store then."""
    return {columns: shown_by([*simulation(service), *SHORT], columns=columns, **home) for columns in WIDTHS}


def simulation(service: Service) -> list[str]:
    return [*RUN, "simulate", "--url", f"http://127.0.0.1:{service.port}"]


def is_table_after_steps(screen: Screen, steps: Sequence[str], titles: Sequence[str], columns: int) -> None:
    """The steps stand above the table, each once with its mark, and every line of the table is there."""
    assert screen.status == 0, screen.text
    assert screen.widest <= columns, screen.text
    marked = [line.split()[1] for line in screen.lines if line.startswith("✓")]
    assert marked == list(steps), screen.text
    below = screen.lines[max(at for at, line in enumerate(screen.lines) if line.startswith("✓")) + 1 :]
    found = [title for line in below for title in set(titles) if line.startswith(f"{title}  ")]
    assert found == list(titles), screen.text
    assert not re.search(r"[⠀-⣿]", screen.text), "a spinner is left"


@pytest.mark.parametrize("columns", WIDTHS)
def test_a_training_ends_with_its_steps_and_its_whole_table(trained: dict[int, Screen], columns: int) -> None:
    screen = trained[columns]
    is_table_after_steps(screen, STEPS, ("f1_macro", *TABLE), columns)
    assert "  accuracy" in screen.text
    assert screen.lines[-1].startswith("next ")
    assert (screen.lines[0].endswith("cached")) == (columns == 120), "the second run takes it from the cache"


def test_a_training_has_colours_by_meaning_and_a_link_to_its_run(trained: dict[int, Screen]) -> None:
    first, again = trained[80], trained[120]
    assert (first.colour_of("✓"), first.colour_of("promoted: ")) == ("green", "green")
    assert (first.colour_of("ingest"), first.colour_of("next")) == ("default", "default")
    assert again.colour_of("unchanged") == "default"
    run = next(line.split()[2] for line in first.lines if line.startswith("MLflow run"))
    assert first.links == (f"http://127.0.0.1:5000/#/runs/{run}",)
    assert first.lines[-1].endswith("run.py serve --model iris")
    assert again.lines[-1].endswith("run.py compare --model iris")


def test_a_failed_step_is_red_and_the_steps_after_it_have_no_mark(home: dict[str, str]) -> None:
    screen = shown_by([*RUN, "--config", "iris", "--set", "model=failed", "--set", "embed.n_components=9"], **home)
    assert screen.status == 2
    assert screen.colour_of("✗") == "red"
    at = next(at for at, line in enumerate(screen.lines) if line.startswith("✗ embed"))
    assert [line.strip() for line in screen.lines[at + 1 : at + 5]] == ["train", "evaluate", "drift_check", "promote"]
    message = screen.lines[at + 5 :]
    assert " ".join(message).startswith("error: embed.n_components: got 9, but 4 encoded features in 120 training rows")
    assert message[0].endswith(" rows"), "the terminal breaks it between words"
    assert "Traceback" not in screen.text


@pytest.fixture(scope="module")
def tuned(home: dict[str, str]) -> dict[int, Screen]:
    """The screens of two studies whose best trial is refused; the second without colours."""
    few = ("--set", "search.trials=2", "--set", "search.folds=2", "--set", "evaluate.minimum=0.999")
    command = [*RUN, "--config", "iris/tuning", *few, "--set"]
    return {
        80: shown_by([*command, "model=tuned"], columns=80, **home),
        120: shown_by([*command, "model=plain"], columns=120, NO_COLOR="1", **home),
    }


@pytest.mark.parametrize("columns", WIDTHS)
def test_a_tuning_ends_with_its_trials_and_both_tables(tuned: dict[int, Screen], columns: int) -> None:
    screen = tuned[columns]
    steps = ("ingest", "tune", *STEPS[1:])
    is_table_after_steps(screen, steps, ("study", "trials", "config", "MLflow run", *TABLE), columns)
    trials = [line for line in screen.lines if re.match(r"  trial \d+ ", line)]
    assert len(trials) == 2, screen.text
    assert len(screen.links) == 2


def test_a_refusal_is_yellow_and_no_color_is_honoured(tuned: dict[int, Screen]) -> None:
    assert tuned[80].colour_of("refused: ") == "brown", "which terminals show as yellow"
    assert tuned[120].colour_of("refused: ") == "default"
    assert {colour for line in tuned[120].colours for colour in line} == {"default"}


@pytest.mark.parametrize("columns", WIDTHS)
def test_a_simulation_ends_with_its_phases(simulated: dict[int, Screen], columns: int) -> None:
    screen = simulated[columns]
    assert (screen.status, screen.widest <= columns) == (0, True), screen.text
    assert "80 rows answered" in screen.text
    assert re.search(r"(?m)^(phase +)?before\b", screen.text), screen.text
    assert re.search(r"(?m)^(phase +)?mean_shift at 40\b", screen.text), screen.text


@pytest.mark.parametrize("columns", WIDTHS)
def test_a_report_ends_with_its_results(home: dict[str, str], simulated: dict[int, Screen], columns: int) -> None:
    screen = shown_by([*RUN, "report", "--model", "iris"], columns=columns, **home)
    titles = ("iris", "drift", "files", "MLflow run", "ZenML run", "pages")
    is_table_after_steps(screen, ("report",), titles, columns)
    assert len(screen.links) == 1


def test_continuous_training_ends_with_its_table_or_says_that_there_is_nothing_to_run(
    home: dict[str, str], simulated: dict[int, Screen]
) -> None:
    screen = shown_by([*RUN, *LOOP], columns=80, **home)
    is_table_after_steps(screen, STEPS, TABLE, 80)
    assert "continuous training run 1 (watermark" in screen.text
    again = shown_by([*RUN, *LOOP], columns=120, **home)
    assert (again.status, again.widest <= 120) == (0, True)
    assert again.lines[0].startswith("nothing to run: continuous training run 1"), "no steps are left above it"


@pytest.mark.parametrize("columns", WIDTHS)
def test_watch_prints_lines_that_fit_and_ctrl_c_stops_it(
    home: dict[str, str], trained: dict[int, Screen], columns: int
) -> None:
    quiet = ("--set", "triggers.every_k_labels=100000", "--set", "triggers.interval=0.2", "--set", "triggers.cron=null")
    with Terminal([*RUN, "watch", *LOOP, *quiet], columns=columns, **home) as terminal:
        terminal.wait_for("/100000 labels, drift 0/2, quality 0/2")
        terminal.interrupt()
        screen = terminal.end()
    assert screen.status == 0
    times = r"^(\^C)?\d\d:\d\d:\d\d "
    assert all(re.match(times, line) for line in screen.lines), "every line is an event, and none is wrapped"
    assert screen.lines[-1].endswith("stopping")
    assert len(screen.lines) == 3, screen.text


def test_watch_prints_the_details_of_its_triggers_on_request(home: dict[str, str], trained: dict[int, Screen]) -> None:
    quiet = ("--set", "triggers.every_k_labels=100000", "--set", "triggers.cron=null", "--once", "-v")
    screen = shown_by([*RUN, "watch", *LOOP, *quiet], columns=120, **home)
    text = " ".join(screen.text.split())
    assert "drift in 0 of the last 0 windows, 2 of 3 are required" in text
    assert "nothing to do: " in text


def test_ctrl_c_ends_a_training_with_one_line(home: dict[str, str]) -> None:
    with Terminal([*RUN, "--config", "iris", "--no-cache", "--set", "model=interrupted"], **home) as terminal:
        terminal.wait_for("✓ ingest")
        terminal.interrupt()
        screen = terminal.end()
    assert screen.status == 130
    assert "Traceback" not in screen.text
    assert not re.search(r"[⠀-⣿]", screen.text), "a spinner is left"
    steps = [line.strip().split()[0 if line.startswith(" ") else 1] for line in screen.lines[: len(STEPS)]]
    assert steps == list(STEPS), screen.text
    message = " ".join(" ".join(screen.lines[len(STEPS) :]).split()).removeprefix("^C")
    assert message == "interrupted: run the same command again; a study continues where it stopped"


def test_ctrl_c_ends_a_simulation_with_its_summary(home: dict[str, str], service: Service) -> None:
    with Terminal([*simulation(service), "--set", "stream.rate=100"], **home) as terminal:
        terminal.wait_for("row 100: ")
        terminal.interrupt()
        screen = terminal.end()
    assert "ended early: " in screen.text
    assert "Traceback" not in screen.text


def test_the_shell_completes_commands_and_configs() -> None:
    """Typer's script for bash, sourced as ``--install-completion`` would have it sourced."""
    bin_folder = Path(sys.executable).parent
    with Terminal(["bash", "--norc", "--noprofile", "-i"], columns=100, PS1="$ ") as terminal:
        terminal.type(f'PATH="{bin_folder}:$PATH"; source <(./run.py --show-completion bash); echo read""y\n')
        terminal.wait_for("ready")
        terminal.type("./run.py hist\t")
        terminal.wait_for("./run.py history")
        terminal.type("\x15./run.py --config frau\t")
        terminal.wait_for("--config fraud")
        terminal.type("/t\t")
        terminal.wait_for("--config fraud/tuning.yaml")
        terminal.type("\x15exit\n")
        assert terminal.end().status == 0

"""The outputs of a comparison: files in a folder, and a run in MLflow."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ratchet.data.atomic_write import write_whole
from ratchet.errors import ConfigError
from ratchet.experiments.comparison.figures import interval_figure
from ratchet.experiments.comparison.table import Comparison
from ratchet.experiments.comparison.text import markdown
from ratchet.settings import Settings
from ratchet.tracking import comparisons_of, connect, ensure_experiment, reachable
from ratchet.tracking.lineage import PREFIX
from ratchet.tracking.markdown import description, run_note

RUN_NAME = "comparison"
PAGE, PICTURE = "comparison.md", "comparison.png"
_PIPELINE_TAG, _CONTENT_TAG = f"{PREFIX}pipeline", f"{PREFIX}comparison"


def write_comparison(comparison: Comparison, folder: Path) -> list[Path]:
    """Write the page and its picture into a folder, each atomically, and return their paths.

    Raises
    ------
    ConfigError: the folder cannot be created or written.
    """
    figure = interval_figure(comparison)
    pictures = [PICTURE] if figure else []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if figure:
            write_whole(folder / PICTURE, lambda path: figure.savefig(path, format="png"))
        page = markdown(comparison, pictures)
        write_whole(folder / PAGE, lambda path: path.write_text(page))
    except OSError as error:
        raise ConfigError(f"--output: cannot write to {folder} ({error.strerror}): choose another folder") from None
    return [folder / name for name in (PAGE, *pictures)]


def log_comparison(settings: Settings, comparison: Comparison) -> str:
    """Log page, picture and content to an MLflow run, unless an equal one is logged, and return the run's id.

    The run is in the experiment of the model's comparisons, and shows the page as its description.

    Raises
    ------
    RegistryError: MLflow cannot be reached.
    """
    content = comparison.model_dump_json()
    digest = hashlib.sha256(content.encode()).hexdigest()[:16]
    client, model = connect(settings), comparison.model
    experiment = ensure_experiment(settings, comparisons_of(model), f"The comparisons of the configs of {model}")
    with reachable(settings):
        where = f"tags.`{_CONTENT_TAG}` = '{digest}' and attributes.status = 'FINISHED'"
        logged = client.search_runs([experiment], where, max_results=1)
        if logged:
            return str(logged[0].info.run_id)
        tags = {_PIPELINE_TAG: RUN_NAME, _CONTENT_TAG: digest}
        run = str(client.create_run(experiment, tags=tags, run_name=RUN_NAME).info.run_id)
        figure = interval_figure(comparison)
        if figure:
            client.log_figure(run, figure, PICTURE)
        client.log_batch(run, tags=[run_note(description(*markdown(comparison).split("\n\n")))])
        client.log_text(run, markdown(comparison, [PICTURE] if figure else []), PAGE)
        client.log_dict(run, comparison.model_dump(mode="json"), "comparison.json")
        client.set_terminated(run)
    return run

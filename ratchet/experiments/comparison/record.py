"""Where a comparison goes: into a folder, and into a run of its own in MLflow."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ratchet.data.atomic_write import write_whole
from ratchet.errors import ConfigError
from ratchet.experiments.comparison.figures import figures
from ratchet.experiments.comparison.table import Comparison
from ratchet.experiments.comparison.text import markdown
from ratchet.settings import Settings
from ratchet.tracking import connect, reachable
from ratchet.tracking.lineage import PREFIX

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RUN_NAME = "comparison"
_PIPELINE_TAG, _CONTENT_TAG = f"{PREFIX}pipeline", f"{PREFIX}comparison"


def write_comparison(comparison: Comparison, folder: Path) -> list[Path]:
    """Write ``comparison.md`` and the pictures that it shows, each file as a whole.

    Raises
    ------
    ConfigError: the folder cannot be made or written.
    """
    drawn = figures(comparison)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, figure in drawn.items():
            write_whole(folder / name, lambda path, figure=figure: figure.savefig(path, format="png"))  # type: ignore[misc]
        page = markdown(comparison, list(drawn))
        write_whole(folder / "comparison.md", lambda path: path.write_text(page))
    except OSError as error:
        raise ConfigError(f"--output: cannot write to {folder} ({error.strerror}): choose another folder") from None
    return [folder / name for name in ("comparison.md", *drawn)]


def log_comparison(settings: Settings, comparison: Comparison) -> str:
    """Log page, content and pictures to a run named ``comparison``; the same comparison is logged once.

    The run has no outcome, so that it is never a row itself.

    Returns
    -------
    The run's id.

    Raises
    ------
    RegistryError: MLflow cannot be reached.
    """
    content = comparison.model_dump_json()
    digest = hashlib.sha256(content.encode()).hexdigest()[:16]
    client = connect(settings)
    with reachable(settings):
        where = f"tags.`{_CONTENT_TAG}` = '{digest}' and attributes.status = 'FINISHED'"
        logged = client.search_runs([comparison.experiment_id], where, max_results=1)
        if logged:
            return str(logged[0].info.run_id)
        tags = {_PIPELINE_TAG: RUN_NAME, _CONTENT_TAG: digest}
        run = str(client.create_run(comparison.experiment_id, tags=tags, run_name=RUN_NAME).info.run_id)
        drawn: Mapping[str, Figure] = figures(comparison)
        for name, figure in drawn.items():
            client.log_figure(run, figure, name)
        client.log_text(run, markdown(comparison, list(drawn)), "comparison.md")
        client.log_dict(run, comparison.model_dump(mode="json"), "comparison.json")
        client.set_terminated(run)
    return run

"""MLflow's pages, opened for classic training: the app of ``mlflow server --app-name ratchet``.

MLflow 3.17 opens all pages in its view of generative AI, with an assistant beside them, whatever the kind of the
experiment, until the user switches. The browser keeps that choice in its local storage, where this app sets a default.
"""

from __future__ import annotations

import json
from pathlib import Path

from flask import Response, request
from mlflow.server import app as _flask_app
from mlflow.server.fastapi_app import app

__all__ = ["app"]

# As the pages write them: the view, and whether the assistant has been shown once.
_DEFAULTS = {"mlflow.workflowType_v1": '"machine_learning"', "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true"}
_SCRIPT = f"""<script>
for (const [key, value] of Object.entries({json.dumps(_DEFAULTS)}))
  if (localStorage.getItem(key) === null) localStorage.setItem(key, value);
</script>"""


@_flask_app.before_request
def _index() -> Response | None:
    """Answer with MLflow's own page and the defaults, before its scripts read them."""
    if request.path != "/":
        return None
    page = Path(_flask_app.static_folder or "", "index.html").read_text(encoding="utf-8")
    return Response(page.replace("<script", f"{_SCRIPT}<script", 1), headers={"Cache-Control": "no-cache"})

"""The dashboards of the repository: read, walked through, and checked against the types that Grafana publishes."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.conftest import ROOT

GRAFANA = ROOT / "monitoring" / "grafana"
DASHBOARDS = sorted((GRAFANA / "dashboards").glob("*.json"))
SCHEMA = ROOT / "tests" / "monitoring" / "grafana_schema"
# The major versions of Grafana, and where the package with its types lies.
SCHEMAS = {"11": "schema-11", "12": "schema"}
# Kinds of panels that ask nothing.
SILENT = ("row", "alertlist")
# Variables that Grafana itself sets.
BUILT_IN = ("__rate_interval", "__interval", "__range")
_VARIABLE = re.compile(r"\$(?:\{(\w+)[^}]*\}|(\w+))")


class Target(NamedTuple):
    """A query of a panel or of an annotation.

    Attributes
    ----------
    where: dashboard, panel and letter, for a person.
    instant: it is asked for one moment, not for a span of time.
    legend: the name of its lines, with labels in double braces.
    """

    where: str
    expression: str
    instant: bool
    datasource: dict[str, str]
    legend: str = ""


def load(path: Path) -> dict[str, Any]:
    """A dashboard."""
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def panels(dashboard: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All panels, those of folded rows too."""
    for panel in dashboard["panels"]:
        yield panel
        yield from panel.get("panels", [])


def targets(path: Path) -> Iterator[Target]:
    """What the panels of a dashboard ask."""
    for panel in panels(load(path)):
        for target in panel.get("targets", []):
            where = f"{path.stem} / {panel['title']} / {target['refId']}"
            yield Target(where, target["expr"], target["instant"], target["datasource"], target["legendFormat"])


def marks(path: Path) -> Iterator[Target]:
    """What the annotations of a dashboard ask Prometheus."""
    for annotation in load(path)["annotations"]["list"]:
        if "target" in annotation:
            where = f"{path.stem} / annotation {annotation['name']}"
            yield Target(where, annotation["target"]["expr"], False, annotation["datasource"])


def asking(path: Path) -> list[dict[str, Any]]:
    """A dashboard's panels that ask something."""
    return [panel for panel in panels(load(path)) if panel["type"] not in SILENT]


def all_expressions() -> list[Target]:
    """All that panels and annotations ask."""
    return [each for path in DASHBOARDS for each in itertools.chain(targets(path), marks(path))]


def variables(value: Any) -> set[str]:
    """The names of all variables that a part of a dashboard uses."""
    return {plain or braced for braced, plain in _VARIABLE.findall(json.dumps(value))}


def substituted(expression: str, values: dict[str, str]) -> str:
    """An expression with its variables replaced as Grafana would.

    Raises
    ------
    KeyError: there is no value for a variable.
    """
    return _VARIABLE.sub(lambda found: values[found[1] or found[2]], expression)


def promtool(*words: str) -> str:
    """What promtool says; a test that needs it is skipped where it is not."""
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not on this machine; Debian has it as prometheus")
    done = subprocess.run(["promtool", *words], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def compiler(folder: Path) -> Path:
    """Install Grafana's types and a compiler that knows them, at the versions of the lock, in a folder of the test's.

    Raises
    ------
    AssertionError: npm cannot install them.
    """
    for name in ("package.json", "package-lock.json", "strict.ts"):
        shutil.copy(SCHEMA / name, folder)
    words = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"npm ci: {done.stderr}"
    return folder


def complaints(folder: Path, version: str, *dashboards: dict[str, Any]) -> list[str]:
    """What the compiler says of dashboards, a line each; none where Grafana's types have all that they say.

    Parameters
    ----------
    folder: where ``compiler`` installed it.
    version: Grafana's, one of ``SCHEMAS``.
    """
    for old in folder.glob("dashboard-*.ts"):
        old.unlink()
    for dashboard in dashboards:
        (folder / f"dashboard-{dashboard['uid']}.ts").write_text(as_types(dashboard))
    types = f"./node_modules/@grafana/{SCHEMAS[version]}"
    index = "dist/types/index.d.ts" if version == "12" else "dist/esm/index.d.ts"
    options: dict[str, Any] = {"strict": True, "noEmit": True, "skipLibCheck": True, "target": "es2022", "types": []}
    options |= {"module": "esnext", "moduleResolution": "bundler"}
    if version != "12":
        options["paths"] = {"@grafana/schema": [f"{types}/{index}"], "@grafana/schema/*": [f"{types}/*"]}
    (folder / "tsconfig.json").write_text(json.dumps({"compilerOptions": options, "include": ["*.ts"]}))
    words = ["node", "node_modules/typescript/bin/tsc", "--pretty", "false"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    return [line for line in done.stdout.splitlines() if line.strip()]


def as_types(dashboard: dict[str, Any]) -> str:
    """A dashboard as TypeScript: each part a literal of the type that it claims to be of."""
    lines = ['import type { Annotation, Frame, Panels } from "./strict";']
    frame = {key: value for key, value in dashboard.items() if key not in ("panels", "annotations")}
    lines.append(f"export const frame: Frame = {json.dumps(frame)};")
    for number, annotation in enumerate(dashboard["annotations"]["list"]):
        lines.append(f"export const annotation_{number}: Annotation = {json.dumps(annotation)};")
    for panel in panels(dashboard):
        kind = json.dumps(panel["type"])
        lines.append(f"export const panel_{panel['id']}: Panels[{kind}] = {json.dumps(panel)};")
    return "\n".join(lines) + "\n"

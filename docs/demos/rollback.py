"""``make demo-rollback``: promote version 1 and 2, roll back to 1 and promote 2 again, in a temporary home.

Each command runs as a process of its own, and its output is printed below it.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
COMMANDS = (
    ("The baseline is the first version, so it is promoted.", "--config baseline.yaml"),
    (
        "The support vector machine is not worse than the baseline by more than the margin: it replaces it.",
        "--config variation_svm.yaml --set promote.policy=not_worse --set promote.margin=0.05",
    ),
    ("Version 2 is in Production.", "status"),
    ("Roll back.", 'rollback --reason "complaints from the field"'),
    ("There is no earlier version to roll back to.", 'rollback --reason "and further"'),
    ("The complaints had another cause: promote version 2 again.", 'promote 2 --reason "it was the scanner"'),
    ("The ledger has all changes.", "history"),
    ("Stage, aliases and ledger agree.", "doctor"),
)


def main() -> None:
    """Run the commands; one that fails unexpectedly ends the demo."""
    with tempfile.TemporaryDirectory(prefix="ratchet-demo-") as folder:
        env = {**os.environ, "RATCHET_HOME": f"{folder}/home", "RATCHET_MODELS_DIR": f"{folder}/models"}
        env |= {"RATCHET_ACTOR": "ann", "COLUMNS": "120"}
        for remark, command in COMMANDS:
            print(f"# {remark}\n$ python run.py {command}", flush=True)
            words = [sys.executable, "run.py", *shlex.split(command)]
            run = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
            output = "\n".join(line.rstrip() for line in (run.stdout or run.stderr).splitlines())
            print(output.replace(f"{folder}/home", ".ratchet").replace(f"{folder}/", ""), end="\n\n", flush=True)
            if run.returncode != 0 and "further" not in command:
                sys.exit(f"it ended with status {run.returncode}: {run.stderr}")


if __name__ == "__main__":
    main()

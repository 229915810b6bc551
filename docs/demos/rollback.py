"""``make demo-rollback``: version 1, version 2, back to 1, forward to 2, in a scratch home that is thrown away.

Each command is the one that a person types, run as a process of its own; what it says is printed below it.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
STORY = (
    ("The baseline is the first version, so it goes into Production.", "--config baseline.yaml"),
    (
        "The support vector machine is no worse than the baseline by more than the margin: it replaces it.",
        "--config variation_svm.yaml --set promote.policy=not_worse --set promote.margin=0.05",
    ),
    ("Version 2 is in Production.", "status"),
    ("Somebody does not like what it says: one step back.", 'rollback --reason "complaints from the field"'),
    ("Another step back there is none.", 'rollback --reason "and further"'),
    ("The complaints were about something else: forward again.", 'promote 2 --reason "it was the scanner"'),
    ("All of it is in the ledger.", "history"),
    ("And all agree.", "doctor"),
)


def main() -> None:
    """Run the story; a command that fails where it should not ends it."""
    with tempfile.TemporaryDirectory(prefix="ratchet-demo-") as folder:
        env = {**os.environ, "RATCHET_HOME": f"{folder}/home", "RATCHET_MODELS_DIR": f"{folder}/models"}
        env |= {"RATCHET_ACTOR": "ann", "COLUMNS": "120"}
        for remark, command in STORY:
            print(f"# {remark}\n$ python run.py {command}", flush=True)
            words = [sys.executable, "run.py", *shlex.split(command)]
            run = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
            said = "\n".join(line.rstrip() for line in (run.stdout or run.stderr).splitlines())
            print(said.replace(f"{folder}/home", ".ratchet").replace(f"{folder}/", ""), end="\n\n", flush=True)
            if run.returncode != 0 and "further" not in command:
                sys.exit(f"it ended with status {run.returncode}: {run.stderr}")


if __name__ == "__main__":
    main()

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ratchet import user_identity
from tests.conftest import ROOT, of_no_home

_ASKS = {"getuser", "getlogin", "getpwuid", "getpwnam"}
_USER = ("LOGNAME", "USER", "LNAME", "USERNAME")


def test_a_user_without_an_entry_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_entry(_uid: int) -> None:
        raise KeyError("getpwuid(): uid not found: 12345")

    for name in _USER:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", no_entry)
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    assert user_identity.user_name() == "uid-12345"
    user_identity.complete_user_environment()
    assert (os.environ["LOGNAME"], Path.home()) == ("uid-12345", Path("/"))
    monkeypatch.undo()


def test_the_system_is_asked_for_the_user_in_one_module() -> None:
    folders = ("ratchet", "commands", "pipelines", "steps", "serving", "simulation")
    asking = [
        path.relative_to(ROOT)
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and (node.attr in _ASKS or ast.unparse(node) == "Path.home")
    ]
    assert {str(path) for path in asking} == {"ratchet/user_identity.py"}


@pytest.mark.slow
@pytest.mark.skipif(os.getuid() != 0 or shutil.which("setpriv") is None, reason="needs root, to become another user")
def test_a_user_without_an_entry_and_without_git_trains_and_reads(tmp_path: Path) -> None:
    # Another user than root cannot enter the folders of pytest, and may be unable to read root's interpreter.
    user = [str(shutil.which("setpriv")), "--reuid=12345", "--regid=12345", "--clear-groups"]
    command = [*user, "--inh-caps=+dac_override", "--ambient-caps=+dac_override", sys.executable, str(ROOT / "run.py")]
    env = {name: value for name, value in of_no_home().items() if name not in (*_USER, "HOME")}
    env |= {
        "RATCHET_HOME": str(tmp_path / "home"),
        "RATCHET_MODELS_DIR": str(tmp_path / "models"),
        "PATH": str(tmp_path),
    }
    for words in ("--config baseline.yaml", "status", "doctor", "lineage 1", "history --json"):
        run = subprocess.run(
            [*command, *words.split()], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, run.stderr
    assert '"actor": "uid-12345"' in run.stdout

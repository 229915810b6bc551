"""What has to be true of the repository itself."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))


def pins(lock: Path) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([\w.-]+)(?:\[[\w,]+\])?==([^\s;]+)", lock.read_text(), re.MULTILINE):
        found.setdefault(name, set()).add(version)
    return found


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_a_lock_has_hashes_and_no_address(lock: Path) -> None:
    text = lock.read_text()
    assert "://" not in text
    assert "index" not in re.sub(r"#.*", "", text)
    assert text.count("--hash=sha256:") > len(pins(lock))


@pytest.mark.parametrize("lock", [lock for lock in LOCKS if lock.stem != "dev"], ids=lambda lock: lock.stem)
def test_what_is_shipped_is_what_was_tested(lock: Path) -> None:
    tested = pins(ROOT / "requirements" / "dev.txt")
    for name, versions in pins(lock).items():
        assert versions <= tested.get(name, versions), name


@pytest.mark.parametrize("lock", ["training", "serving", "dev"])
def test_make_says_what_it_installs_and_shows_the_progress(lock: str) -> None:
    command = ["make", "--dry-run", "--always-make", f".venv/.{lock}"]
    lines = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    (said,) = [at for at, line in enumerate(lines) if re.search(rf"echo .*requirements/{lock}\.txt.* GB", line)]
    assert f"-r requirements/{lock}.txt" in lines[said + 1]
    assert "--quiet" not in lines[said + 1]


def test_every_setting_stands_in_the_example_file() -> None:
    from ratchet.settings import Settings

    example = (ROOT / ".env.example").read_text()
    for name, field in Settings.model_fields.items():
        variable = str(field.validation_alias or f"RATCHET_{name.upper()}")
        assert variable in example, variable


def test_no_package_imports_the_command_line() -> None:
    for folder in ("ratchet", "steps", "pipelines"):
        for path in (ROOT / folder).rglob("*.py"):
            assert not re.search(r"^\s*(import run\b|from run import)", path.read_text(), re.MULTILINE), path


def test_no_file_names_a_place_on_one_machine() -> None:
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    for name in files:
        path = ROOT / name
        if path.suffix in {".py", ".md", ".yaml", ".toml", ".json", ".cfg"} and path.is_file():
            found = re.search(r"(?<![\w.])/(work|root|home|Users)/\w+", path.read_text())
            assert found is None, f"{name}: {found and found[0]}"

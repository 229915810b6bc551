"""Load on a server by wrk: one record, sent again and again over a fixed number of connections."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CONNECTIONS = 16
THREADS = 1  # one wrk thread can ask several times more than any side here answers

_SCRIPT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = [==[{body}]==]

done = function(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '{{"requests": %d, "microseconds": %d, "p50": %.3f, "p99": %.3f, ' ..
    '"connect": %d, "read": %d, "write": %d, "timeout": %d, "status": %d}}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.connect, errors.read, errors.write, errors.timeout, errors.status))
end
"""


@dataclass(frozen=True)
class Load:
    """A load on a server: its requests, requests a second, and the median and 99th percentile of the latency."""

    requests: int
    rps: float
    p50_ms: float
    p99_ms: float

    def __str__(self) -> str:
        return f"{self.rps:,.0f} requests/s, p50 {self.p50_ms:.2f} ms, p99 {self.p99_ms:.2f} ms"


def require_wrk() -> None:
    """End the benchmark with one clear line where wrk is not installed."""
    if shutil.which("wrk") is None:
        sys.exit("wrk is missing: apt-get install -y wrk")


def write_script(path: Path, body: Any) -> Path:
    """Write what wrk is to send: a POST of this body as JSON."""
    path.write_text(_SCRIPT.format(body=json.dumps(body)), encoding="utf-8")
    return path


def put_load(url: str, script: Path, seconds: int) -> Load:
    """Put load on a server.

    Raises
    ------
    RuntimeError: an answer was an error, or a connection failed; such figures are worth nothing.
    """
    options = (f"-c{CONNECTIONS}", f"-t{THREADS}", f"-d{seconds}s", "--timeout", "20s", "-s", str(script))
    done = subprocess.run(("wrk", *options, url), capture_output=True, text=True, timeout=seconds + 60, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith('{"requests"')]
    if done.returncode or not lines:
        raise RuntimeError(f"wrk ended with status {done.returncode}:\n{done.stdout}{done.stderr}")
    return _checked(json.loads(lines[-1]))


def _checked(said: Mapping[str, float]) -> Load:
    errors = {kind: said[kind] for kind in ("connect", "read", "write", "timeout", "status") if said[kind]}
    if errors or not said["requests"]:
        raise RuntimeError(f"wrk: {said['requests']:.0f} answers, with errors {errors}")
    rps = said["requests"] / said["microseconds"] * 1e6
    return Load(int(said["requests"]), rps, said["p50"] / 1000, said["p99"] / 1000)

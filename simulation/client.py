"""A client of the prediction service that sits out a restart: over one connection, asking again for a while."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import urllib3
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

from ratchet.errors import ConfigError, InputError, Problem, RatchetError, UnavailableError
from ratchet.model.record_schema import Record
from simulation.row_pool import Label

_TIMEOUT = urllib3.Timeout(connect=5.0, read=60.0)
_LONGEST_PAUSE = 2.0


class _BusyError(UnavailableError):
    """No answer this time: nobody there, or a service in trouble; it may say when to come back."""

    def __init__(self, message: str, after: float = 0.0) -> None:
        super().__init__(message)
        self.after = after


@dataclass(frozen=True)
class Answer:
    """What the service said of one row."""

    prediction_id: str
    version: str
    prediction: Label


@dataclass(frozen=True)
class Feedback:
    """A label for a prediction."""

    prediction_id: str
    target: Label


class ServiceClient:
    """Asks a service for predictions and brings it labels.

    Parameters
    ----------
    url: where it listens, such as ``http://127.0.0.1:8000``.
    key: the API key, where it asks for one.
    patience: seconds to go on asking while it does not answer or says that it is in trouble.
    on_wait: is told once, when the waiting begins, what is waited for.

    Raises
    ------
    ConfigError: the URL is none of HTTP.
    """

    def __init__(
        self, url: str, key: str | None = None, patience: float = 60.0, on_wait: Callable[[str], None] | None = None
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise ConfigError(f"--url: got {url!r}, expected such as http://127.0.0.1:8000")
        self.url, self._patience = url.rstrip("/"), patience
        self._on_wait = on_wait
        self._pool = urllib3.PoolManager(timeout=_TIMEOUT, retries=False)
        self._headers = {"content-type": "application/json"} | ({"x-api-key": key} if key else {})

    def model(self) -> dict[str, Any]:
        """What it serves: ``name``, ``version``, ``signature``.

        Raises
        ------
        ConfigError: there is nobody, or somebody else.
        UnavailableError: it has no model, for longer than the patience.
        """
        try:
            self._pool.request("GET", f"{self.url}/livez", headers=self._headers)
        except urllib3.exceptions.HTTPError as error:
            raise ConfigError(
                f"no service at {self.url} ({_cause(error)}): start one with python run.py serve, or name it with --url"
            ) from None
        found = self._ask("GET", "/model")
        if not isinstance(found, dict) or not {"name", "version", "signature"} <= found.keys():
            raise ConfigError(f"{self.url}/model: this is no service of Ratchet")
        return found

    def predict(self, records: Sequence[Record]) -> list[Answer]:
        """An answer for each record.

        Raises
        ------
        InputError: the service refuses a record, and with it all that were sent together.
        UnavailableError: it did not answer within the patience.
        ConfigError: it asks for a key, or for smaller requests.
        """
        if len(records) == 1:
            said = self._ask("POST", "/predict", records[0])
            rows = [said]
        else:
            said = self._ask("POST", "/predict_batch", {"rows": list(records)})
            rows = said["predictions"]
        version = str(said["model"]["version"])
        return [Answer(row["prediction_id"], version, row["prediction"]) for row in rows]

    def feedback(self, labels: Sequence[Feedback]) -> list[str]:
        """Bring labels; the same label once more changes nothing.

        Returns
        -------
        Why labels were refused, one text for each that was: an unknown prediction or class, or a contradiction.

        Raises
        ------
        UnavailableError, ConfigError: as for ``predict``.
        """
        bodies = [{"prediction_id": label.prediction_id, "target": label.target} for label in labels]
        if not bodies:
            return []
        if len(bodies) > 1:
            said = self._ask("POST", "/feedback_batch", {"feedback": bodies})
            return [line["error"] for line in said["results"] if "error" in line]
        try:
            self._ask("POST", "/feedback", bodies[0])
        except InputError as error:
            return [str(error)]
        return []

    def _ask(self, method: str, path: str, value: Any = None) -> Any:
        body = None if value is None else json.dumps(value, allow_nan=False).encode()
        asking = Retrying(
            retry=retry_if_exception_type(_BusyError),
            wait=_pause,
            stop=stop_after_delay(self._patience),
            before_sleep=self._tell,
            reraise=True,
        )
        try:
            return asking(self._once, method, path, body)
        except _BusyError as error:
            raise UnavailableError(f"{self.url} gave no answer for {self._patience:g} s: {error}") from None

    def _once(self, method: str, path: str, body: bytes | None) -> Any:
        try:
            response = self._pool.request(method, f"{self.url}{path}", body=body, headers=self._headers)
        except urllib3.exceptions.HTTPError as error:
            raise _BusyError(_cause(error)) from None
        if response.status in (200, 201):
            return _json(response)
        raise self._refusal(path, response)

    def _refusal(self, path: str, response: urllib3.BaseHTTPResponse) -> RatchetError:
        said = _json(response)
        message = said.get("error", "") if isinstance(said, dict) else ""
        if response.status >= 500 or response.status == 429:
            after = response.headers.get("retry-after", "0")
            return _BusyError(f"{path}: {response.status} {message}", float(after) if after.isdigit() else 0.0)
        if response.status == 401:
            return ConfigError(f"{self.url} asks for an API key: set RATCHET_API_KEYS, or give --api-key")
        if response.status == 413:
            return ConfigError(f"{path}: the request is too large for {self.url}: lower stream.batch")
        if not message:
            return ConfigError(f"{self.url}{path}: answered {response.status}, this is no service of Ratchet")
        details = said.get("details") or [{"field": path, "message": message}]
        return InputError([Problem(one["field"], one["message"]) for one in details])

    def _tell(self, state: RetryCallState) -> None:
        if self._on_wait and state.attempt_number == 1 and state.outcome is not None:
            self._on_wait(f"{state.outcome.exception()}; asking again for up to {self._patience:g} s")


def _pause(state: RetryCallState) -> float:
    """What the service asks for, and otherwise longer each time."""
    error = state.outcome.exception() if state.outcome else None
    after = error.after if isinstance(error, _BusyError) else 0.0
    return max(after, wait_exponential(multiplier=0.05, max=_LONGEST_PAUSE)(state))


def _json(response: urllib3.BaseHTTPResponse) -> Any:
    try:
        return json.loads(response.data)
    except ValueError:
        return None


def _cause(error: Exception) -> str:
    """What went wrong underneath, in the operating system's words where it has some."""
    below = next((one for one in (error.__cause__, *error.args) if isinstance(one, OSError)), error)
    return getattr(below, "strerror", None) or str(below)

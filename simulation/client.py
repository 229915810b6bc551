"""A client of the prediction service that retries for a limited time, so that it survives a restart."""

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
    """A request that can be retried: the service is unreachable or overloaded.

    Parameters
    ----------
    message: the cause.
    after: seconds after which the service asks for a retry.
    """

    def __init__(self, message: str, after: float = 0.0) -> None:
        super().__init__(message)
        self.after = after


@dataclass(frozen=True)
class Answer:
    """The service's answer for one row."""

    prediction_id: str
    version: str
    prediction: Label


@dataclass(frozen=True)
class Feedback:
    """A label for a prediction."""

    prediction_id: str
    target: Label


class ServiceClient:
    """Requests predictions from a service and sends labels to it.

    Parameters
    ----------
    url: of the service, such as ``http://127.0.0.1:8000``.
    key: the API key, where the service requires one.
    patience: seconds to retry a request while the service is unavailable.
    on_wait: called with the cause before the first retry of a request.

    Raises
    ------
    ConfigError: the URL is not HTTP.
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
        """Return the served model: ``name``, ``version``, ``signature``.

        Raises
        ------
        ConfigError: nothing listens at the URL, or another service does.
        UnavailableError: the service has no model for longer than ``patience``.
        """
        try:
            self._pool.request("GET", f"{self.url}/livez", headers=self._headers)
        except urllib3.exceptions.HTTPError as error:
            raise ConfigError(
                f"no service at {self.url} ({_cause(error)}): start one with python run.py serve, or name it with --url"
            ) from None
        found = self._request("GET", "/model")
        if not isinstance(found, dict) or not {"name", "version", "signature"} <= found.keys():
            raise ConfigError(f"{self.url}/model: this is not a service of Ratchet")
        return found

    def predict(self, records: Sequence[Record]) -> list[Answer]:
        """Return an answer for each record.

        Raises
        ------
        InputError: the service refuses a record, and with it the whole request.
        UnavailableError: the service did not answer within ``patience``.
        ConfigError: the service requires a key, or smaller requests.
        """
        if len(records) == 1:
            answer = self._request("POST", "/predict", records[0])
            rows = [answer]
        else:
            answer = self._request("POST", "/predict_batch", {"rows": list(records)})
            rows = answer["predictions"]
        version = str(answer["model"]["version"])
        return [Answer(row["prediction_id"], version, row["prediction"]) for row in rows]

    def feedback(self, labels: Sequence[Feedback]) -> list[str]:
        """Send labels; a label that is sent twice changes nothing.

        Returns
        -------
        The reason for each refused label: an unknown prediction or class, or a contradiction.

        Raises
        ------
        UnavailableError, ConfigError: as for ``predict``.
        """
        bodies = [{"prediction_id": label.prediction_id, "target": label.target} for label in labels]
        if not bodies:
            return []
        if len(bodies) > 1:
            answer = self._request("POST", "/feedback_batch", {"feedback": bodies})
            return [line["error"] for line in answer["results"] if "error" in line]
        try:
            self._request("POST", "/feedback", bodies[0])
        except InputError as error:
            return [str(error)]
        return []

    def _request(self, method: str, path: str, value: Any = None) -> Any:
        body = None if value is None else json.dumps(value, allow_nan=False).encode()
        retrying = Retrying(
            retry=retry_if_exception_type(_BusyError),
            wait=_pause,
            stop=stop_after_delay(self._patience),
            before_sleep=self._report_wait,
            reraise=True,
        )
        try:
            return retrying(self._request_once, method, path, body)
        except _BusyError as error:
            raise UnavailableError(f"{self.url} did not answer for {self._patience:g} s: {error}") from None

    def _request_once(self, method: str, path: str, body: bytes | None) -> Any:
        try:
            response = self._pool.request(method, f"{self.url}{path}", body=body, headers=self._headers)
        except urllib3.exceptions.HTTPError as error:
            raise _BusyError(_cause(error)) from None
        if response.status in (200, 201):
            return _json(response)
        raise self._refusal(path, response)

    def _refusal(self, path: str, response: urllib3.BaseHTTPResponse) -> RatchetError:
        body = _json(response)
        message = body.get("error", "") if isinstance(body, dict) else ""
        if response.status >= 500 or response.status == 429:
            after = response.headers.get("retry-after", "0")
            return _BusyError(f"{path}: {response.status} {message}", float(after) if after.isdigit() else 0.0)
        if response.status == 401:
            return ConfigError(f"{self.url} requires an API key: set RATCHET_API_KEYS, or give --api-key")
        if response.status == 413:
            return ConfigError(f"{path}: the request is too large for {self.url}: lower stream.batch")
        if not message:
            return ConfigError(f"{self.url}{path}: answered {response.status}, this is not a service of Ratchet")
        details = body.get("details") or [{"field": path, "message": message}]
        return InputError([Problem(one["field"], one["message"]) for one in details])

    def _report_wait(self, state: RetryCallState) -> None:
        if self._on_wait and state.attempt_number == 1 and state.outcome is not None:
            self._on_wait(f"{state.outcome.exception()}; retrying for up to {self._patience:g} s")


def _pause(state: RetryCallState) -> float:
    """Return the longer of an exponential back-off and the service's Retry-After, in seconds."""
    error = state.outcome.exception() if state.outcome else None
    after = error.after if isinstance(error, _BusyError) else 0.0
    return max(after, wait_exponential(multiplier=0.05, max=_LONGEST_PAUSE)(state))


def _json(response: urllib3.BaseHTTPResponse) -> Any:
    try:
        return json.loads(response.data)
    except ValueError:
        return None


def _cause(error: Exception) -> str:
    """Return the operating system's message where an error wraps one, else the error's own."""
    cause = next((one for one in (error.__cause__, *error.args) if isinstance(one, OSError)), error)
    return getattr(cause, "strerror", None) or str(cause)

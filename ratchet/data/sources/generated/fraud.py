"""Card transactions of half a year, of which one in a hundred is a fraud, with drift in the last two fifths."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ratchet.data.sources.generated.draws import Draws, Flags, Floats

_START = pd.Timestamp("2025-01-01")
_DAYS = 180
# The share of the half year without drift.
_STEADY = 0.6
_MERCHANTS = ("groceries", "fuel", "restaurant", "clothing", "electronics", "travel", "games", "gift_cards")
# Shares of merchants: legitimate before and after the drift, with stolen cards, and in card testing.
_BEFORE = np.array([0.34, 0.12, 0.16, 0.12, 0.08, 0.06, 0.07, 0.05])
_AFTER = np.array([0.26, 0.08, 0.14, 0.12, 0.10, 0.08, 0.13, 0.09])
_STOLEN = np.array([0.04, 0.04, 0.04, 0.16, 0.38, 0.22, 0.02, 0.10])
_TESTED = np.array([0.02, 0.02, 0.04, 0.04, 0.04, 0.02, 0.44, 0.38])
# The median amount at each merchant in euros, and the share of payments on the web.
_MEDIAN = dict(zip(_MERCHANTS, (28.0, 52.0, 24.0, 45.0, 110.0, 160.0, 12.0, 30.0), strict=True))
_ONLINE = dict(zip(_MERCHANTS, (0.10, 0.0, 0.15, 0.45, 0.55, 0.70, 0.98, 0.85), strict=True))
_COUNTRIES = ("DE", "FR", "NL", "AT", "GB", "US", "BR", "SG")
_HOME = np.array([0.84, 0.05, 0.04, 0.03, 0.02, 0.01, 0.005, 0.005])
_ABROAD = np.array([0.35, 0.08, 0.06, 0.03, 0.14, 0.16, 0.10, 0.08])
# Transactions by the hour of the day.
_DAYTIME = np.array(
    [2, 1, 1, 1, 1, 2, 6, 12, 18, 22, 26, 30, 34, 32, 28, 28, 30, 36, 38, 34, 26, 18, 10, 5], dtype=float
)
_NIGHT = np.array([14, 16, 18, 18, 14, 8, 4, 3, 3, 3, 4, 4, 4, 4, 4, 4, 5, 5, 6, 6, 7, 8, 10, 12], dtype=float)


def generate_fraud(rows: int, seed: int, target: str) -> pd.DataFrame:
    """Return transactions in the order of time.

    Each is a fraud with probability 0.012. Of the frauds, one in eight has the distribution of legitimate transactions;
    of the others, a share of 0.15 is card testing (many small payments for games and gift cards within minutes) and the
    rest are stolen cards (large payments at night and from abroad). From 0.6 of the half year on, the share of card
    testing grows to 0.75, amounts grow by a quarter, and legitimate payments move to the web.

    Parameters
    ----------
    rows: the number of transactions.
    seed: of the draws.
    target: the name of the column with ``fraud`` and ``legitimate``.

    Returns
    -------
    Shape (rows, 10): time (ISO 8601), amount (EUR), merchant, channel, country, hour (0 to 23), distance (km from the
    card holder's home), minutes_since_last, attempts_24h, and the target.
    """
    draws = Draws(rows, seed)
    day = np.floor(draws.uniform() * _DAYS)
    drift = np.clip((day / _DAYS - _STEADY) / (1 - _STEADY), 0.0, 1.0)
    fraud = draws.chance(0.012)
    shown = fraud & ~draws.chance(0.125)
    tested = shown & draws.chance(0.15 + 0.60 * drift)
    stolen = shown & ~tested
    hour = draws.category([str(hour) for hour in range(24)], _of(stolen, _NIGHT, _DAYTIME)).astype(np.float64)
    merchant = draws.category(_MERCHANTS, _merchants(drift, stolen, tested))
    online = draws.chance(_looked_up(_ONLINE, merchant))
    country = draws.category(_COUNTRIES, _of(stolen, _ABROAD, _HOME))
    columns = {
        "time": _START + pd.to_timedelta(day * 86_400 + hour * 3600 + np.floor(draws.uniform() * 3600), unit="s"),
        "amount": _amount(draws, merchant, drift, stolen, tested),
        "merchant": merchant,
        "channel": np.where(online, "web", np.where(draws.chance(0.7), "contactless", "chip")),
        "country": country,
        "hour": hour.astype(np.int64),
        "distance": np.round(draws.exponential(np.where(country == "DE", 9.0, 900.0)) * np.where(online, 0.2, 1.0), 1),
        "minutes_since_last": np.round(draws.exponential(np.where(tested, 8.0, 900.0)), 1),
        "attempts_24h": (1 + draws.poisson(np.where(tested, 6.0, np.where(stolen, 2.4, 1.2)))).astype(np.int64),
    }
    frame = pd.DataFrame(columns)
    frame["time"] = frame["time"].dt.strftime("%Y-%m-%dT%H:%M:%S").astype(object)
    label = pd.Series(np.where(fraud, "fraud", "legitimate"), name=target, dtype=object)
    return pd.concat([frame, label], axis=1).sort_values("time", kind="stable", ignore_index=True)


def _merchants(drift: Floats, stolen: Flags, tested: Flags) -> Floats:
    honest = _BEFORE + drift[:, None] * (_AFTER - _BEFORE)
    return np.where(stolen[:, None], _STOLEN, np.where(tested[:, None], _TESTED, honest))


def _amount(draws: Draws, merchant: npt.NDArray[Any], drift: Floats, stolen: Flags, tested: Flags) -> Floats:
    """Return log-normal amounts around the merchant's median: 2.5 times it for stolen cards, 0.2 times it in a test."""
    factor = np.where(stolen, 2.5, np.where(tested, 0.2, 1.0)) * (1 + 0.25 * drift)
    amount = _looked_up(_MEDIAN, merchant) * factor * np.exp(0.7 * draws.normal())
    return np.maximum(np.round(amount, 2), 0.5)


def _looked_up(table: dict[str, float], names: npt.NDArray[Any]) -> Floats:
    return np.array([table[name] for name in names], dtype=np.float64)


def _of(flag: Flags, yes: Floats, no: Floats) -> Floats:
    return np.where(flag[:, None], yes, no)

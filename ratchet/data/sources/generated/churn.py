"""Customers of a telephone company, of whom about a quarter leave: numbers and categories with missing values."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ratchet.data.sources.generated.draws import Draws, Floats

_CONTRACTS = ("monthly", "one_year", "two_years")
_INTERNET = ("none", "dsl", "fibre")
_PAYMENTS = ("card", "transfer", "direct_debit", "invoice")
_REGIONS = ("north", "east", "south", "west")


def generate_churn(rows: int, seed: int, target: str) -> pd.DataFrame:
    """Return customers and whether they left within the next month.

    The log-odds of leaving are

        -2.05 + 1.3 [monthly] - 1.2 [two_years] - 0.030 tenure + 0.45 calls + 0.022 (charge - 40)
        + 0.9 [fibre and calls of 2 or more] + 0.4 [invoice] - 0.55 (satisfaction - 3) + 0.5 [age below 30]

    where satisfaction is known for every customer, also those who did not answer the survey. Of customers with a
    satisfaction of 1 or 2, 60 % did not answer; of the others 15 %, so a missing value is informative. In addition, 4 %
    of the regions and 3 % of the ages are missing at random, and so are the totals of the first month, before a bill.

    Parameters
    ----------
    rows: the number of customers.
    seed: of the draws.
    target: the name of the column with ``yes`` and ``no``.

    Returns
    -------
    Shape (rows, 12): age (years), region, tenure (months), contract, internet, payment, charge (EUR a month), total
    (EUR so far), data (GB a month), calls (to support in 90 days), satisfaction (1 to 5), and the target.
    """
    draws = Draws(rows, seed)
    contract = draws.category(_CONTRACTS, (0.55, 0.25, 0.20))
    internet = draws.category(_INTERNET, (0.18, 0.40, 0.42))
    payment = draws.category(_PAYMENTS, (0.25, 0.20, 0.35, 0.20))
    age = np.clip(np.round(44 + 15 * draws.normal()), 18, 90)
    tenure = np.floor(draws.exponential(np.where(contract == "monthly", 18.0, 36.0)).clip(0, 72))
    extra = np.where(internet == "fibre", 38.0, np.where(internet == "dsl", 20.0, 0.0))
    charge = np.round(np.maximum(18 + extra + 9 * draws.normal(), 8), 2)
    calls = draws.poisson(np.where(internet == "fibre", 1.1, 0.6))
    felt = np.clip(np.round(3.6 - 0.45 * calls + 1.0 * draws.normal()), 1, 5)
    odds = (
        -2.05
        + 1.3 * (contract == "monthly")
        - 1.2 * (contract == "two_years")
        - 0.030 * tenure
        + 0.45 * calls
        + 0.022 * (charge - 40)
        + 0.9 * ((internet == "fibre") & (calls >= 2))
        + 0.4 * (payment == "invoice")
        - 0.55 * (felt - 3)
        + 0.5 * (age < 30)
    )
    left = draws.chance(1 / (1 + np.exp(-odds)))
    columns = {
        "age": _missing(age, draws.chance(0.03)),
        "region": pd.Series(draws.category(_REGIONS, (1, 1, 1, 1)), dtype=object).mask(draws.chance(0.04)),
        "tenure": tenure.astype(np.int64),
        "contract": contract,
        "internet": internet,
        "payment": payment,
        "charge": charge,
        "total": _missing(np.round(tenure * charge * (0.95 + 0.1 * draws.uniform()), 2), tenure == 0),
        "data": np.round(np.where(internet == "none", 0.0, draws.exponential(np.where(internet == "dsl", 60, 140))), 1),
        "calls": calls.astype(np.int64),
        "satisfaction": _missing(felt, draws.chance(np.where(felt <= 2, 0.60, 0.15))),
    }
    label = pd.Series(np.where(left, "yes", "no"), name=target, dtype=object)
    return pd.concat([pd.DataFrame(columns), label], axis=1)


def _missing(values: Floats, gone: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Floats:
    return np.where(gone, np.nan, values)

"""Means, ranges and the covariance of columns, of rows that are seen once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]


class Moments:
    """What is known of the columns so far; a value that is missing counts as its column's mean.

    Sums are taken of distances from the first rows' means, so that little is lost to rounding where a column is far
    from zero. With y = x - c, zero where x is missing, and m = 1 where it is there, the products of distances from the
    mean are sum(y_i y_j) - d_i sum(m_i y_j) - d_j sum(y_i m_j) + d_i d_j sum(m_i m_j), where d is the mean of y.

    Parameters
    ----------
    width: columns.
    together: whether the covariance between the columns is wanted, or the variance of each is enough.
    """

    def __init__(self, width: int, *, together: bool) -> None:
        shape = (width, width) if together else (width,)
        self._together = together
        self._centre: Matrix | None = None
        self._sums, self._counts = np.zeros(width), np.zeros(width)
        self._products, self._mixed, self._pairs = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        self.minima, self.maxima = np.full(width, np.inf), np.full(width, -np.inf)
        self.n_rows = 0

    def add(self, values: Matrix) -> None:
        """Look at some rows.

        Parameters
        ----------
        values: shape (rows, width), NaN where one is missing; overwritten.
        """
        if not len(values):
            return
        self.minima = np.fmin(self.minima, np.fmin.reduce(values))
        self.maxima = np.fmax(self.maxima, np.fmax.reduce(values))
        missing = np.isnan(values)
        present = len(values) - missing.sum(axis=0)
        if self._centre is None:
            sums = np.where(missing, 0.0, values).sum(axis=0)
            self._centre = np.divide(sums, present, out=np.zeros_like(sums), where=present > 0)
        values -= self._centre
        sums = values.sum(axis=0)
        if missing.any():
            values[missing] = 0.0
            sums = values.sum(axis=0)
            there = (~missing).astype(np.float64)
            self._mixed += self._multiply(there, values)
            self._pairs += self._multiply(there, there)
        else:
            self._mixed += sums
            self._pairs += len(values)
        self._products += self._multiply(values, values)
        self._sums += sums
        self._counts += present
        self.n_rows += len(values)

    @property
    def means(self) -> Matrix:
        """The mean of what is there, shape (width,); 0 for a column where nothing is, as SimpleImputer has it."""
        return (self._centre if self._centre is not None else 0.0) + self._shift

    @property
    def covariance(self) -> Matrix:
        """The covariance of the columns with their gaps filled, shape (width, width); or each variance, (width,).

        It is that of the rows themselves (divided by their number), as StandardScaler takes it.
        """
        shift = self._shift
        if self._together:
            crossed = shift[:, None] * self._mixed
            products = self._products - crossed - crossed.T + np.outer(shift, shift) * self._pairs
        else:
            products = self._products - 2 * shift * self._mixed + shift**2 * self._pairs
        return np.asarray(products / self.n_rows)

    @property
    def _shift(self) -> Matrix:
        return np.divide(self._sums, self._counts, out=np.zeros_like(self._sums), where=self._counts > 0)

    def _multiply(self, left: Matrix, right: Matrix) -> Matrix:
        return np.asarray(left.T @ right if self._together else np.einsum("ij,ij->j", left, right))

"""Ratings as what a user and an item have in common: biased matrix factorisation."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.intp]

_FIRST_FACTORS = 0.1


class MatrixFactorization(RegressorMixin, BaseEstimator):  # type: ignore[misc] # scikit-learn is not typed
    """A rating is the mean, what the user adds, what the item adds, and the product of their factors.

    Y. Koren, R. Bell and C. Volinsky, "Matrix factorization techniques for recommender systems", 2009. Users and items
    take turns: with one side fixed, each row of the other is a ridge regression of its own, and all of them are solved
    at once. A user or an item that training did not have falls back to the other's part and the mean.

    Parameters
    ----------
    n_factors: how many traits users and items have in common, 0 for biases alone.
    regularization: the squared penalty on factors and biases, in ratings: so many ratings of its own are needed
        before a user counts for as much as the mean.
    n_iterations: turns of users and items.
    random_state: seed of the factors that the first turn begins with.

    Attributes
    ----------
    mean_, low_, high_: of the training ratings; predictions keep to the range.
    user_biases_, item_biases_: by code.
    user_factors_, item_factors_: shape (codes, n_factors).
    """

    def __init__(
        self,
        n_factors: int = 10,
        regularization: float = 5.0,
        n_iterations: int = 15,
        random_state: int | None = None,
    ) -> None:
        self.n_factors = n_factors
        self.regularization = regularization
        self.n_iterations = n_iterations
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:  # noqa: N803 - scikit-learn's names
        """Fit biases and factors.

        Parameters
        ----------
        X: the codes of user and item, shape (ratings, 2); -1 is unknown.
        y: the ratings, shape (ratings,).

        Raises
        ------
        ValueError: there are not two columns of codes, no rating has both, or a parameter is out of range.
        """
        self._check_parameters()
        codes, ratings = _codes(X), np.asarray(y, dtype=np.float64)
        known = (codes >= 0).all(axis=1)
        if not known.any():
            raise ValueError("no rating has a known user and a known item")
        self.n_features_in_ = 2
        self.mean_, self.low_, self.high_ = float(ratings.mean()), float(ratings.min()), float(ratings.max())
        self._alternate(codes[known], ratings[known] - self.mean_)
        return self

    def predict(self, X: Any) -> Floats:  # noqa: N803
        """The ratings that are to be expected, shape (rows,)."""
        check_is_fitted(self)
        codes = _codes(X)
        (user, knows_user), (item, knows_item) = (
            _known(codes[:, side], len(biases)) for side, biases in enumerate((self.user_biases_, self.item_biases_))
        )
        taste = np.einsum("rf,rf->r", self.user_factors_[user], self.item_factors_[item]) * (knows_user & knows_item)
        rating = self.mean_ + self.user_biases_[user] * knows_user + self.item_biases_[item] * knows_item + taste
        return np.asarray(np.clip(rating, self.low_, self.high_))

    def _check_parameters(self) -> None:
        for name, least in {"n_factors": 0, "n_iterations": 1}.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name}: got {getattr(self, name)}, expected {least} at least")
        if not self.regularization > 0:
            raise ValueError(f"regularization: got {self.regularization}, expected a number above 0")

    def _alternate(self, codes: Codes, residuals: Floats) -> None:
        """Let users and items take turns on the ratings without their mean."""
        n_users, n_items = (codes.max(axis=0) + 1).tolist()
        place, shape = (codes[:, 0], codes[:, 1]), (n_users, n_items)
        # A pair that was rated twice is added up in both.
        sums, counts = csr_matrix((residuals, place), shape), csr_matrix((np.ones(len(residuals)), place), shape)
        generator = np.random.default_rng(self.random_state)
        self.item_factors_ = generator.normal(scale=_FIRST_FACTORS, size=(n_items, self.n_factors))
        self.item_biases_ = np.zeros(n_items)
        by_item = sums.T.tocsr(), counts.T.tocsr()
        for _ in range(self.n_iterations):
            self.user_factors_, self.user_biases_ = self._solve(sums, counts, self.item_factors_, self.item_biases_)
            self.item_factors_, self.item_biases_ = self._solve(*by_item, self.user_factors_, self.user_biases_)

    def _solve(self, sums: csr_matrix, counts: csr_matrix, factors: Floats, biases: Floats) -> tuple[Floats, Floats]:
        """One side's factors and biases, with the other's fixed.

        Parameters
        ----------
        sums, counts: of the ratings of each pair, shape (this side, other side).
        factors, biases: the other side's.
        """
        inputs = np.column_stack([factors, np.ones(len(factors))])
        width = inputs.shape[1]
        outer = (inputs[:, :, None] * inputs[:, None, :]).reshape(len(inputs), width * width)
        gram = np.asarray(counts @ outer).reshape(-1, width, width) + self.regularization * np.eye(width)
        moment = np.asarray(sums @ inputs - counts @ (biases[:, None] * inputs))
        found = np.linalg.solve(gram, moment[:, :, None])[:, :, 0]
        return np.ascontiguousarray(found[:, :-1]), np.ascontiguousarray(found[:, -1])


def _codes(X: Any) -> Codes:  # noqa: N803
    values = np.asarray(X, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] != 2:
        raise ValueError("expected two columns, the codes of user and item: set embed.kind: ratings")
    return values.astype(np.intp)


def _known(codes: Codes, size: int) -> tuple[Codes, npt.NDArray[np.bool_]]:
    """Codes that can be looked up, and which of them were known."""
    known = (codes >= 0) & (codes < size)
    return np.where(known, codes, 0), known

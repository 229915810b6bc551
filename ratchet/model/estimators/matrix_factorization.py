"""Biased matrix factorisation of ratings."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.intp]

_INITIAL_SCALE = 0.1


class MatrixFactorization(RegressorMixin, BaseEstimator):  # type: ignore[misc] # scikit-learn is not typed
    """Predict a rating as the mean, plus the biases of user and item, plus the product of their factors.

    Y. Koren, R. Bell and C. Volinsky, "Matrix factorization techniques for recommender systems", 2009. The fit
    alternates between users and items: with one side fixed, each row of the other is a ridge regression, and all rows
    are solved at once. For an unknown user or item, the prediction is the mean and the bias of the other.

    Parameters
    ----------
    n_factors: number of factors, 0 for biases only.
    regularization: squared penalty on factors and biases, in units of ratings: a user with this many ratings has half
        the weight against the mean.
    n_iterations: number of alternations.
    random_state: seed of the initial factors.

    Attributes
    ----------
    mean_, low_, high_: of the training ratings; predictions stay in this range.
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
        X: codes of user and item, shape (ratings, 2); -1 is unknown.
        y: ratings, shape (ratings,).

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
        """Return the expected ratings, shape (rows,)."""
        check_is_fitted(self)
        codes = _codes(X)
        user, has_user = _known(codes[:, 0], len(self.user_biases_))
        item, has_item = _known(codes[:, 1], len(self.item_biases_))
        product = np.einsum("rf,rf->r", self.user_factors_[user], self.item_factors_[item]) * (has_user & has_item)
        rating = self.mean_ + self.user_biases_[user] * has_user + self.item_biases_[item] * has_item + product
        return np.asarray(np.clip(rating, self.low_, self.high_))

    def _check_parameters(self) -> None:
        for name, least in {"n_factors": 0, "n_iterations": 1}.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name}: got {getattr(self, name)}, expected {least} at least")
        if not self.regularization > 0:
            raise ValueError(f"regularization: got {self.regularization}, expected a number above 0")

    def _alternate(self, codes: Codes, residuals: Floats) -> None:
        """Fit users and items alternately to the ratings minus their mean."""
        n_users, n_items = (codes.max(axis=0) + 1).tolist()
        place, shape = (codes[:, 0], codes[:, 1]), (n_users, n_items)
        # The sparse matrices add up ratings of the same pair.
        sums, counts = csr_matrix((residuals, place), shape), csr_matrix((np.ones(len(residuals)), place), shape)
        generator = np.random.default_rng(self.random_state)
        self.item_factors_ = generator.normal(scale=_INITIAL_SCALE, size=(n_items, self.n_factors))
        self.item_biases_ = np.zeros(n_items)
        by_item = sums.T.tocsr(), counts.T.tocsr()
        for _ in range(self.n_iterations):
            self.user_factors_, self.user_biases_ = self._solve(sums, counts, self.item_factors_, self.item_biases_)
            self.item_factors_, self.item_biases_ = self._solve(*by_item, self.user_factors_, self.user_biases_)

    def _solve(self, sums: csr_matrix, counts: csr_matrix, factors: Floats, biases: Floats) -> tuple[Floats, Floats]:
        """Return factors and biases of one side, with those of the other side fixed.

        Sums and counts are of the ratings of each pair, shape (this side, other side).
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
    """Return codes that are valid indices, and which of them were known."""
    known = (codes >= 0) & (codes < size)
    return np.where(known, codes, 0), known

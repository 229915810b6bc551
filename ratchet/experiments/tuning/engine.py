"""What a tuning engine does: fit folds, here or elsewhere."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Protocol, Self

from ratchet.config import TrainingConfig
from ratchet.experiments.tuning.scoring import FoldScore


class Engine(Protocol):
    """Fits folds; entered before the first, left after the last."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def submit(self, config: TrainingConfig, fold: int) -> Future[FoldScore]:
        """Begin a fold; what it raises is in the future."""
        ...

    def is_lost(self, error: BaseException) -> bool:
        """Whether a fold has failed for its worker's death, and can be begun again."""
        ...

    def check(self) -> None:
        """Asked while nothing ends: raises an UnavailableError where nothing will."""
        ...

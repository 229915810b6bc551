"""The config of tuning: a training run, the search space, and the workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from ratchet.config.plain_values import AnyValue
from ratchet.config.section import Section
from ratchet.config.training import TrainingConfig
from ratchet.nearest_names import nearest

# The parts of a config that a space may vary.
_TUNABLE = ("embed.", "train.params.", "train.estimator", "train.threshold")
_BATCH = 4


class Conditional(Section):
    """The keys of every parameter."""

    when: dict[str, AnyValue] = Field(
        default_factory=dict,
        description="Other parameters of the space, each with the value or list of values for which this one is used.",
    )

    def allowed(self, path: str) -> list[Any]:
        """Return the values of another parameter for which this one is used."""
        wanted = self.when[path]
        return list(wanted) if isinstance(wanted, list | tuple) else [wanted]


class _Range(Conditional):
    if TYPE_CHECKING:
        low: float
        high: float
        log: bool
        step: float | None

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low {self.low:g} is more than high {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"log: expected low above 0, got {self.low:g}")
        has_step = self.step is not None and (self.step != 1 or isinstance(self.step, float))
        if self.log and has_step:
            raise ValueError("step: a range has log or step, not both")
        if not self.contains(self.high):
            raise ValueError(f"step: {self.high:g} is not a multiple of {self.step:g} above {self.low:g}")
        return self

    def contains(self, value: Any) -> bool:
        """Return whether a value is in the range."""
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not self.low <= value <= self.high:
            return False
        steps = (value - self.low) / (self.step or 1.0)
        return self.step is None or abs(steps - round(steps)) < 1e-9

    @property
    def ends(self) -> tuple[float, ...]:
        """The extreme values, with which an estimator is checked before a study."""
        return self.low, self.high


class FloatRange(_Range):
    """A number from ``low`` to ``high``, both included."""

    type: Literal["float"]
    low: float
    high: float
    log: bool = Field(default=False, description="Whether the logarithm is sampled uniformly.")
    step: float | None = Field(default=None, gt=0)


class IntRange(_Range):
    """A whole number from ``low`` to ``high``, both included."""

    type: Literal["int"]
    low: int
    high: int
    log: bool = False
    step: int = Field(default=1, ge=1)

    def contains(self, value: Any) -> bool:
        """Return whether a value is in the range."""
        return isinstance(value, int) and super().contains(value)


class Choices(Conditional):
    """One of some values."""

    type: Literal["categorical"]
    choices: tuple[AnyValue, ...]

    @field_validator("choices")
    @classmethod
    def _are_choices(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        if not value:
            raise ValueError("got no choice, expected one at least")
        if len({repr(choice) for choice in value}) < len(value):
            raise ValueError(f"got {list(value)}, expected each choice once")
        return value

    def contains(self, value: Any) -> bool:
        """Return whether a value is one of the choices."""
        return repr(value) in map(repr, self.choices)

    @property
    def ends(self) -> tuple[Any, ...]:
        """All choices, since an estimator may refuse any of them."""
        return self.choices


Parameter = Annotated[FloatRange | IntRange | Choices, Field(discriminator="type")]


class Sampler(Section):
    """The sampler of trials, with Optuna's names of its parameters."""

    name: Literal["tpe", "random", "qmc", "grid"] = "tpe"
    params: dict[str, AnyValue] = Field(default_factory=dict)


class Pruner(Section):
    """The pruner, which ends a trial after some of its folds, with Optuna's names of its parameters."""

    name: Literal["median", "percentile", "successive_halving", "hyperband", "none"] = "median"
    params: dict[str, AnyValue] = Field(default_factory=dict)


class Search(Section):
    """The space and the search."""

    space: dict[str, Parameter] = Field(description="By dotted path in the config, such as train.params.C.")
    trials: int = Field(default=20, ge=1, le=100_000, description="Of the whole study, over all runs.")
    timeout: float | None = Field(default=None, gt=0, description="Seconds after which this run starts no trials.")
    sampler: Sampler = Sampler()
    pruner: Pruner = Pruner()
    folds: int = Field(default=5, ge=2, le=100, description="Parts of the training rows that each validate once.")
    study: str | None = Field(default=None, pattern=r"^[\w][\w. -]*$", max_length=200)
    batch: int | None = Field(
        default=None, ge=1, description="Trials proposed together, without the results of each other."
    )

    @field_validator("space")
    @classmethod
    def _is_consistent(cls, value: dict[str, Parameter]) -> dict[str, Parameter]:
        if not value:
            raise ValueError("the space is empty; add a parameter, such as train.params.C")
        for path, parameter in value.items():
            if not path.startswith(_TUNABLE):
                raise ValueError(
                    f"{path}: cannot be tuned; expected train.params.…, train.estimator, train.threshold or embed.…"
                )
            for other in parameter.when:
                _check_condition(path, parameter, other, value)
        chosen_in_order(value)
        return value


class Compute(Section):
    """The workers that fit folds."""

    engine: Literal["local", "processes", "dask"] = "local"
    workers: int = Field(default=1, ge=1, le=1024, description="Processes; with a Dask address, those of the cluster.")
    address: str | None = Field(default=None, description="Of a Dask scheduler; null starts a cluster on this machine.")

    @model_validator(mode="after")
    def _fits_engine(self) -> Self:
        if self.address is not None and self.engine != "dask":
            raise ValueError(f"address: needs the engine dask, got {self.engine}")
        if self.engine == "local" and self.workers > 1:
            raise ValueError(f"workers: the engine local has one worker, got {self.workers}; use processes or dask")
        return self


class TuningConfig(TrainingConfig):
    """A study of hyper-parameters, and a training run with the best."""

    pipeline: Literal["tuning"]  # type: ignore[assignment]
    search: Search
    compute: Compute = Compute()

    @model_validator(mode="after")
    def _fits_from_scratch(self) -> Self:
        if self.train.mode != "scratch":
            raise ValueError(f"train.mode: a trial is fitted from scratch, got {self.train.mode}")
        return self

    @property
    def batch(self) -> int:
        """Trials that are proposed together: 4, or the number of workers if that is more."""
        return self.search.batch or max(_BATCH, self.compute.workers)

    def base(self) -> TrainingConfig:
        """Return the config without the search, which is the baseline of the study."""
        values = self.to_plain(exclude={"search", "compute"}, exclude_unset=True)
        return TrainingConfig.model_validate(values | {"pipeline": "training"})


def chosen_in_order(space: dict[str, Parameter]) -> dict[str, Parameter]:
    """Return a space in the order in which parameters are chosen: first those that others depend on, else by name.

    Raises
    ------
    ValueError: conditions are circular.
    """
    ordered: dict[str, Parameter] = {}
    left = dict(sorted(space.items()))
    while left:
        ready = [path for path, parameter in left.items() if all(other in ordered for other in parameter.when)]
        if not ready:
            raise ValueError(f"when: {', '.join(left)}: the conditions are circular")
        ordered |= {path: left.pop(path) for path in ready}
    return ordered


def _check_condition(path: str, parameter: Parameter, other: str, space: dict[str, Parameter]) -> None:
    if other not in space:
        raise ValueError(f"{path}.when: {other!r} is not in the space{nearest(other, set(space) - {path})}")
    for value in parameter.allowed(other):
        if not space[other].contains(value):
            raise ValueError(f"{path}.when: {other} is never {value!r}")
    if not parameter.allowed(other):
        raise ValueError(f"{path}.when: {other} has no values for which this parameter is used")

"""The config of tuning: what a training run has, the space to search beside it, and what the search runs on."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from ratchet.config.section import Section
from ratchet.config.training import TrainingConfig
from ratchet.errors import nearest

# What a space may reach into: the parts of a config that say how a model is made.
_TUNABLE = ("embed.", "train.params.", "train.estimator", "train.threshold")
_BATCH = 4


class Conditional(Section):
    """What all parameters share."""

    when: dict[str, Any] = Field(
        default_factory=dict,
        description="Other parameters of the space and the value, or list of values, with which this one counts.",
    )

    def allowed(self, path: str) -> list[Any]:
        """The values of another parameter with which this one counts."""
        wanted = self.when[path]
        return list(wanted) if isinstance(wanted, list | tuple) else [wanted]


class FloatRange(Conditional):
    """A number from ``low`` to ``high``, both included."""

    type: Literal["float"]
    low: float = Field(allow_inf_nan=False)
    high: float = Field(allow_inf_nan=False)
    log: bool = Field(default=False, description="Whether sizes are tried evenly, and not values.")
    step: float | None = Field(default=None, gt=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        _check_range(self.low, self.high, self.step, log=self.log)
        return self

    def contains(self, value: Any) -> bool:
        """Whether the range has a value."""
        return _is_number(value) and self.low <= value <= self.high and _on_grid(value - self.low, self.step)

    @property
    def ends(self) -> tuple[float, ...]:
        """The values that say most of whether an estimator takes the whole range."""
        return self.low, self.high


class IntRange(Conditional):
    """A whole number from ``low`` to ``high``, both included."""

    type: Literal["int"]
    low: int
    high: int
    log: bool = False
    step: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        _check_range(self.low, self.high, self.step if self.step > 1 else None, log=self.log)
        return self

    def contains(self, value: Any) -> bool:
        """Whether the range has a value."""
        whole = isinstance(value, int) and not isinstance(value, bool)
        return whole and self.low <= value <= self.high and (value - self.low) % self.step == 0

    @property
    def ends(self) -> tuple[int, ...]:
        """The values that say most of whether an estimator takes the whole range."""
        return self.low, self.high


class Choices(Conditional):
    """One of some values."""

    type: Literal["categorical"]
    choices: tuple[Any, ...]

    @field_validator("choices")
    @classmethod
    def _are_choices(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        if not value:
            raise ValueError("got no choice, expected one at least")
        if len({repr(choice) for choice in value}) < len(value):
            raise ValueError(f"got {list(value)}, expected each choice once")
        return value

    def contains(self, value: Any) -> bool:
        """Whether the value is one of the choices."""
        return repr(value) in map(repr, self.choices)

    @property
    def ends(self) -> tuple[Any, ...]:
        """All choices: each may be the one that an estimator refuses."""
        return self.choices


Parameter = Annotated[FloatRange | IntRange | Choices, Field(discriminator="type")]


class Sampler(Section):
    """What proposes the trials, with Optuna's names of its parameters."""

    name: Literal["tpe", "random", "qmc", "grid"] = "tpe"
    params: dict[str, Any] = Field(default_factory=dict)


class Pruner(Section):
    """What ends a trial after some of its folds, with Optuna's names of its parameters."""

    name: Literal["median", "percentile", "successive_halving", "hyperband", "none"] = "median"
    params: dict[str, Any] = Field(default_factory=dict)


class Search(Section):
    """The space, and how it is searched."""

    space: dict[str, Parameter] = Field(description="By dotted path of the config, such as train.params.C.")
    trials: int = Field(default=20, ge=1, le=100_000, description="Of the whole study, however often it is run.")
    timeout: float | None = Field(
        default=None, gt=0, description="Seconds after which this run begins no further trials."
    )
    sampler: Sampler = Sampler()
    pruner: Pruner = Pruner()
    folds: int = Field(default=5, ge=2, le=100, description="Parts of the training rows that each validate once.")
    study: str | None = Field(default=None, pattern=r"^[\w][\w. -]*$", max_length=200)
    batch: int | None = Field(
        default=None, ge=1, description="Trials proposed together, which do not know of each other's results."
    )

    @field_validator("space")
    @classmethod
    def _hangs_together(cls, value: dict[str, Parameter]) -> dict[str, Parameter]:
        if not value:
            raise ValueError("the space is empty; name a parameter at least, such as train.params.C")
        for path, parameter in value.items():
            if not path.startswith(_TUNABLE):
                raise ValueError(f"{path}: is no part of how a model is made; those are train.params.…, embed.…")
            for other in parameter.when:
                _check_condition(path, parameter, other, value)
        chosen_in_order(value)
        return value


class Compute(Section):
    """Where folds are fitted."""

    engine: Literal["local", "processes", "dask"] = "local"
    workers: int = Field(default=1, ge=1, le=1024, description="Processes; with a Dask address, the cluster's own.")
    address: str | None = Field(default=None, description="Of a Dask scheduler; none begins a cluster on this machine.")

    @model_validator(mode="after")
    def _fits_engine(self) -> Self:
        if self.address is not None and self.engine != "dask":
            raise ValueError(f"address: only the engine dask has a scheduler, and this is {self.engine}")
        if self.engine == "local" and self.workers > 1:
            raise ValueError(f"workers: the engine local works alone, got {self.workers}; processes and dask do not")
        return self


class TuningConfig(TrainingConfig):
    """A study of hyper-parameters, and the training of the best that it finds."""

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
        """Trials that are proposed together: 4, or as many as there are workers where those are more."""
        return self.search.batch or max(_BATCH, self.compute.workers)

    def base(self) -> TrainingConfig:
        """The same without the search: the baseline that a study is measured against."""
        values = self.model_dump(mode="json", exclude={"search", "compute"}, exclude_unset=True)
        return TrainingConfig.model_validate(values | {"pipeline": "training"})


def chosen_in_order(space: dict[str, Parameter]) -> dict[str, Parameter]:
    """A space in the order in which its parameters are chosen: what others depend on first, else by name.

    Raises
    ------
    ValueError: conditions go in a circle.
    """
    ordered: dict[str, Parameter] = {}
    left = dict(sorted(space.items()))
    while left:
        ready = [path for path, parameter in left.items() if all(other in ordered for other in parameter.when)]
        if not ready:
            circle = ", ".join(left)
            raise ValueError(f"when: {circle}: each waits for another, and none can be chosen before the others")
        ordered |= {path: left.pop(path) for path in ready}
    return ordered


def _check_range(low: float, high: float, step: float | None, *, log: bool) -> None:
    if low > high:
        raise ValueError(f"low {low:g} is more than high {high:g}")
    if log and low <= 0:
        raise ValueError(f"log: sizes from {low:g} on have no logarithm, low has to be above 0")
    if log and step is not None:
        raise ValueError("step: a range has log or step, not both")
    if not _on_grid(high - low, step):
        raise ValueError(f"step: from {low:g} in steps of {step:g} one never comes to {high:g}")


def _check_condition(path: str, parameter: Parameter, other: str, space: dict[str, Parameter]) -> None:
    if other not in space:
        raise ValueError(f"{path}.when: {other!r} is not in the space{nearest(other, set(space) - {path})}")
    for value in parameter.allowed(other):
        if not space[other].contains(value):
            raise ValueError(f"{path}.when: {other} is never {value!r}")
    if not parameter.allowed(other):
        raise ValueError(f"{path}.when: {other} has no value with which this parameter counts")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _on_grid(distance: float, step: float | None) -> bool:
    return step is None or abs(distance / step - round(distance / step)) < 1e-9

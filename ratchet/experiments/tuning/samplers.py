"""Optuna's samplers and pruners for a config, and a trial's parameters in Optuna's form."""

from __future__ import annotations

import hashlib
import inspect
import json
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from ratchet.config.plain_values import to_json
from ratchet.config.tuning import Choices, FloatRange, IntRange, Parameter, Search
from ratchet.errors import ConfigError, one_line
from ratchet.experiments.tuning.space import Values
from ratchet.nearest_names import nearest

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.distributions import BaseDistribution
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler, TPESampler
    from optuna.trial import FrozenTrial

# The types that Optuna takes as a choice; other values are passed as JSON.
_PLAIN = (str, int, float, bool, type(None))
# Parameters of Optuna's classes that no YAML value can hold.
_NOT_IN_YAML = {"constraints_func", "gamma", "weights"}

SamplerOf = Callable[[int], "BaseSampler"]
Built = TypeVar("Built")


def suggest(trial: Trial, path: str, parameter: Parameter) -> Any:
    """Return a parameter's value in a trial, and have Optuna sample it where it has none yet."""
    if isinstance(parameter, FloatRange):
        return trial.suggest_float(path, parameter.low, parameter.high, log=parameter.log, step=parameter.step)
    if isinstance(parameter, IntRange):
        return trial.suggest_int(path, parameter.low, parameter.high, log=parameter.log, step=parameter.step)
    return from_optuna(parameter, trial.suggest_categorical(path, [to_optuna(choice) for choice in parameter.choices]))


def to_optuna(value: Any) -> Any:
    """Return a choice in the form that Optuna stores: lists and mappings as JSON."""
    return value if isinstance(value, _PLAIN) else json.dumps(to_json(value))


def from_optuna(parameter: Parameter, stored: Any) -> Any:
    """Return the config's value for one that Optuna has stored."""
    if not isinstance(parameter, Choices):
        return stored
    return next(choice for choice in parameter.choices if repr(to_optuna(choice)) == repr(stored))


def values_of_trial(search: Search, trial: FrozenTrial) -> Values:
    """Return the values of a stored trial, by dotted path."""
    return {path: from_optuna(search.space[path], stored) for path, stored in trial.params.items()}


def check_search(search: Search) -> None:
    """Check that the sampler and the pruner can be built, and that the sampler can search this space.

    Raises
    ------
    ConfigError: a parameter is unknown or has a wrong value, or the space has no grid.
    """
    with without_experimental_warnings():
        sampler_factory(search, 0)(0)
        pruner_for(search)


def most_trials(search: Search) -> int:
    """Return the number of trials of the whole study; a grid ends with its last point."""
    if search.sampler.name != "grid":
        return search.trials
    return min(search.trials, math.prod(len(points) for points in _grid(search).values()))


def proposes_baseline(search: Search) -> bool:
    """Return whether the first trial can be the config's own values; a grid visits its own points only."""
    return search.sampler.name != "grid"


def sampler_factory(search: Search, seed: int) -> SamplerOf:
    """Return a function that builds the sampler of a trial from the trial's number.

    Its random numbers depend on the study's seed and the number only, so that a study that was interrupted continues
    with the same trials. Most errors of ``check_search`` are raised when the sampler is built.
    """
    from optuna import samplers

    name, params = search.sampler.name, search.sampler.params
    if name == "grid":
        grid = _built("sampler", _grid_class(), params, search_space=_grid(search), seed=seed)
        return lambda _number: grid
    if name == "qmc":
        params = {"scramble": True, "warn_independent_sampling": False} | params
        return lambda number: _built(
            "sampler",
            samplers.QMCSampler,
            params,
            seed=seed,
            independent_sampler=samplers.RandomSampler(seed=_seed_of(seed, number)),
        )
    kind: type[BaseSampler] = samplers.RandomSampler if name == "random" else _tpe_class(search)
    return lambda number: _built("sampler", kind, params, seed=_seed_of(seed, number))


def pruner_for(search: Search) -> BasePruner:
    """Return the pruner of a study.

    Raises
    ------
    ConfigError: a parameter is unknown or has a wrong value.
    """
    from optuna import pruners

    kinds: dict[str, type[BasePruner]] = {
        "median": pruners.MedianPruner,
        "percentile": pruners.PercentilePruner,
        "successive_halving": pruners.SuccessiveHalvingPruner,
        "hyperband": pruners.HyperbandPruner,
        "none": pruners.NopPruner,
    }
    defaults: dict[str, dict[str, Any]] = {
        "hyperband": {"max_resource": search.folds},
        "percentile": {"percentile": 25.0},
    }
    name = search.pruner.name
    return _built("pruner", kinds[name], defaults.get(name, {}) | search.pruner.params)


@contextmanager
def without_experimental_warnings() -> Iterator[None]:
    """Suppress Optuna's warnings that one of its parts is experimental, and its log lines below errors."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


def _seed_of(seed: int, number: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/{number}".encode()).digest()[:4], "big")


def _tpe_class(search: Search) -> type[TPESampler]:
    """Return TPE, with the search space of earlier trials shared by the samplers of all trials.

    A sampler of its own would compute it from all trials again. Groups are TPE's own, and Hyperband has a search space
    for each bracket.
    """
    from optuna.samplers import TPESampler
    from optuna.search_space import IntersectionSearchSpace

    multivariate = search.sampler.params.get("multivariate") is not False
    if not multivariate or search.sampler.params.get("group") or search.pruner.name == "hyperband":
        return TPESampler
    shared = IntersectionSearchSpace(include_pruned=True)

    class SharedSpaceTPE(TPESampler):
        def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
            space = shared.calculate(study, use_cache=True)
            return {name: distribution for name, distribution in space.items() if not distribution.single()}

    return SharedSpaceTPE


def _grid_class() -> type[BaseSampler]:
    from optuna.samplers import GridSampler

    class Grid(GridSampler):
        def after_trial(self, *_: Any) -> None:
            """Do nothing: Optuna's method calls ``Study.stop``, which fails outside of ``Study.optimize``."""

    return Grid


def _built(what: str, kind: Callable[..., Built], params: Mapping[str, Any], **given: Any) -> Built:
    signature = inspect.signature(kind).parameters
    known = set(signature) - set(given) - _NOT_IN_YAML
    for name, value in params.items():
        if name not in known:
            raise ConfigError(f"search.{what}.params: there is no {name!r}{nearest(name, known)}")
        _check_type(f"search.{what}.params.{name}", value, signature[name].default)
    try:
        return kind(**params, **given)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"search.{what}.params: {one_line(error)}") from None


def _check_type(path: str, value: Any, default: Any) -> None:
    """Check a value against the type of its default, since Optuna checks most of them only when a trial runs."""
    expected = {bool: bool, int: int, float: (int, float)}.get(type(default))
    if expected and (not isinstance(value, expected) or isinstance(value, bool) != isinstance(default, bool)):  # type: ignore[arg-type]
        raise ConfigError(f"{path}: got {value!r}, expected {type(default).__name__} such as {default!r}")


def _grid(search: Search) -> dict[str, list[Any]]:
    return {path: _points(path, parameter) for path, parameter in sorted(search.space.items())}


def _points(path: str, parameter: Parameter) -> list[Any]:
    if parameter.when:
        raise ConfigError(f"search.sampler: a grid has all values of all parameters, and {path} has a 'when'")
    if isinstance(parameter, Choices):
        return [to_optuna(choice) for choice in parameter.choices]
    if parameter.step is None or parameter.log:
        raise ConfigError(f"search.sampler: a grid needs points, and {path} has none: give it 'step', or choices")
    steps = round((parameter.high - parameter.low) / parameter.step)
    return [parameter.low + parameter.step * place for place in range(steps + 1)]

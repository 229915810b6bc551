"""What a trial tries, and after which fold it ends: decided from what was settled before its batch, and no more.

Each trial has a mirror of the study in memory, with what it may know: the trials of earlier batches as they ended, and
of its own batch the parameters of those with a lower number. Sampler and pruner are made afresh for it from the study's
seed and its number. So the same seed gives the same trials, however many workers there are, whoever is quicker, and
whether or not the study was killed in between.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ratchet.config.tuning import Choices, FloatRange, IntRange, Parameter, Search
from ratchet.errors import ConfigError, nearest, one_line
from ratchet.experiments.tuning.space import Values, choose

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

# What Optuna takes as a choice; other values are told to it as JSON.
_PLAIN = (str, int, float, bool, type(None))


@dataclass(frozen=True)
class Rules:
    """What all trials of a study share.

    Attributes
    ----------
    study: its name, by which Hyperband parts the trials.
    search: the space, the sampler and the pruner.
    seed: of the whole study.
    minimise: whether less is better.
    """

    study: str
    search: Search
    seed: int
    minimise: bool


class Mirror:
    """The study as one trial may see it.

    Parameters
    ----------
    rules: of the study.
    settled: the trials of earlier batches, all ended, in the order of their numbers.
    siblings: those of the own batch with a lower number.
    """

    def __init__(self, rules: Rules, settled: Sequence[FrozenTrial], siblings: Sequence[FrozenTrial]) -> None:
        import optuna

        self._rules, self._number = rules, len(settled) + len(siblings)
        with _without_chatter():
            self._study = optuna.create_study(
                study_name=rules.study,
                direction="minimize" if rules.minimise else "maximize",
                sampler=_sampler(rules.search, rules.seed, self._number),
                pruner=_pruner(rules.search),
            )
        self._study.add_trials(settled)
        self._study.add_trials(_as_it_began(sibling) for sibling in siblings)

    def propose(self, fixed: Values | None = None) -> FrozenTrial:
        """Begin the trial, with the sampler's values or with those that are given.

        Returns
        -------
        The trial as it begins, with the parameters that count.
        """
        if fixed is not None:
            self._study.enqueue_trial({path: plain(value) for path, value in fixed.items()})
        with _without_chatter():
            self._trial = self._study.ask()
            choose(self._rules.search.space, self._suggest)
        return self._study.trials[self._number]

    def prunes(self, step: int, value: float) -> bool:
        """Tell the value so far, and ask whether the trial ends here."""
        self._trial.report(value, step)
        with _without_chatter():
            return self._trial.should_prune()

    @property
    def notes(self) -> dict[str, Any]:
        """What sampler and pruner have written down of the trial, and look for in later ones."""
        return dict(self._study.trials[self._number].system_attrs)

    def _suggest(self, path: str, parameter: Parameter) -> Any:
        return value_of(parameter, self._trial._suggest(path, distribution(parameter)))


def plain(value: Any) -> Any:
    """A choice as Optuna takes it."""
    return value if isinstance(value, _PLAIN) else json.dumps(value)


def value_of(parameter: Parameter, told: Any) -> Any:
    """The choice that Optuna's value stands for; a number is itself."""
    if not isinstance(parameter, Choices):
        return told
    return next(choice for choice in parameter.choices if repr(plain(choice)) == repr(told))


def values_of_trial(search: Search, trial: FrozenTrial) -> Values:
    """The values of a trial, by dotted path."""
    return {path: value_of(search.space[path], told) for path, told in trial.params.items()}


def distribution(parameter: Parameter) -> BaseDistribution:
    """A parameter as Optuna has it."""
    from optuna import distributions

    if isinstance(parameter, FloatRange):
        return distributions.FloatDistribution(parameter.low, parameter.high, log=parameter.log, step=parameter.step)
    if isinstance(parameter, IntRange):
        return distributions.IntDistribution(parameter.low, parameter.high, log=parameter.log, step=parameter.step)
    return distributions.CategoricalDistribution([plain(choice) for choice in parameter.choices])


def check_search(search: Search) -> None:
    """Make sure that sampler and pruner can be made, and that the sampler can search this space.

    Raises
    ------
    ConfigError: an unknown parameter or one with a wrong value, or a grid over what has no grid.
    """
    with _without_chatter():
        _sampler(search, 0, 0)
        _pruner(search)


def most_trials(search: Search) -> int:
    """How many trials there are to make: a grid ends with its last point."""
    if search.sampler.name != "grid":
        return search.trials
    return min(search.trials, math.prod(len(points) for points in _grid(search).values()))


def proposes_baseline(search: Search) -> bool:
    """Whether the first trial may be the config's own values; a grid has its own points, each once."""
    return search.sampler.name != "grid"


def _sampler(search: Search, seed: int, number: int) -> Any:
    from optuna import samplers

    name, params = search.sampler.name, dict(search.sampler.params)
    own = int.from_bytes(hashlib.sha256(f"{seed}/{number}".encode()).digest()[:4], "big")
    if name == "grid":
        return _made("sampler", samplers.GridSampler, params, search_space=_grid(search), seed=seed)
    if name == "qmc":
        made = _made(
            "sampler",
            samplers.QMCSampler,
            {"scramble": True, "warn_independent_sampling": False} | params,
            seed=seed,
            independent_sampler=samplers.RandomSampler(seed=own),
        )
        # The place in the sequence is the trial's number; Optuna keeps a counter, which another run would not have.
        made._find_sample_id = lambda *_: number
        return made
    kinds: dict[str, type[BaseSampler]] = {"tpe": samplers.TPESampler, "random": samplers.RandomSampler}
    return _made("sampler", kinds[name], params, seed=own)


def _pruner(search: Search) -> Any:
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
    return _made("pruner", kinds[name], defaults.get(name, {}) | search.pruner.params)


def _made(what: str, kind: Callable[..., Any], params: Mapping[str, Any], **given: Any) -> Any:
    signature = inspect.signature(kind).parameters
    known = set(signature) - set(given) - {"constraints_func", "gamma", "weights"}
    for name, value in params.items():
        if name not in known:
            raise ConfigError(f"search.{what}.params: there is no {name!r}{nearest(name, known)}")
        _check_type(f"search.{what}.params.{name}", value, signature[name].default)
    try:
        return kind(**params, **given)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"search.{what}.params: {one_line(error)}") from None


def _check_type(path: str, value: Any, default: Any) -> None:
    """Optuna looks at most of these when a trial needs them, and not before."""
    expected = {bool: bool, int: int, float: (int, float)}.get(type(default))
    if expected and (not isinstance(value, expected) or isinstance(value, bool) != isinstance(default, bool)):  # type: ignore[arg-type]
        raise ConfigError(f"{path}: got {value!r}, expected {type(default).__name__} such as {default!r}")


def _grid(search: Search) -> dict[str, list[Any]]:
    return {path: _points(path, parameter) for path, parameter in sorted(search.space.items())}


def _points(path: str, parameter: Parameter) -> list[Any]:
    if parameter.when:
        raise ConfigError(f"search.sampler: a grid has all values of all parameters, and {path} has a 'when'")
    if isinstance(parameter, Choices):
        return [plain(choice) for choice in parameter.choices]
    if parameter.step is None or parameter.log:
        raise ConfigError(f"search.sampler: a grid needs points, and {path} has none: give it 'step', or choices")
    steps = round((parameter.high - parameter.low) / parameter.step)
    return [parameter.low + parameter.step * place for place in range(steps + 1)]


def _as_it_began(trial: FrozenTrial) -> FrozenTrial:
    """A trial of the own batch: its parameters are known, and nothing of how it goes."""
    from optuna.trial import FrozenTrial, TrialState

    return FrozenTrial(
        number=trial.number,
        state=TrialState.RUNNING,
        value=None,
        datetime_start=trial.datetime_start or datetime.now(),
        datetime_complete=None,
        params=trial.params,
        distributions=trial.distributions,
        user_attrs={},
        system_attrs={},
        intermediate_values={},
        trial_id=trial._trial_id,
    )


@contextmanager
def _without_chatter() -> Iterator[None]:
    """Without what Optuna says of every study: that it was made, and which of its parts are new."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield

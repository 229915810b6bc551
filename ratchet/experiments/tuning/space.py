"""A search space: the parameters that apply, a trial's config, and the check that the estimator accepts all values."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sklearn.base import BaseEstimator

from ratchet.config import TrainingConfig
from ratchet.config.files import parse_config
from ratchet.config.tuning import Choices, Parameter, TuningConfig, chosen_in_order
from ratchet.errors import ConfigError, one_line
from ratchet.model.training import build_estimator, named_estimator

Values = dict[str, Any]
_ESTIMATOR = "train.estimator"
_MOST_BRANCHES = 1000


def choose(space: Mapping[str, Parameter], pick: Callable[[str, Parameter], Any]) -> Values:
    """Pick a value for each parameter that applies, after those that it depends on; by dotted path."""
    values: Values = {}
    for path, parameter in chosen_in_order(dict(space)).items():
        if applies(parameter, values):
            values[path] = pick(path, parameter)
    return values


def applies(parameter: Parameter, values: Mapping[str, Any]) -> bool:
    """Return whether a parameter's conditions hold, given the values that were chosen before it."""
    return all(other in values and values[other] in parameter.allowed(other) for other in parameter.when)


def config_with(base: TrainingConfig, values: Mapping[str, Any]) -> TrainingConfig:
    """Return the config of a trial: the base with the trial's values.

    Where the values name another estimator, the base's hyper-parameters are left out.

    Raises
    ------
    ConfigError: the values make an invalid config.
    """
    data = base.to_plain(exclude_unset=True)  # defaults that are written out change the cache's keys
    if values.get(_ESTIMATOR, base.train.estimator) != base.train.estimator:
        data["train"]["params"] = {}
    for path, value in values.items():
        node = data
        *keys, last = path.split(".") if path != _ESTIMATOR else ("train", "estimator")
        for key in keys:
            node = node.setdefault(key, {})
            if not isinstance(node, dict):
                raise ConfigError(f"{path}: {key!r} is a value, it has no keys")
        node[last] = value
    return parse_config(data, "search.space")  # type: ignore[no-any-return]


def values_of(config: TuningConfig) -> tuple[Values | None, str]:
    """Return the config's own values as a point of its space.

    Returns
    -------
    The values and an empty text, or None and the reason why they are not in the space.
    """
    base = config.base()
    defaults = named_estimator(base.train).get_params(deep=False)
    own = base.to_plain()
    outside: list[str] = []

    def pick(path: str, parameter: Parameter) -> Any:
        found = _look_up(own, path, defaults)
        if not parameter.contains(found):
            outside.append(f"{path} {found!r}")
        return found

    values = choose(config.search.space, pick)
    return (None, f"the space has no {', '.join(outside)}") if outside else (values, "")


def check_space(config: TuningConfig) -> None:
    """Check that an estimator can be built from both ends of every range, and from every choice.

    Raises
    ------
    ConfigError: names the parameter, the value, and what was expected.
    """
    base, seen = config.base(), set()
    require_estimator(base)
    for values, description in _corners(config.search.space):
        key = repr(sorted(values.items()))
        if key in seen:
            continue
        seen.add(key)
        try:
            require_estimator(config_with(base, values))
        except ConfigError as error:
            message = str(error).removeprefix("search.space: ")
            raise ConfigError(f"search.space: with {description}: {message}") from None


def require_estimator(config: TrainingConfig) -> None:
    """Build a config's estimator and let scikit-learn check its hyper-parameters, without rows.

    Raises
    ------
    ConfigError: the estimator or a hyper-parameter does not exist, or a value is not allowed.
    """
    estimator = build_estimator(config.train, config.task, config.seed)
    nested = [value for value in estimator.get_params(deep=True).values() if isinstance(value, BaseEstimator)]
    for part in (estimator, *nested):
        if not hasattr(part, "_parameter_constraints"):  # not one of scikit-learn's classes
            continue
        try:
            part._validate_params()
        except ValueError as error:
            raise ConfigError(one_line(error)) from None


def _corners(space: Mapping[str, Parameter]) -> Iterator[tuple[Values, str]]:
    """Yield values to check and a description: one parameter at an end of its range, the others at their first value.

    The parameters that others depend on take all combinations of their values.
    """
    deciding = {other for parameter in space.values() for other in parameter.when} | ({_ESTIMATOR} & set(space))
    options = {path: _deciding_values(path, space) for path in sorted(deciding)}
    for picked in itertools.islice(itertools.product(*options.values()), _MOST_BRANCHES):
        branch = dict(zip(options, picked, strict=True))

        def first(path: str, parameter: Parameter, branch: Values = branch) -> Any:
            return branch[path] if path in branch else parameter.ends[0]

        values = choose(space, first)
        taken = {path: value for path, value in values.items() if path in branch}
        yield values, _described(taken or values)
        for path in values.keys() - branch.keys():
            for end in space[path].ends:
                yield values | {path: end}, _described({path: end} | taken)


def _deciding_values(path: str, space: Mapping[str, Parameter]) -> list[Any]:
    parameter = space[path]
    if isinstance(parameter, Choices):
        return list(parameter.choices)
    named = [value for other in space.values() if path in other.when for value in other.allowed(path)]
    return [*parameter.ends, *named]


def _described(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{path} {value!r}" for path, value in values.items())


def _look_up(own: Mapping[str, Any], path: str, defaults: Mapping[str, Any]) -> Any:
    node: Any = own
    for key in path.split("."):
        if not isinstance(node, Mapping) or key not in node:
            return defaults.get(path.removeprefix("train.params."))
        node = node[key]
    return node

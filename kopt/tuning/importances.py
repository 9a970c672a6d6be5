"""Which hyperparameters the objective depends on, seen by a forest that was fitted to the trials."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

LEAST_TRIALS = 5
_REPEATS = 20


def importances(settings: Sequence[Mapping[str, Any]], objective: Sequence[float], seed: int = 0) -> dict[str, float]:
    """Returns the share that each hyperparameter has in what a forest knows of the objective, greatest first.

    A random forest is fitted to the trials; a hyperparameter counts by how much its error grows when the column of that
    hyperparameter is shuffled (Breiman 2001, https://doi.org/10.1023/A:1010933404324). One that is inactive in a trial
    has a value of its own there, so that conditional spaces need no special care.

    Args:
        settings: Of each trial, the active hyperparameters by name.
        objective: Of each trial.
        seed: Of the forest and of the shuffling.

    Returns:
        Numbers >= 0 by name, which sum to 1; all 0 if the objective is the same everywhere.

    Raises:
        ValueError: Fewer than five trials.
    """
    if len(settings) < LEAST_TRIALS:
        raise ValueError(
            f"Importances need at least {LEAST_TRIALS} trials that have run to their end. Received: {len(settings)}."
        )
    from sklearn.ensemble import RandomForestRegressor

    names = list(dict.fromkeys(name for setting in settings for name in setting))
    target = np.asarray(objective, "float64")
    # Ranks: one trial that went wrong would hide all the others.
    target = np.argsort(np.argsort(target)) / (len(target) - 1) * float(np.ptp(target) > 0)
    columns = {name: encoded([setting.get(name) for setting in settings]) for name in names}
    table = np.concatenate(list(columns.values()), axis=1)
    forest = RandomForestRegressor(200, min_samples_leaf=2, random_state=seed).fit(table, target)
    rng = np.random.default_rng(seed)
    error = float(np.mean((forest.predict(table) - target) ** 2))
    growth, begin = {}, 0
    for name, block in columns.items():
        end = begin + block.shape[1]
        shuffled = np.tile(table, (_REPEATS, 1))
        for repeat in range(_REPEATS):
            rows = slice(repeat * len(table), (repeat + 1) * len(table))
            shuffled[rows, begin:end] = table[rng.permutation(len(table)), begin:end]
        errors = (forest.predict(shuffled) - np.tile(target, _REPEATS)) ** 2
        growth[name] = max(0.0, float(np.mean(errors)) - error)
        begin = end
    total = sum(growth.values())
    shares = {name: value / total if total else 0.0 for name, value in growth.items()}
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def encoded(values: Sequence[Any]) -> np.ndarray:
    """Returns a hyperparameter as columns: numbers as one, in logarithms where they span decades; others one-hot.

    Args:
        values: Of each trial, None where it is inactive.
    """
    present = [value for value in values if value is not None]
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in present):
        logarithmic = is_logarithmic(present)
        numbers = [math.log(value) if logarithmic else float(value) for value in present]
        below = min(numbers) - 1 - (max(numbers) - min(numbers))
        found = iter(numbers)
        return np.array([[below if value is None else next(found)] for value in values])
    kinds = list(dict.fromkeys(str(value) for value in values))
    return np.array([[float(str(value) == kind) for kind in kinds] for value in values])


def is_logarithmic(values: Sequence[float]) -> bool:
    """Returns whether numbers span more than a decade and a half on one side of 0, so that logarithms suit them."""
    return min(values) > 0 and max(values) > 30 * min(values)

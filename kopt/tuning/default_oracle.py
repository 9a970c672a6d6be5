"""Which oracle a tuner has if it is given none, and the seeds that are derived from one."""

import hashlib
from typing import Any

import keras
import keras_tuner

from kopt._backend import watch
from kopt.tuning.oracle import OptunaOracle


def derived_seed(seed: int, *parts: Any) -> int:
    """Returns a seed in [1, 2^31) that belongs to `seed` and to what it is for, such as a trial and a fold."""
    text = "/".join(map(str, (seed, *parts)))
    return 1 + int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % (2**31 - 2)


def seed_training(seed: int) -> None:
    """Seeds Python, NumPy and the backend; Keras' own function would import TensorFlow for other backends as well."""
    with watch.without_tensorflow():
        keras.utils.set_random_seed(seed)


def make_oracle(*, objective: Any, max_trials: int, seed: int | None, **options: Any) -> keras_tuner.Oracle:
    """Returns the oracle of a tuner that is given none.

    Args:
        objective: As `keras_tuner.Oracle` takes it.
        max_trials: The number of trials.
        seed: An integer >= 0; None for one by chance.
        options: What else `OptunaOracle` takes.
    """
    return OptunaOracle(objective, max_trials, seed=seed, **options)

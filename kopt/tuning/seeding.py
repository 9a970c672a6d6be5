"""The seeds of a search's trainings, which are derived from one."""

import hashlib
from typing import Any

import keras

from kopt._backend import watch


def derived_seed(seed: int, *parts: Any) -> int:
    """Returns a seed in [1, 2^31) that belongs to `seed` and to what it is for, such as a trial and a fold."""
    text = "/".join(map(str, (seed, *parts)))
    return 1 + int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % (2**31 - 2)


def seed_training(seed: int) -> None:
    """Seeds Python, NumPy and the backend; Keras' own function would import TensorFlow for other backends as well."""
    with watch.without_tensorflow():
        keras.utils.set_random_seed(seed)

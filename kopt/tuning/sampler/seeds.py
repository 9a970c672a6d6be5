"""One seed per trial, a function of the search's seed and of its use: a resumed search draws the same."""

import zlib

import numpy as np


def seed_of(seed: int, *keys: int | str) -> int:
    """Returns a seed below 2**32 that differs for different keys.

    Args:
        seed: The seed of the search, an integer >= 0.
        keys: What the random numbers are for: the number of a trial, the name of a parameter.
    """
    words = [key if isinstance(key, int) else zlib.crc32(key.encode()) for key in keys]
    return int(np.random.SeedSequence([seed, *words]).generate_state(1)[0])


def generator_of(seed: int, *keys: int | str) -> np.random.Generator:
    """Returns a generator that starts from `seed_of` the same arguments."""
    return np.random.default_rng(seed_of(seed, *keys))

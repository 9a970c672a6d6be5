"""Is the gradient noise normal, of the promised size, and never the same twice?"""

import keras
import numpy as np
import pytest

from kopt import optimizers, transforms
from kopt._core.random_numbers import threefry

SIZE = 20_000


def noise(step=1, count=2, **options):
    """Returns what plain gradient descent of rate 1 takes from zeros at a step, for some variables."""
    settings = {"eta": 1.0, "gamma": 0.0, **options}
    optimizer = optimizers.SGD(1.0, before=[transforms.AddNoise(**settings)])
    variables = [keras.Variable(np.zeros(SIZE, "float32"), name=f"v{i}") for i in range(count)]
    optimizer.build(variables)
    zeros = [np.zeros(SIZE, "float32")] * count
    new, _ = optimizer.pure_step(zeros, [keras.ops.convert_to_tensor(z) for z in zeros], _slots(optimizer), step - 1)
    return [-keras.ops.convert_to_numpy(value) for value in new]


def _slots(optimizer):
    return [keras.ops.convert_to_tensor(slot) for slot in optimizer.slot_variables]


def test_threefry_gives_the_published_bits():
    """The known answers of Threefry-2x32 with 20 rounds that come with Random123 (Salmon et al. 2011)."""
    rows = [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ]
    for key, counter, expected in rows:
        found = threefry(*([keras.ops.convert_to_tensor(_signed(n), "int32") for n in pair] for pair in (key, counter)))
        assert [int(keras.ops.convert_to_numpy(x)) & 0xFFFFFFFF for x in found] == list(expected)


def _signed(bits):
    return bits - (1 << 32) if bits >> 31 else bits


@pytest.mark.parametrize("seed", [0, 7, 2**32 - 1])
def test_noise_is_normal(seed):
    """Each moment lies within five standard errors of its value."""
    for x in noise(seed=seed):
        z = x.astype("float64")
        for power, expected, variance in [(1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)]:
            assert abs(np.mean(z**power) - expected) < 5 * np.sqrt(variance / SIZE), power
        tails = np.mean(np.abs(z) > 2)
        assert abs(tails - 0.0455) < 5 * np.sqrt(0.0455 / SIZE)


def test_noise_is_never_the_same_twice():
    first, second = noise()
    later, other = noise(step=2)[0], noise(seed=1)[0]
    for a, b in [(first, second), (first, later), (first, other), (first[:-1], first[1:]), (second, later)]:
        assert abs(np.mean(a.astype("float64") * b)) < 5 / np.sqrt(len(a))
    half = SIZE // 2  # Each counter makes one number of the first half and one of the second.
    assert abs(np.mean(first[:half].astype("float64") * first[half:])) < 5 / np.sqrt(half)
    np.testing.assert_array_equal(first, noise()[0])


def test_the_variance_falls_as_promised():
    for step in (1, 4, 100):
        seen = np.var(noise(step, eta=0.3, gamma=0.55)[0].astype("float64"))
        assert abs(seen / (0.3 / step**0.55) - 1) < 5 * np.sqrt(2 / SIZE)

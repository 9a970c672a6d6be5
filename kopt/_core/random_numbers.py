"""Random numbers that are a function of a key and a counter: no generator, no state, the same on each backend.

Keras' own random numbers come from each backend's generator: they differ between backends, PyTorch's cannot be run
under `vmap`, and TensorFlow's need care on several devices.
"""

import math
from typing import Any

from keras import ops

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = 0x1BD11BDA


def threefry(key: tuple[Any, Any], counter: tuple[Any, Any]) -> tuple[Any, Any]:
    """Returns 64 random bits for each counter, as two int32 tensors: Threefry-2x32 with 20 rounds.

    For each key it is a bijection of counters, so that no two of them meet. Additions wrap around, as int32 does on all
    backends (there is no unsigned integer that all have).

    Args:
        key: Two int32 scalar tensors.
        counter: Two int32 tensors of one shape, or of shapes that broadcast.

    References:
        Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
    """
    keys = (*key, ops.bitwise_xor(ops.bitwise_xor(key[0], key[1]), PARITY))
    a, b = counter[0] + keys[0], counter[1] + keys[1]
    for group in range(1, 6):
        for rotation in ROTATIONS[(group - 1) % 2]:
            a = a + b
            b = ops.bitwise_xor(_rotated(b, rotation), a)
        a, b = a + keys[group % 3], b + keys[(group + 1) % 3] + group
    return a, b


def normals(count: int, key: tuple[Any, Any], stream: Any) -> Any:
    """Returns `count` numbers from the standard normal distribution, as a float32 vector.

    Box and Muller's transform makes two of each counter. Uniform numbers have 24 bits, as float32 holds, so that no
    number is larger than 5.8.

    Args:
        count: How many.
        key: Two int32 scalar tensors.
        stream: An int32 scalar tensor: another one gives other numbers.
    """
    pairs = (count + 1) // 2
    a, b = threefry(key, (ops.arange(pairs, dtype="int32"), stream))
    radius = ops.sqrt(-2.0 * ops.log(1.0 - _uniform(a)))
    angle = 2.0 * math.pi * _uniform(b)
    return ops.concatenate([radius * ops.cos(angle), radius * ops.sin(angle)])[:count]


def _rotated(x: Any, bits: int) -> Any:
    """Returns x with its bits rotated to the left; int32 shifts its sign to the right, which the mask takes off."""
    low = ops.bitwise_and(ops.bitwise_right_shift(x, 32 - bits), (1 << bits) - 1)
    return ops.bitwise_or(ops.bitwise_left_shift(x, bits), low)


def _uniform(x: Any) -> Any:
    """Returns the upper 24 bits as float32 numbers in [0, 1)."""
    upper = ops.bitwise_and(ops.bitwise_right_shift(x, 8), (1 << 24) - 1)
    return ops.cast(upper, "float32") * 2.0**-24

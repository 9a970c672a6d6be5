"""Buckets of a histogram that are the same at each step and in each run, and how many elements fall into each."""

import math
from typing import Any

from keras import ops

from kopt._backend import adapter_module

_PER_OCTAVE, _LOWEST, _OCTAVES = 4, -40, 48
_PER_SIGN = _PER_OCTAVE * _OCTAVES
_EDGES = [2.0 ** (_LOWEST + p / _PER_OCTAVE) for p in range(_PER_SIGN + 1)]
BUCKET_EDGES = (*(-edge for edge in reversed(_EDGES)), *_EDGES)
"""Edges of the histogram's buckets: quarter powers of two of both signs around a middle bucket of |g| < 2^-40."""
_MANTISSA = 0x7FFFFF
# Of the least float32 that is not below each edge inside an octave.
_QUARTERS = [math.ceil((2.0 ** (q / _PER_OCTAVE) - 1) * (_MANTISSA + 1)) for q in range(1, _PER_OCTAVE)]


def bucket_counts(g: Any) -> Any:
    """Returns how many elements fall between the neighbouring `BUCKET_EDGES`; non-finite ones count as outermost."""
    flat = ops.reshape(g, (-1,))
    # Exponent and mantissa as float32 stores them: a logarithm would round numbers beside an edge across it.
    bits = ops.view(flat, "int32")
    octave = ops.bitwise_and(ops.right_shift(bits, 23), 255) - 127 - _LOWEST
    mantissa = ops.bitwise_and(bits, _MANTISSA)
    place = _PER_OCTAVE * octave + 1
    for edge in _QUARTERS:
        place += ops.cast(mantissa >= edge, "int32")
    place = ops.clip(place, 0, _PER_SIGN)
    bucket = _PER_SIGN + ops.where(flat < 0, -place, place)
    return ops.cast(adapter_module.occurrences(bucket, len(BUCKET_EDGES) - 1), "float32")

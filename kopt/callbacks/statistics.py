"""The numbers of one optimizer step, packed into one vector on the device and named on the host."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from keras import ops

from kopt._backend import adapter_module

PER_VARIABLE = (
    "gradients_norm",
    "gradients_mean",
    "gradients_std",
    "gradients_absmax",
    "gradients_zero_fraction",
    "gradients_nonfinite_fraction",
    "weights_norm",
    "updates_norm",
)
_PER_OCTAVE, _LOWEST, _OCTAVES = 4, -40, 48
_PER_SIGN = _PER_OCTAVE * _OCTAVES
_EDGES = [2.0 ** (_LOWEST + p / _PER_OCTAVE) for p in range(_PER_SIGN + 1)]
BUCKET_EDGES = (*(-edge for edge in reversed(_EDGES)), *_EDGES)
"""Edges of the histogram's buckets: quarter powers of two of both signs around a middle bucket of |g| < 2^-40."""
_MANTISSA = 0x7FFFFF
# Of the least float32 that is not below each edge inside an octave.
_QUARTERS = [math.ceil((2.0 ** (q / _PER_OCTAVE) - 1) * (_MANTISSA + 1)) for q in range(1, _PER_OCTAVE)]


@dataclass
class Layout:
    """Where each number stands in the packed vector; filled while the step is traced.

    Attributes:
        scalars: Tags of the single numbers, in order.
        paths: Variables, in order, each with the numbers of `PER_VARIABLE`.
        sizes: Number of elements of each variable.
        histograms: Whether each variable's bucket counts follow.
    """

    scalars: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    histograms: bool = False


def pack(
    layout: Layout,
    scalars: Mapping[str, Any],
    paths: Sequence[str],
    gradients: Sequence[Any],
    before: Sequence[Any],
    after: Sequence[Any],
) -> Any:
    """Returns all numbers of a step as one float32 vector, and writes into `layout` what stands where."""
    layout.scalars, layout.paths = list(scalars), list(paths)
    layout.sizes = [math.prod(gradient.shape) for gradient in gradients]
    numbers = [ops.cast(value, "float32") for value in scalars.values()]
    counts = []
    for g, x, new in zip(gradients, before, after, strict=True):
        g, x, new = (ops.cast(tensor, "float32") for tensor in (g, x, new))
        numbers += [*gradient_numbers(g), norm(x), norm(x - new)]
        if layout.histograms:
            counts.append(bucket_counts(g))
    return ops.concatenate([ops.stack(numbers), *counts])


def norm(tensor: Any) -> Any:
    """Returns the Euclidean norm of all elements."""
    return ops.sqrt(ops.sum(ops.square(tensor)))


def global_norm(tensors: Sequence[Any]) -> Any:
    """Returns the Euclidean norm of all elements of all tensors."""
    return ops.sqrt(ops.sum(ops.stack([ops.sum(ops.square(ops.cast(t, "float32"))) for t in tensors])))


def gradient_numbers(g: Any) -> list[Any]:
    """Returns norm, mean, standard deviation, largest absolute value, shares of zeros and of non-finite elements."""
    mean = ops.mean(g)
    return [
        norm(g),
        mean,
        ops.sqrt(ops.mean(ops.square(g - mean))),
        ops.max(ops.absolute(g)),
        ops.mean(ops.cast(ops.equal(g, 0.0), "float32")),
        ops.mean(ops.cast(ops.logical_not(ops.isfinite(g)), "float32")),
    ]


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


def unpack(layout: Layout, vector: np.ndarray) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Returns scalars by tag and bucket counts by path, shares and ratios of the whole model included."""
    single = len(layout.scalars)
    end = single + len(layout.paths) * len(PER_VARIABLE)
    scalars = dict(zip(layout.scalars, vector[:single].tolist(), strict=True))
    table = vector[single:end].reshape(len(layout.paths), len(PER_VARIABLE))
    weights = np.asarray(layout.sizes, "float64") / max(sum(layout.sizes), 1)
    columns = dict(zip(PER_VARIABLE, table.T, strict=True))
    for share in ("zero_fraction", "nonfinite_fraction"):
        scalars[f"gradients/{share}"] = float(weights @ columns[f"gradients_{share}"])
    for path, row in zip(layout.paths, table.tolist(), strict=True):
        scalars |= {f"{name}/{path}": value for name, value in zip(PER_VARIABLE, row, strict=True)}
        weight, update = row[-2:]
        scalars[f"update_to_weight/{path}"] = update / weight if weight else math.nan if update else 0.0
    counts = vector[end:].reshape(len(layout.paths), -1) if layout.histograms else ()
    return scalars, dict(zip(layout.paths, counts, strict=False))

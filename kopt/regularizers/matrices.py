"""Kernels as the matrices that their layers multiply by, and power iteration on these."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

from kopt._core import checks
from kopt.regularizers.penalty import safe_root


def tall_matrices(kernel: Any, owner: str, *, depthwise: bool) -> Any:
    """Returns a kernel as matrices of the shape (matrices, rows, columns) with no more columns than rows.

    The last axis is the output, and all others together the input; the smaller of the two becomes the columns. Of a
    depthwise kernel (height, width, in, multiplier) each input channel has a matrix of its own.

    Args:
        kernel: A tensor of two or more dimensions.
        owner: Name of the regularizer, for errors.
        depthwise: Whether it is a kernel of a depthwise convolution.
    """
    shape = tuple(int(size) for size in kernel.shape)
    least = 3 if depthwise else 2
    if len(shape) < least:
        advice = f"{owner} is for kernels, not for biases or scales."
        raise checks.fail("x", f"a tensor of {least} or more dimensions", shape, advice)
    if depthwise:
        space = math.prod(shape[:-2])
        matrices = ops.transpose(ops.reshape(kernel, (space, *shape[-2:])), (1, 0, 2))
        rows, columns = space, shape[-1]
    else:
        rows, columns = math.prod(shape[:-1]), shape[-1]
        matrices = ops.reshape(kernel, (1, rows, columns))
    return matrices if rows >= columns else ops.transpose(matrices, (0, 2, 1))


def leading(multiply: Callable[[Any, Any], Any], matrices: Any, iterations: int) -> Any:
    """Returns unit vectors near those that symmetric maps stretch most, as constants to the gradient.

    They begin at the same pseudo-random numbers each time. A vector that a map takes to 0 becomes 0.

    Args:
        multiply: Applies the maps that belong to matrices to vectors of the shape (matrices, columns, 1).
        matrices: Of the shape (matrices, rows, columns).
        iterations: How often the maps are applied.
    """
    columns = int(matrices.shape[-1])
    start = np.random.RandomState(0).normal(size=(1, columns, 1))
    v = ops.convert_to_tensor(start / np.linalg.norm(start), matrices.dtype)
    constant = ops.stop_gradient(matrices)

    def stretched(_: Any, v: Any) -> Any:
        w = multiply(constant, v)
        return w / ops.maximum(norms(w), 1e-30)

    # A loop of the compiler's: written out, XLA takes seconds for each kernel.
    return ops.stop_gradient(ops.fori_loop(0, iterations, stretched, v + ops.zeros_like(constant[:, :1, :1])))


def norms(vectors: Any) -> Any:
    """Returns the lengths of vectors of the shape (matrices, columns, 1) in the shape (matrices, 1, 1)."""
    return safe_root(ops.sum(ops.square(vectors), axis=1, keepdims=True))


def gram_times(matrices: Any, vectors: Any) -> Any:
    """Returns M^T M v without the product of the matrices."""
    return ops.matmul(ops.transpose(matrices, (0, 2, 1)), ops.matmul(matrices, vectors))

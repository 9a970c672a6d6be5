"""Which axes of a Keras variable are inputs of its layer, and which are outputs."""

import math
import re
from typing import Any


def matrix_shape(variable: Any) -> tuple[int, int]:
    """Returns the shape (inputs, outputs) of a kernel as the matrix that its layer multiplies by.

    Dense kernels are (in, out), convolution kernels (height, width, in, out): the last axis is the output, all others
    together are the input. The kernels of attention's query, key and value are (in, heads, size): there the first axis
    is the input. Reshaping a kernel to this shape moves no element in memory.

    Args:
        variable: Anything with a `shape` of two or more dimensions; its `path`, if it has one, tells attention's.
    """
    shape = tuple(int(size) for size in variable.shape)
    path = getattr(variable, "path", "")
    inputs = 1 if len(shape) == 3 and re.search(r"(^|/)(query|key|value)/kernel$", path) else len(shape) - 1
    return math.prod(shape[:inputs]), math.prod(shape[inputs:])

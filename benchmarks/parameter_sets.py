"""The shapes of the parameters that the optimizer benchmarks step over."""

import math
from collections.abc import Iterator

Shape = tuple[int, ...]

RESNET_TENSORS = 161
RESNET_FLOATS = 25_557_032
TINY_TENSORS = 1000


def resnet() -> list[Shape]:
    """Returns the shapes of ResNet-50 (He et al. 2015, https://arxiv.org/abs/1512.03385) with 1000 classes.

    Convolutions have no bias, each is followed by the scale and offset of a normalization.

    Raises:
        ValueError: The shapes do not add up to those of the published network.
    """
    shapes = list(_convolution(7, 3, 64))
    features = 64
    for blocks, width in ((3, 64), (4, 128), (6, 256), (3, 512)):
        for block in range(blocks):
            shapes.extend(_convolution(1, features, width))
            shapes.extend(_convolution(3, width, width))
            shapes.extend(_convolution(1, width, 4 * width))
            if block == 0:
                shapes.extend(_convolution(1, features, 4 * width))
            features = 4 * width
    shapes.extend([(features, 1000), (1000,)])
    if (len(shapes), floats(shapes)) != (RESNET_TENSORS, RESNET_FLOATS):
        raise ValueError(
            f"ResNet-50 has {RESNET_TENSORS} tensors and {RESNET_FLOATS} parameters. "
            f"Received: {len(shapes)} tensors and {floats(shapes)} parameters."
        )
    return shapes


def tiny() -> list[Shape]:
    """Returns 500 kernels of (16, 16) and 500 biases of (16,): next to no arithmetic, all overhead."""
    return [(16, 16), (16,)] * (TINY_TENSORS // 2)


def floats(shapes: list[Shape]) -> int:
    """Returns how many numbers the shapes hold together."""
    return sum(math.prod(shape) for shape in shapes)


def _convolution(kernel: int, features: int, filters: int) -> Iterator[Shape]:
    yield (kernel, kernel, features, filters)
    yield (filters,)
    yield (filters,)


SETS = {"resnet": resnet, "tiny": tiny}

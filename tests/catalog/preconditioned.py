"""Methods that precondition with the roots or eigenvectors of gradient statistics."""

import math
from typing import Any

import oracles_preconditioned as oracles
import references.preconditioned as reference

from catalog.case import Case, TransformCase
from catalog.rules import COUNT, FLAG, NON_NEGATIVE
from kopt import optimizers, transforms

# Two kernels of one shape, which are stacked, one that is wide, a convolution's, and vectors.
KERNELS = {
    "dense": (5, 5),
    "twin": (5, 5),
    "wide": (3, 5),
    "tall": (6, 4),
    "conv": (2, 2, 2, 3),
    "bias": (5,),
    "gain": (),
}
# Where the oracle's eigenvectors are determined by the first gradient: square, one-sided or no matrix.
FULL_RANK = {"dense": (5, 5), "twin": (5, 5), "wide": (5, 7), "bias": (5,), "gain": ()}
MATRICES = {"dense": (4, 4), "twin": (4, 4), "wide": (2, 6)}


def matrix(shape: tuple[int, ...]) -> tuple[int, int] | None:
    """Returns the shape of a kernel as a matrix; None for a vector."""
    rows, columns = math.prod(shape[:-1]), shape[-1] if shape else 1
    return (rows, columns) if len(shape) >= 2 and min(rows, columns) > 1 else None


def soap_state(longest: int = 4096) -> Any:
    """Returns the `state` of m, v, and twice a square per side that is at most `longest`."""
    return lambda shape: 2 * math.prod(shape) + sum(2 * n * n for n in matrix(shape) or () if n <= longest)


def shampoo_state(averages: int, block_size: int) -> Any:
    """Returns the `state` of that many averages, and two squares per side and block."""

    def state(shape: tuple[int, ...]) -> int:
        sides = matrix(shape) or (math.prod(shape), 1)
        counts = [math.ceil(n / block_size) for n in sides]
        sizes = [math.ceil(n / count) for n, count in zip(sides, counts, strict=True)]
        squares = sum(size**2 for size in (sizes if matrix(shape) else sizes[:1]))
        return averages * math.prod(shape) + 2 * math.prod(counts) * squares

    return state


def soap(**kwargs: Any) -> dict[str, Any]:
    base = {"learning_rate": 0.02, "beta_1": 0.8, "beta_2": 0.9, "epsilon": 0.1, "weight_decay": 0.0}
    return {**base, "precondition_frequency": 4, **kwargs}


def shampoo(**kwargs: Any) -> dict[str, Any]:
    base = {"learning_rate": 0.02, "beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-2, "block_size": 3}
    return {**base, "precondition_frequency": 3, "start_preconditioning_step": 5, **kwargs}


# pytorch_optimizer adds an absolute number to the eigenvalues, not a share of the largest: none in these rows, where
# all blocks have full rank from the first gradient on.
SINGULAR = "no epsilon: the blocks of the contract's models have less than full rank, and their roots no inverse"
EVERY_STEP = {"beta_1": 0.0, "epsilon": 0.0, "precondition_frequency": 1, "start_preconditioning_step": 1}

CASES: list[Case] = [
    Case(
        optimizers.SOAP,
        soap(),
        reference.SOAP,
        {"torch": oracles.torch_soap},
        rounding=1e-5,
        state=soap_state(),
        shapes=FULL_RANK | {"wide": (5, 5)},
    ),
    # 7 is above the threshold: there, both turn the side of 5 only.
    Case(
        optimizers.SOAP,
        soap(beta_1=0.7, beta_2=0.95, epsilon=1e-3, precondition_frequency=3, max_precondition_dimension=5),
        reference.SOAP,
        {"torch": oracles.torch_soap},
        rounding=1e-5,
        state=soap_state(5),
        shapes=FULL_RANK,
    ),
    # pytorch_optimizer completes the bases of a rectangular kernel at random, and decays behind the step.
    Case(
        optimizers.SOAP,
        soap(beta_1=0.9, precondition_frequency=5, weight_decay=0.3),
        reference.SOAP,
        rounding=1e-5,
        state=soap_state(),
        shapes=KERNELS,
    ),
    Case(
        optimizers.SOAP,
        soap(epsilon=1e-2, precondition_frequency=7, max_precondition_dimension=6, weight_decay=0.2),
        reference.SOAP,
        rounding=1e-5,
        state=soap_state(6),
        shapes=KERNELS,
    ),
    # pytorch_optimizer has no lengths but those of the last three rows, and no averaged gradient.
    Case(
        optimizers.Shampoo,
        shampoo(momentum=0.5, grafting_epsilon=1e-3, weight_decay=0.3),
        reference.Shampoo,
        rounding=1e-5,
        state=shampoo_state(3, 3),
        shapes=KERNELS,
    ),
    Case(
        optimizers.Shampoo,
        shampoo(beta_1=0.7, epsilon=1e-3, block_size=4, precondition_frequency=2, grafting="rmsprop"),
        reference.Shampoo,
        rounding=1e-5,
        state=shampoo_state(2, 4),
        shapes=KERNELS,
    ),
    Case(
        optimizers.Shampoo,
        shampoo(beta_2=0.95, block_size=2, grafting="sgd", accumulate=True),
        reference.Shampoo,
        rounding=1e-5,
        state=shampoo_state(1, 2),
        shapes=KERNELS,
    ),
    Case(
        optimizers.Shampoo,
        shampoo(block_size=8, grafting=None, weight_decay=0.2),
        reference.Shampoo,
        rounding=1e-5,
        state=shampoo_state(1, 8),
        shapes=KERNELS,
    ),
    Case(
        optimizers.Shampoo,
        {"learning_rate": 0.02, **EVERY_STEP, "grafting": None, "accumulate": True},
        reference.Shampoo,
        {"torch": oracles.torch_shampoo},
        parity_only=SINGULAR,
        state=shampoo_state(1, 128),
        shapes={"dense": (4, 4), "twin": (4, 4), "gain": (1,)},
    ),
    Case(
        optimizers.Shampoo,
        {"learning_rate": 0.02, "beta_2": 0.9, **EVERY_STEP, "momentum": 0.6, "block_size": 2, "grafting": "rmsprop"}
        | {"grafting_epsilon": 1e-3},
        reference.Shampoo,
        {"torch": oracles.torch_scalable_shampoo},
        parity_only=SINGULAR,
        state=shampoo_state(3, 2),
        shapes=MATRICES,
    ),
    Case(
        optimizers.Shampoo,
        {"learning_rate": 0.003, "beta_2": 0.95, **EVERY_STEP, "momentum": 0.5, "block_size": 4, "grafting": "sgd"}
        | {"weight_decay": 0.3},
        reference.Shampoo,
        {"torch": oracles.torch_scalable_shampoo},
        parity_only=SINGULAR,
        state=shampoo_state(2, 4),
        shapes={"dense": (4, 4), "large": (8, 8)},
    ),
]

TRANSFORMS: list[TransformCase] = [
    TransformCase(
        transforms.ScaleBySoap,
        {"beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-2, "precondition_frequency": 2},
        [lambda k: transforms.ScaleBySoap(k / 8, 0.9 - k / 100, 0.1 * (k + 1), 1 + k)],
    ),
    TransformCase(
        transforms.ScaleByShampoo,
        {"beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-2, "block_size": 3, "start_preconditioning_step": 1},
        [
            lambda k: transforms.ScaleByShampoo(
                k / 8, 0.9 - k / 100, 0.01 * (k + 1), 3, 1 + k % 3, 1 + k % 2, grafting_epsilon=1e-3 * (k + 1)
            ),
            lambda k: transforms.ScaleByShampoo(k / 8, epsilon=0.01 * (k + 1), grafting=None, accumulate=True),
        ],
    ),
]
RULES: dict[str, Any] = {
    "accumulate": FLAG,
    "block_size": COUNT,
    "grafting": ("one of 'adam', 'rmsprop', 'sgd'", ["adamw", "", 1, True, ["adam"]]),
    "grafting_epsilon": NON_NEGATIVE,
    "max_precondition_dimension": COUNT,
    "precondition_frequency": COUNT,
    "start_preconditioning_step": COUNT,
}
GOOD: dict[str, Any] = {}

"""Methods that step along orthogonalized or whitened matrices."""

import functools
import math
from collections.abc import Callable
from typing import Any

import orthogonal_oracles as oracles
import references.orthogonal as reference

from catalog.case import Case, TransformCase
from catalog.rules import COUNT, FRACTION, FRACTION_OR_ONE, NON_NEGATIVE, POSITIVE
from kopt import optimizers, transforms

MATRICES = {"square_kernel": (4, 4), "wide_kernel": (3, 5), "tall_kernel": (6, 2)}
SHAPES = {**MATRICES, "convolution_kernel": (2, 2, 3, 5), "head_kernel": (5, 2), "bias": (5,)}
FIRST_FOUR = {"chosen": (0, 1, 2, 3)}


def hidden_and_rest(hidden: int, rest: int) -> Callable[[tuple[int, ...]], int]:
    """Returns the `state` of an optimizer that keeps so many tensors for hidden kernels, and so many for the rest."""
    return lambda shape: math.prod(shape) * (hidden if len(shape) > 1 and min(shape) > 1 else rest)


def kron_state(longest: int) -> Callable[[tuple[int, ...]], int]:
    """Returns the `state` of Kron with triangular factors for sides up to `longest`."""

    def state(shape: tuple[int, ...]) -> int:
        factors = [n * n if 1 < n <= longest else n for n in shape] if len(shape) > 1 else [math.prod(shape)]
        return math.prod(shape) + sum(factors)

    return state


CASES = [
    # optax has one epsilon for both parts, and no Nesterov momentum of this kind: the next row builds it.
    Case(
        optimizers.Muon,
        {
            "learning_rate": 0.03,
            "momentum": 0.8,
            "ns_steps": 4,
            "ns_coefficients": [3.2, -4.3, 1.9],
            "epsilon": 1e-8,
            "size": "spectral",
            "adam_beta_1": 0.8,
            "adam_beta_2": 0.95,
            "adam_learning_rate_ratio": 0.5,
            "nesterov": False,
            "weight_decay": 0.2,
        },
        functools.partial(reference.Muon, **FIRST_FOUR),
        {"optax": oracles.optax_muon},
        state=hidden_and_rest(1, 2),
        shapes=SHAPES,
    ),
    # Keras adds 1e-7 to the norm of the sum, leaves convolutions to Adam, and knows one size.
    Case(
        optimizers.Muon,
        {
            "learning_rate": 0.02,
            "momentum": 0.7,
            "ns_steps": 3,
            "ns_coefficients": [2.0, -1.5, 0.5],
            "epsilon": 1e-7 * (1 - 0.7),
            "adam_beta_1": 0.7,
            "adam_beta_2": 0.9,
            "adam_epsilon": 1e-3,
            "adam_learning_rate_ratio": 2.0,
            "weight_decay": 0.3,
        },
        reference.Muon,
        {"keras": oracles.KerasMuon},
        state=hidden_and_rest(1, 2),
        shapes={**MATRICES, "head_kernel": (5, 2), "bias": (5,)},
    ),
    Case(
        optimizers.Muon,
        {
            "learning_rate": 0.04,
            "momentum": 0.6,
            "ns_steps": 2,
            "epsilon": 1e-2,
            "size": "spectral",
            "matrices": "(kernel|embeddings)$",
            "weight_decay": 0.1,
        },
        reference.Muon,
        {"optax": oracles.optax_nesterov_muon},
        state=lambda shape: math.prod(shape) * (1 if len(shape) > 1 else 2),
        shapes=MATRICES,
    ),
    # Neither optax nor Keras has this size.
    Case(
        optimizers.Muon,
        {"learning_rate": 0.02, "size": "operator", "momentum": 0.9},
        functools.partial(reference.Muon, **FIRST_FOUR),
        state=hidden_and_rest(1, 2),
        shapes=SHAPES,
    ),
    # Scion is in none of them but pytorch_optimizer, which iterates in bfloat16: off by 1e-3.
    Case(
        optimizers.Scion,
        {
            "learning_rate": 0.02,
            "momentum": 0.8,
            "radius": 1.5,
            "head_radius": 4.0,
            "weight_decay": 0.0,
            "ns_steps": 4,
            "ns_coefficients": [3.2, -4.3, 1.9],
            "epsilon": 1e-3,
        },
        functools.partial(reference.Scion, **FIRST_FOUR),
        shapes=SHAPES,
    ),
    Case(
        optimizers.Scion,
        {"learning_rate": 0.01, "momentum": 0.7, "radius": 2.0, "head_radius": 5.0, "weight_decay": 1.0},
        functools.partial(reference.Scion, **FIRST_FOUR),
        supports=frozenset({"independent", "sparse"}),  # the ball pulls without a gradient
        shapes=SHAPES,
    ),
    Case(
        optimizers.Scion,
        {"learning_rate": 0.02, "matrices": "^(wide|tall)", "radius": 3.0, "head_radius": 2.0, "weight_decay": 0.4},
        functools.partial(reference.Scion, chosen=(0, 1), embeddings=(2,)),
        supports=frozenset({"independent", "sparse"}),
        shapes={"wide_kernel": (3, 5), "tall_kernel": (6, 2), "embeddings": (4, 3), "square_kernel": (4, 4)},
    ),
    # Of Kron's implementations, only those in torch run in float64; they do not decay vectors.
    Case(
        optimizers.Kron,
        {
            "learning_rate": 0.03,
            "beta_1": 0.8,
            "precondition_frequency": 3,
            "precondition_learning_rate": 0.3,
            "weight_decay": 0.2,
        },
        reference.Kron,
        {"torch": oracles.torch_kron},
        state=kron_state(8192),
        own_state=1,
        shapes={**MATRICES, "column_kernel": (5, 1), "row_kernel": (1, 4)},
    ),
    Case(
        optimizers.Kron,
        {"learning_rate": 0.02, "beta_1": 0.6, "max_size_triangular": 3},
        reference.Kron,
        {"torch": oracles.torch_kron},
        state=kron_state(3),
        own_state=1,
    ),
    # pytorch_optimizer has one factor for each axis of a convolution kernel.
    Case(
        optimizers.Kron,
        {"learning_rate": 0.03, "precondition_learning_rate": 0.5, "weight_decay": 0.1},
        reference.Kron,
        state=kron_state(8192),
        own_state=1,
        shapes=SHAPES,
    ),
]

TRANSFORMS = [
    TransformCase(
        transforms.OrthogonalizedMomentum,
        {
            "momentum": 0.8,
            "ns_steps": 3,
            "ns_coefficients": [2.0, -1.5, 0.5],
            "epsilon": 1e-2,
            "size": "spectral",
            "nesterov": False,
        },
        [
            lambda k: transforms.OrthogonalizedMomentum(k / 8, 3, [1.5 + k / 16, -0.5 - k / 8, k / 16], 1e-3 * (k + 1)),
            lambda k: transforms.OrthogonalizedMomentum(
                k / 8, 1, [3.0, -1.0, 0.1 * k], size="operator", nesterov=False
            ),
        ],
    ),
    TransformCase(
        transforms.ScaleByKron,
        {
            "beta_1": 0.7,
            "precondition_frequency": 2,
            "precondition_learning_rate": 0.3,
            "max_size_triangular": 3,
        },
        [
            lambda k: transforms.ScaleByKron(k / 8, 1 + k % 3, 0.1 + k / 10),
            lambda k: transforms.ScaleByKron(k / 8, None, 0.1 + k / 10, 3),
        ],
    ),
    TransformCase(
        transforms.SignedMomentum,
        {"momentum": 0.7, "radius": 0.5, "head_radius": 2.0},
        [lambda k: transforms.SignedMomentum(k / 8, 1.0 + k, 3.0 + k)],
    ),
]

SIZE = ("one of 'rms', 'spectral', 'operator'", [None, "frobenius", 1, True, ["rms"]])
TRIPLE = (
    "a list of three finite numbers",
    [None, 1.0, "abc", [1.0, 2.0], [1, 2, 3, 4], [1, 2, math.nan], [1, 2, True]],
)

RULES: dict[str, Any] = {
    "adam_beta_1": FRACTION,
    "adam_beta_2": FRACTION,
    "adam_epsilon": NON_NEGATIVE,
    "adam_learning_rate_ratio": POSITIVE,
    "head_radius": POSITIVE,
    "max_size_triangular": COUNT,
    "matrices": ("None, a regular expression or a callable of one variable", [0.5, True, ["kernel"]]),
    "ns_coefficients": TRIPLE,
    "ns_steps": COUNT,
    "precondition_frequency": COUNT,
    "precondition_learning_rate": FRACTION_OR_ONE,
    "radius": POSITIVE,
    "size": SIZE,
}
GOOD: dict[str, Any] = {}

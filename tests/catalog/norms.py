"""Methods that use the norm of a variable, or keep its second moment in factors."""

import math
from typing import Any

import oracles_norms as oracles
import references.norms as reference

from catalog.case import Case, TransformCase, tensors
from catalog.rules import FLAG, FRACTION, INF, NAN, NON_NEGATIVE, POSITIVE
from kopt import optimizers, transforms

# A convolution's kernel beside a dense one: its axes are (height, width, inputs, outputs).
KERNELS = {"dense": (3, 4), "conv": (2, 3, 3, 4), "gain": (5,)}
WITHOUT_VECTORS = {"dense": (3, 4), "conv": (2, 3, 3, 4)}


def factored(full: int, pairs: int, vector: int) -> Any:
    """Returns the `state` of `full` tensors and `pairs` of row and column means; of `vector` tensors for vectors."""

    def state(shape: tuple[int, ...]) -> int:
        if len(shape) < 2:
            return vector * math.prod(shape)
        return full * math.prod(shape) + pairs * (math.prod(shape[:-1]) + shape[-1])

    return state


def by_rank(matrix: int, vector: int) -> Any:
    """Returns the `state` of that many tensors for a matrix and for a vector."""
    return lambda shape: (matrix if len(shape) >= 2 else vector) * math.prod(shape)


# A row without an oracle says why in a comment.
CASES: list[Case] = [
    # Keras takes weight decay from the weights before the step: it agrees without decay only.
    Case(
        optimizers.LAMB,
        {"learning_rate": 0.02, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3},
        reference.LAMB,
        {"optax": oracles.optax_lamb, "keras": oracles.keras_lamb},
        state=tensors(2),
    ),
    Case(
        optimizers.LAMB,
        {"learning_rate": 0.03, "beta_1": 0.7, "beta_2": 0.9, "epsilon": 1e-2, "weight_decay": 0.4},
        reference.LAMB,
        {"optax": oracles.optax_lamb},
        state=tensors(2),
    ),
    # The torch oracle adds epsilon to the divisor of the ratio, too: it is too small here to matter.
    Case(
        optimizers.LAMB,
        {"learning_rate": 0.03, "beta_1": 0.75, "beta_2": 0.93, "epsilon": 1e-8}
        | {"bias_correction": False, "weight_decay": 0.3},
        reference.LAMB,
        {"torch": oracles.torch_lamb},
        state=tensors(2),
    ),
    Case(
        optimizers.LAMB,
        {"learning_rate": 0.02, "beta_1": 0.6, "beta_2": 0.92, "epsilon": 1e-3}
        | {"weight_decay": 0.2, "scale_vectors": False},
        reference.LAMB,
        {"optax": oracles.optax_lamb},
        state=tensors(2),
    ),
    Case(
        optimizers.LARS,
        {"learning_rate": 0.4, "momentum": 0.7, "trust_coefficient": 0.05, "epsilon": 0.1, "weight_decay": 0.3},
        reference.LARS,
        {"optax": oracles.optax_lars},
        slow_start=True,  # Biases start at 0, where LARS takes the gradient as it is: the first step overshoots.
    ),
    Case(
        optimizers.LARS,
        {"learning_rate": 0.5, "momentum": 0.6, "trust_coefficient": 0.06, "nesterov": True},
        reference.LARS,
        {"optax": oracles.optax_lars},
        slow_start=True,  # Biases start at 0, where LARS takes the gradient as it is: the first step overshoots.
    ),
    Case(
        optimizers.LARS,
        {"learning_rate": 0.4, "momentum": 0.0, "trust_coefficient": 0.08, "weight_decay": 0.2},
        reference.LARS,
        {"optax": oracles.optax_lars},
        state=tensors(0),
    ),
    # The torch oracle leaves vectors without decay.
    Case(
        optimizers.LARS,
        {"learning_rate": 0.4, "momentum": 0.8, "trust_coefficient": 0.03}
        | {"separate_norms": True, "scale_vectors": False, "weight_decay": 0.3},
        reference.LARS,
        {"torch": oracles.torch_lars},
        shapes=WITHOUT_VECTORS,
    ),
    Case(
        optimizers.LARS,
        {"learning_rate": 0.1, "momentum": 0.7, "trust_coefficient": 0.1, "scale_vectors": False},
        reference.LARS,
        {"optax": oracles.optax_lars, "torch": oracles.torch_lars},
    ),
    # optax counts the norm of the decayed gradient, and the torch oracle has no epsilon.
    Case(
        optimizers.LARS,
        {"learning_rate": 0.3, "momentum": 0.5, "trust_coefficient": 0.06, "epsilon": 0.2}
        | {"separate_norms": True, "nesterov": True, "weight_decay": 0.4},
        reference.LARS,
    ),
    Case(
        optimizers.StableAdamW,
        {"learning_rate": 0.03, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3, "weight_decay": 0.4},
        reference.StableAdamW,
        {"torch": oracles.torch_stable_adamw},
        state=tensors(2),
    ),
    # The default decay is part of what is promised.
    Case(
        optimizers.StableAdamW,
        {"learning_rate": 0.3, "beta_1": 0.7, "beta_2": 0.9, "epsilon": 0.5},
        reference.StableAdamW,
        {"torch": oracles.torch_stable_adamw},
        state=tensors(2),
    ),
    Case(
        optimizers.StableAdamW,
        {"learning_rate": 0.02, "beta_1": 0.6, "beta_2": 0.93, "epsilon": 1e-2, "weight_decay": 0.0},
        reference.StableAdamW,
        {"torch": oracles.torch_stable_adamw},
        state=tensors(2),
    ),
    # The torch oracle adds epsilon before bias correction: it agrees where epsilon is too small to matter.
    Case(
        optimizers.MARS,
        {"learning_rate": 0.03, "beta_1": 0.9, "beta_2": 0.95, "gamma": 0.05, "epsilon": 1e-9}
        | {"vector_beta_1": 0.8, "vector_beta_2": 0.93, "weight_decay": 0.3},
        reference.MARS,
        {"torch": oracles.torch_mars},
        state=by_rank(3, 2),
    ),
    Case(
        optimizers.MARS,
        {"learning_rate": 0.02, "beta_1": 0.85, "beta_2": 0.96, "gamma": 0.2, "epsilon": 1e-9, "correct_vectors": True},
        reference.MARS,
        {"torch": oracles.torch_mars},
        state=tensors(3),
    ),
    # No oracle has the paper's epsilon.
    Case(
        optimizers.MARS,
        {"learning_rate": 0.03, "beta_1": 0.8, "beta_2": 0.9, "gamma": 0.1, "epsilon": 1e-2, "weight_decay": 0.2},
        reference.MARS,
        state=by_rank(3, 2),
    ),
    Case(
        optimizers.Adafactor,
        {"learning_rate": 0.3, "beta_2_decay": -0.6, "epsilon_1": 1e-28, "epsilon_2": 0.8}
        | {"clip_threshold": 1.2, "weight_decay": 0.2},
        reference.Adafactor,
        {"torch": oracles.torch_adafactor},
        state=factored(0, 1, 1),
    ),
    # torch does not add epsilon_1 to the squares.
    Case(
        optimizers.Adafactor,
        {"learning_rate": 0.25, "beta_2_decay": -0.7, "epsilon_1": 1e-3, "epsilon_2": 0.1, "clip_threshold": 0.8},
        reference.Adafactor,
        {"keras": oracles.keras_adafactor},
        state=factored(0, 1, 1),
    ),
    Case(
        optimizers.Adafactor,
        {"learning_rate": 0.04, "beta_2_decay": -0.9, "epsilon_1": 1e-2, "clip_threshold": 0.9}
        | {"beta_1": 0.7, "relative_step": False, "weight_decay": 0.3},
        reference.Adafactor,
        {"optax": oracles.optax_adafactor},
        state=factored(1, 1, 2),
    ),
    Case(
        optimizers.Adafactor,
        {"learning_rate": 0.03, "beta_2_decay": -0.5, "epsilon_1": 1e-4, "clip_threshold": None}
        | {"relative_step": False, "scale_parameter": False},
        reference.Adafactor,
        {"optax": oracles.optax_adafactor},
        state=factored(0, 1, 1),
    ),
    # Keras, torch and optax factor two of a convolution's four axes.
    Case(
        optimizers.Adafactor,
        {"learning_rate": 0.3, "beta_2_decay": -0.7, "epsilon_1": 1e-4, "epsilon_2": 0.2, "clip_threshold": 0.7}
        | {"scale_parameter": False, "weight_decay": 0.2},
        reference.Adafactor,
        shapes=KERNELS,
        state=factored(0, 1, 1),
    ),
    Case(
        optimizers.CAME,
        {"learning_rate": 0.03, "beta_1": 0.8, "beta_2": 0.95, "beta_3": 0.9, "epsilon_1": 1e-3, "epsilon_2": 1e-2}
        | {"clip_threshold": 0.8, "weight_decay": 0.3},
        reference.CAME,
        {"torch": oracles.torch_came},
        state=factored(1, 2, 2),
    ),
    Case(
        optimizers.CAME,
        {
            "learning_rate": 0.002,
            "beta_1": 0.7,
            "beta_2": 0.9,
            "beta_3": 0.99,
            "epsilon_2": 1e-4,
            "clip_threshold": 2.0,
        },
        reference.CAME,
        {"torch": oracles.torch_came},
        state=factored(1, 2, 2),
    ),
    # The torch oracle takes the last two axes of a convolution's four, and has no None for the threshold.
    Case(
        optimizers.CAME,
        {"learning_rate": 0.01, "beta_1": 0.6, "beta_2": 0.9, "beta_3": 0.8, "epsilon_2": 0.1, "clip_threshold": None},
        reference.CAME,
        shapes=KERNELS,
        state=factored(1, 2, 2),
    ),
]

TRANSFORMS: list[TransformCase] = [
    TransformCase(transforms.ClipByRms, {"limit": 0.3}, [lambda k: transforms.ClipByRms(0.1 + k / 4)]),
    TransformCase(transforms.RelativeStep, {}, [lambda k: transforms.RelativeStep()]),
    TransformCase(
        transforms.ScaleByConfidence,
        {"beta_1": 0.8, "beta_3": 0.9, "epsilon": 1e-3},
        [lambda k: transforms.ScaleByConfidence(k / 8, 0.9 + k / 100, 1e-2 * (k + 1))],
    ),
    TransformCase(
        transforms.ScaleByFactoredRms,
        {"beta_2": 0.9, "epsilon": 1e-3, "beta_2_decay": -0.7},
        [
            lambda k: transforms.ScaleByFactoredRms(0.8 + k / 50, 1e-3 * (k + 1)),
            lambda k: transforms.ScaleByFactoredRms(0.9, 1e-3 * (k + 1), -0.3 - k / 10),
        ],
    ),
    TransformCase(
        transforms.ScaleByParameterRms, {"epsilon": 0.3}, [lambda k: transforms.ScaleByParameterRms(0.1 + k / 4)]
    ),
    TransformCase(
        transforms.ScaleByStableAdam,
        {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3, "weight_decay": 0.2},
        [lambda k: transforms.ScaleByStableAdam(k / 8, 0.9 + k / 100, 1e-3 * (k + 1), 0.1 + k / 8)],
    ),
    TransformCase(
        transforms.TrustRatio,
        {"trust_coefficient": 0.3, "epsilon": 0.1, "weight_decay": 0.2},
        [
            lambda k: transforms.TrustRatio(0.1 + k, k / 8, k / 4),
            lambda k: transforms.TrustRatio(0.1 + k, k / 8, k / 4, scale_vectors=False),
        ],
    ),
    TransformCase(
        transforms.VarianceReduction,
        {"gamma": 0.1, "beta_1": 0.8},
        [lambda k: transforms.VarianceReduction(0.01 + k / 50, k / 8)],
    ),
]

RULES: dict[str, Any] = {
    "beta_2_decay": ("a finite number < 0", [0, 0.8, NAN, INF, -INF, True, "-0.8", [-0.8]]),
    "beta_3": FRACTION,
    "clip_threshold": POSITIVE,
    "correct_vectors": FLAG,
    "epsilon_1": NON_NEGATIVE,
    "epsilon_2": NON_NEGATIVE,
    "gamma": NON_NEGATIVE,
    "relative_step": FLAG,
    "scale_parameter": FLAG,
    "scale_vectors": FLAG,
    "separate_norms": FLAG,
    "trust_coefficient": POSITIVE,
    "vector_beta_1": FRACTION,
    "vector_beta_2": FRACTION,
}
GOOD: dict[str, Any] = {}

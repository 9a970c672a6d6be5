"""Signs, accumulated squares, and methods for sparse gradients."""

import math
from typing import Any

import keras
import oracles_accumulators as oracles
import references.accumulators as reference

from catalog.case import Case, TransformCase, tensors
from catalog.rules import AT_LEAST_ONE, FRACTION, NON_NEGATIVE, POSITIVE
from kopt import optimizers, transforms

# Keras' SGD applies the same decay.
SGDW_ORACLES = {"optax": oracles.optax_sgdw, "keras": keras.optimizers.SGD}
LION_ORACLES = {"optax": oracles.optax_lion, "keras": keras.optimizers.Lion, "torch": oracles.torch_lion}
SIGNUM_ORACLES = {"optax": oracles.optax_signum, "torch": oracles.torch_signum}
ADAGRAD_ORACLES = {"optax": oracles.optax_adagrad, "keras": keras.optimizers.Adagrad}
ADADELTA_ORACLES = {"optax": oracles.optax_adadelta, "keras": keras.optimizers.Adadelta}
RPROP_ORACLES = {"torch": oracles.torch_rprop}
SM3_ORACLES = {"optax": oracles.optax_sm3}
NOVOGRAD_ORACLES = {"optax": oracles.optax_novograd, "torch": oracles.torch_novograd}
LAZY_ORACLES = {"optax": oracles.optax_lazy_adam}


def per_axis(momentum: int) -> Any:
    """Returns the `state` of SM3: one number per index of each axis, and the momentum."""
    return lambda shape: (sum(shape) or 1) + momentum * math.prod(shape)


CASES: list[Case] = [
    Case(
        optimizers.SGDW,
        {"learning_rate": 0.02, "momentum": 0.7, "weight_decay": 0.2},
        reference.SGDW,
        SGDW_ORACLES,
    ),
    # The default decay is part of what is promised.
    Case(
        optimizers.SGDW,
        {"learning_rate": 0.05, "momentum": 0.6, "nesterov": True},
        reference.SGDW,
        {"optax": oracles.optax_sgdw},
    ),
    Case(
        optimizers.SGDW,
        {"learning_rate": 0.05, "momentum": 0.0, "weight_decay": 0.3},
        reference.SGDW,
        SGDW_ORACLES,
        state=tensors(0),
    ),
    Case(
        optimizers.Lion,
        {"learning_rate": 0.02, "beta_1": 0.8, "beta_2": 0.9},
        reference.Lion,
        LION_ORACLES,
    ),
    Case(
        optimizers.Lion,
        {"learning_rate": 0.03, "beta_1": 0.6, "beta_2": 0.75, "weight_decay": 0.4},
        reference.Lion,
        LION_ORACLES,
    ),
    Case(optimizers.Signum, {"learning_rate": 0.02, "momentum": 0.7}, reference.Signum, SIGNUM_ORACLES),
    Case(
        optimizers.Signum,
        {"learning_rate": 0.03, "momentum": 0.0, "weight_decay": 0.3},
        reference.Signum,
        SIGNUM_ORACLES,
        state=tensors(0),
    ),
    Case(
        optimizers.Adagrad,
        {"learning_rate": 0.1, "initial_accumulator_value": 0.4, "epsilon": 1e-2},
        reference.Adagrad,
        ADAGRAD_ORACLES | {"torch": oracles.torch_adagrad},
    ),
    Case(
        optimizers.Adagrad,
        {"learning_rate": 0.2, "initial_accumulator_value": 0.3},
        reference.Adagrad,
        ADAGRAD_ORACLES | {"torch": oracles.torch_adagrad},
    ),
    # torch adds the decay to the gradient.
    Case(
        optimizers.Adagrad,
        {"learning_rate": 0.1, "initial_accumulator_value": 0.0, "epsilon": 0.0, "weight_decay": 0.3},
        reference.Adagrad,
        ADAGRAD_ORACLES,
    ),
    Case(
        optimizers.Adadelta,
        {"learning_rate": 0.5, "rho": 0.8, "epsilon": 1e-2},
        reference.Adadelta,
        ADADELTA_ORACLES | {"torch": oracles.torch_adadelta},
        state=tensors(2),
    ),
    # torch adds the decay to the gradient.
    Case(
        optimizers.Adadelta,
        {"learning_rate": 0.7, "rho": 0.9, "epsilon": 1e-3, "weight_decay": 0.2},
        reference.Adadelta,
        ADADELTA_ORACLES,
        state=tensors(2),
    ),
    Case(
        optimizers.MADGRAD,
        {"learning_rate": 0.03, "momentum": 0.7, "epsilon": 1e-2},
        reference.MADGRAD,
        {"optax": oracles.optax_madgrad, "torch": oracles.torch_madgrad},
        state=tensors(3),
    ),
    # optax adds the decay to the gradient, and has no form without the first weights.
    Case(
        optimizers.MADGRAD,
        {"learning_rate": 0.02, "momentum": 0.8, "epsilon": 0.0, "weight_decay": 0.3},
        reference.MADGRAD,
        {"torch": oracles.torch_madgrad},
        state=tensors(3),
    ),
    Case(
        optimizers.MADGRAD,
        {"learning_rate": 0.03, "momentum": 0.0, "epsilon": 1e-2, "weight_decay": 0.2},
        reference.MADGRAD,
        {"torch": oracles.torch_madgrad},
        state=tensors(2),
    ),
    Case(
        optimizers.Rprop,
        {
            "learning_rate": 0.05,
            "eta_minus": 0.6,
            "eta_plus": 1.5,
            "min_step_size": 0.02,
            "max_step_size": 0.09,
        },
        reference.Rprop,
        RPROP_ORACLES,
        state=tensors(2),
    ),
    # torch has no decay here, and optax takes each step one gradient later.
    Case(
        optimizers.Rprop,
        {"learning_rate": 0.03, "eta_minus": 0.7, "eta_plus": 1.3, "weight_decay": 0.3},
        reference.Rprop,
        state=tensors(2),
    ),
    # The first step is longer than the longest, which is the shortest, too.
    Case(
        optimizers.Rprop,
        {"learning_rate": 0.3, "min_step_size": 0.1, "max_step_size": 0.1},
        reference.Rprop,
        RPROP_ORACLES,
        state=tensors(2),
    ),
    # optax' SM3 takes no scalars.
    Case(
        optimizers.SM3,
        {"learning_rate": 0.1, "momentum": 0.7, "epsilon": 1e-2},
        reference.SM3,
        {"torch": oracles.torch_sm3},
        state=per_axis(1),
    ),
    Case(
        optimizers.SM3,
        {"learning_rate": 0.05, "momentum": 0.6, "epsilon": 0.0, "weight_decay": 0.3},
        reference.SM3,
        SM3_ORACLES,
        state=per_axis(1),
        shapes={"kernel": (3, 4), "bias": (5,), "tensor": (2, 3, 2)},
    ),
    Case(
        optimizers.SM3,
        {"learning_rate": 0.1, "momentum": 0.0, "epsilon": 1e-2},
        reference.SM3,
        SM3_ORACLES | {"torch": oracles.torch_sm3},
        state=per_axis(0),
        shapes={"kernel": (3, 4), "bias": (5,), "tensor": (2, 2, 3, 2)},
    ),
    Case(
        optimizers.NovoGrad,
        {"learning_rate": 0.03, "beta_1": 0.8, "beta_2": 0.6, "epsilon": 1e-2},
        reference.NovoGrad,
        NOVOGRAD_ORACLES,
        state=tensors(1, 1),
    ),
    Case(
        optimizers.NovoGrad,
        {"learning_rate": 0.02, "beta_1": 0.7, "beta_2": 0.9, "epsilon": 1e-3, "weight_decay": 0.3},
        reference.NovoGrad,
        NOVOGRAD_ORACLES,
        state=tensors(1, 1),
    ),
    # Keras has no lazy Adam, and torch's takes sparse gradients: see `test_transforms_lazy.py`.
    Case(
        optimizers.LazyAdam,
        {"learning_rate": 0.03, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3, "lazy": "kernel$|embeddings$"},
        reference.LazyAdam,
        LAZY_ORACLES,
        state=tensors(2),
    ),
    Case(
        optimizers.LazyAdam,
        {"learning_rate": 0.02, "beta_1": 0.7, "beta_2": 0.9, "epsilon": 1e-2, "weight_decay": 0.3},
        reference.LazyAdam,
        LAZY_ORACLES,
        state=tensors(2),
    ),
]


def rprop(k: int) -> transforms.ScaleByRprop:
    return transforms.ScaleByRprop(0.2 + k / 20, 1.1 + k / 10, 1e-3 * (k + 1), 0.5 + k)


# Without epsilon, zeros show that nothing over nothing is nothing.
TRANSFORMS: list[TransformCase] = [
    TransformCase(
        transforms.ScaleByAdadelta,
        {"rho": 0.8, "epsilon": 0.0},
        [lambda k: transforms.ScaleByAdadelta(k / 8, 1e-3 * (k + 1))],
    ),
    TransformCase(
        transforms.ScaleByLion,
        {"beta_1": 0.7, "beta_2": 0.8},
        [lambda k: transforms.ScaleByLion(k / 8, (7 - k) / 8)],
    ),
    TransformCase(
        transforms.ScaleByMadgrad,
        {"momentum": 0.7, "epsilon": 0.0},
        [
            lambda k: transforms.ScaleByMadgrad((k + 1) / 9, 1e-3 * (k + 1)),
            lambda k: transforms.ScaleByMadgrad(0.0, 1e-3 * (k + 1)),
        ],
    ),
    TransformCase(
        transforms.ScaleByNovograd,
        {"beta_2": 0.7, "epsilon": 1e-3},
        [lambda k: transforms.ScaleByNovograd(k / 8, 1e-3 * (k + 1))],
    ),
    TransformCase(
        transforms.ScaleByRprop,
        {"eta_minus": 0.6, "eta_plus": 1.4, "min_step_size": 1e-3, "max_step_size": 0.8},
        [rprop],
    ),
    TransformCase(
        transforms.ScaleByRss,
        {"initial_accumulator_value": 0.0, "epsilon": 0.0},
        [lambda k: transforms.ScaleByRss(k / 8, 1e-3 * (k + 1))],
    ),
    TransformCase(transforms.ScaleBySign, {}, [lambda k: transforms.ScaleBySign()]),
    TransformCase(transforms.ScaleBySm3, {"epsilon": 0.0}, [lambda k: transforms.ScaleBySm3(1e-3 * (k + 1))]),
    TransformCase(
        transforms.SeenRows,
        {"transform": transforms.ScaleByAdam(0.8, 0.95, 1e-3)},
        [
            lambda k: transforms.SeenRows(transforms.ScaleByAdam(k / 8, 0.9 + k / 100, 1e-3 * (k + 1))),
            lambda k: transforms.SeenRows(transforms.AddDecayedWeights(0.1 + k / 8)),
        ],
    ),
]

RULES: dict[str, Any] = {
    "eta_minus": FRACTION,
    "eta_plus": AT_LEAST_ONE,
    "initial_accumulator_value": NON_NEGATIVE,
    "lazy": ("None, a regular expression or a callable of one variable", [5, True, b"embed", ["embed"]]),
    "max_step_size": POSITIVE,
    "min_step_size": POSITIVE,
    "transform": (
        "an elementwise kopt.transforms.Transform without a part that sees all variables",
        [None, "adam", transforms.ScaleByAdam, transforms.ClipByNorm(1.0), transforms.ClipByGlobalNorm(1.0)],
    ),
}
GOOD: dict[str, Any] = {"transform": transforms.Momentum(0.9)}

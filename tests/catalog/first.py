"""The founding articles' optimizers, and the transforms that every recipe uses."""

import keras
import oracles
import references.first as reference

from catalog.case import Case, TransformCase, tensors
from catalog.rules import (
    COUNT,
    FLAG,
    FRACTION,
    FRACTION_OR_ONE,
    NON_NEGATIVE,
    POSITIVE,
    SCHEDULE,
    TWO_OR_MORE,
)
from kopt import optimizers, transforms

SGD_ORACLES = {"optax": oracles.optax_sgd, "keras": keras.optimizers.SGD}
RMSPROP_ORACLES = {"optax": oracles.optax_rmsprop, "keras": keras.optimizers.RMSprop}
ADAM_ORACLES = {"optax": oracles.optax_adam, "keras": oracles.KerasAdam}


# A row without a Keras or optax oracle says why in a comment.
CASES = [
    Case(optimizers.SGD, {"learning_rate": 0.03}, reference.SGD, SGD_ORACLES, state=tensors(0)),
    Case(optimizers.SGD, {"learning_rate": 0.03, "momentum": 0.8}, reference.SGD, SGD_ORACLES),
    Case(
        optimizers.SGD,
        {"learning_rate": 0.02, "momentum": 0.7, "nesterov": True},
        reference.SGD,
        SGD_ORACLES,
    ),
    Case(optimizers.SGD, {"learning_rate": 0.05, "weight_decay": 0.3}, reference.SGD, SGD_ORACLES, state=tensors(0)),
    Case(
        optimizers.SGD,
        {"learning_rate": 0.02, "momentum": 0.6, "nesterov": True, "weight_decay": 0.2},
        reference.SGD,
        SGD_ORACLES,
    ),
    Case(optimizers.RMSprop, {"learning_rate": 0.02, "rho": 0.8}, reference.RMSprop, RMSPROP_ORACLES),
    Case(
        optimizers.RMSprop,
        {"learning_rate": 0.02, "rho": 0.85, "epsilon": 1e-3},
        reference.RMSprop,
        RMSPROP_ORACLES,
    ),
    Case(
        optimizers.RMSprop,
        {"learning_rate": 0.03, "rho": 0.8, "epsilon": 1e-2, "centered": True},
        reference.RMSprop,
        RMSPROP_ORACLES,
        state=tensors(2),
    ),
    Case(
        optimizers.RMSprop,
        {"learning_rate": 0.02, "rho": 0.7, "momentum": 0.6, "epsilon": 1e-3},
        reference.RMSprop,
        RMSPROP_ORACLES,
        state=tensors(2),
    ),
    Case(
        optimizers.RMSprop,
        {"learning_rate": 0.02, "rho": 0.75, "momentum": 0.5, "epsilon": 1e-2, "centered": True, "weight_decay": 0.2},
        reference.RMSprop,
        RMSPROP_ORACLES,
        state=tensors(3),
    ),
    Case(
        optimizers.Adam,
        {"learning_rate": 0.03, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3},
        reference.Adam,
        ADAM_ORACLES,
        state=tensors(2),
    ),
    Case(
        optimizers.Adam,
        {"learning_rate": 0.02, "beta_1": 0.0, "beta_2": 0.9, "epsilon": 1e-2},
        reference.Adam,
        ADAM_ORACLES,
        state=tensors(2),
    ),
    # Keras and optax take 1 - beta^t in float32, which is off by 1e-4 at such betas.
    Case(
        optimizers.Adam,
        {"learning_rate": 0.05, "beta_1": 0.99, "beta_2": 0.9999, "epsilon": 1e-5},
        reference.Adam,
        state=tensors(2),
    ),
    # optax takes the maximum of the bias-corrected average.
    Case(
        optimizers.Adam,
        {"learning_rate": 0.03, "beta_1": 0.7, "beta_2": 0.9, "epsilon": 1e-2, "amsgrad": True},
        reference.Adam,
        {"keras": oracles.KerasAdam},
        state=tensors(3),
    ),
    # optax has no Adam without bias correction.
    Case(
        optimizers.Adam,
        {"learning_rate": 0.02, "beta_1": 0.75, "beta_2": 0.93, "epsilon": 1e-3, "bias_correction": False},
        reference.Adam,
        {"keras": oracles.KerasAdam},
        state=tensors(2),
    ),
    Case(
        optimizers.Adam,
        {
            "learning_rate": 0.02,
            "beta_1": 0.6,
            "beta_2": 0.92,
            "amsgrad": True,
            "bias_correction": False,
            "epsilon": 1e-3,
        },
        reference.Adam,
        {"keras": oracles.KerasAdam},
        state=tensors(3),
    ),
    Case(
        optimizers.Adam,
        {"learning_rate": 0.03, "beta_1": 0.8, "beta_2": 0.97, "epsilon": 1e-3, "weight_decay": 0.3},
        reference.Adam,
        ADAM_ORACLES,
        state=tensors(2),
    ),
    Case(
        optimizers.AdamW,
        {"learning_rate": 0.03, "beta_1": 0.85, "beta_2": 0.96, "epsilon": 1e-3, "weight_decay": 0.4},
        reference.AdamW,
        ADAM_ORACLES,
        state=tensors(2),
    ),
    # The default decay is part of what is promised; Keras has the same one.
    Case(
        optimizers.AdamW,
        {"learning_rate": 0.3, "beta_1": 0.7, "beta_2": 0.9, "epsilon": 1e-2, "amsgrad": True},
        reference.AdamW,
        {"keras": lambda **kwargs: oracles.KerasAdam(weight_decay=0.004, **kwargs)},
        state=tensors(3),
    ),
    # Keras has no chains.
    Case(
        optimizers.Composed,
        {
            "transforms": [transforms.ClipByValue(0.5), transforms.Momentum(0.7)],
            "learning_rate": 0.05,
            "weight_decay": 0.2,
        },
        lambda transforms, **rest: reference.After(
            lambda g: reference.clipped_by_value([g], 0.5)[0], reference.SGD(momentum=0.7, **rest)
        ),
        {"optax": oracles.optax_clip_momentum},
    ),
    # With the decay behind the learning rate, the weights shrink by `weight_decay` whatever the rate.
    Case(
        optimizers.Composed,
        {
            "transforms": [
                transforms.ScaleByAdam(0.8, 0.95, 1e-3),
                transforms.ScaleByLearningRate(),
                transforms.AddDecayedWeights(0.01),
            ],
            "learning_rate": 0.05,
        },
        lambda transforms, learning_rate: reference.Adam(0.05, 0.8, 0.95, 1e-3, weight_decay=0.01 / 0.05),
        {"optax": lambda transforms, learning_rate: oracles.optax_adam(0.05, 0.8, 0.95, 1e-3, 0.01 / 0.05)},
        supports=frozenset({"independent", "sparse"}),
        state=tensors(2),
    ),
    # Neither Keras nor optax has a proximal decay.
    Case(
        optimizers.Composed,
        {
            "transforms": [
                transforms.Scale(0.4),
                transforms.Momentum(0.6),
                transforms.ScaleByLearningRate(),
                transforms.AddDecayedWeights(proximal=True),
            ],
            "learning_rate": 0.05,
            "weight_decay": 0.9,
        },
        lambda transforms, learning_rate, weight_decay: reference.ProximalDecay(
            reference.After(lambda g: 0.4 * g, reference.SGD(learning_rate, momentum=0.6)), learning_rate, weight_decay
        ),
    ),
]

TRANSFORMS = [
    TransformCase(
        transforms.AddDecayedWeights,
        {"weight_decay": 0.3},
        [
            lambda k: transforms.AddDecayedWeights(0.1 + k / 8),
            lambda k: transforms.AddDecayedWeights(0.1 + k / 8, proximal=True),
        ],
    ),
    TransformCase(transforms.ClipByGlobalNorm, {"limit": 0.7}, [lambda k: transforms.ClipByGlobalNorm(0.1 + k)]),
    TransformCase(transforms.ClipByNorm, {"limit": 0.7}, [lambda k: transforms.ClipByNorm(0.1 + k / 2)]),
    TransformCase(transforms.ClipByValue, {"limit": 0.6}, [lambda k: transforms.ClipByValue(0.1 + k / 4)]),
    TransformCase(
        transforms.Momentum,
        {"momentum": 0.7, "nesterov": True},
        [lambda k: transforms.Momentum(k / 8), lambda k: transforms.Momentum(k / 8, nesterov=True)],
    ),
    TransformCase(transforms.Scale, {"factor": 0.4}, [lambda k: transforms.Scale(0.1 + k)]),
    TransformCase(
        transforms.ScaleByAdam,
        {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3, "amsgrad": True},
        [
            lambda k: transforms.ScaleByAdam(k / 8, 0.9 + k / 100, 1e-3 * (k + 1)),
            lambda k: transforms.ScaleByAdam(k / 8, 0.9 + k / 100, 1e-3 * (k + 1), amsgrad=True),
            lambda k: transforms.ScaleByAdam(k / 8, 0.9 + k / 100, 1e-3 * (k + 1), bias_correction=False),
        ],
    ),
    TransformCase(transforms.ScaleByLearningRate, {}, [lambda k: transforms.ScaleByLearningRate()]),
    TransformCase(
        transforms.ScaleByRms,
        {"rho": 0.8, "epsilon": 1e-3, "centered": True},
        [
            lambda k: transforms.ScaleByRms(k / 8, 1e-3 * (k + 1)),
            lambda k: transforms.ScaleByRms(k / 8, 1e-3 * (k + 1), centered=True),
            lambda k: transforms.ScaleByRms(k / 8, 1e-3 * (k + 1), epsilon_outside=True, bias_correction=True),
            lambda k: transforms.ScaleByRms(k / 8, 1e-3 * (k + 1), centered=True, bias_correction=True),
        ],
    ),
]

# Every argument of every public class: what it must be. Those that are no numbers have rows of their own.
RULES = {
    "alpha": FRACTION_OR_ONE,
    "amsgrad": FLAG,
    "beta_1": FRACTION,
    "beta_2": FRACTION,
    "bias_correction": FLAG,
    "centered": FLAG,
    "clipnorm": POSITIVE,
    "clipvalue": POSITIVE,
    "decay_rate": POSITIVE,
    "decay_steps": COUNT,
    "ema_momentum": FRACTION_OR_ONE,
    "ema_overwrite_frequency": COUNT,
    "epsilon": NON_NEGATIVE,
    "frozen": FLAG,
    "global_clipnorm": POSITIVE,
    "gradient_accumulation_steps": TWO_OR_MORE,
    "initial_factor": FRACTION_OR_ONE,
    "initial_learning_rate": NON_NEGATIVE,
    "learning_rate": NON_NEGATIVE,
    "limit": POSITIVE,
    "loss_scale_factor": POSITIVE,
    "momentum": FRACTION,
    "epsilon_outside": FLAG,
    "factor": POSITIVE,
    "nesterov": FLAG,
    "proximal": FLAG,
    "rho": FRACTION,
    "schedule": SCHEDULE,
    "staircase": FLAG,
    "steps": COUNT,
    "use_ema": FLAG,
    "weight_decay": NON_NEGATIVE,
}

# A good value for what must be given.
GOOD = {
    "decay_rate": 0.5,
    "decay_steps": 10,
    "initial_learning_rate": 0.1,
    "learning_rate": 0.1,
    "limit": 1.0,
    "factor": 0.5,
    "match": "bias",
    "schedule": 0.1,
    "steps": 5,
    "transforms": [],
}

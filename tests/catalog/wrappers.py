"""What stands around a recipe: changes of the gradient, masks, and averages of the weights."""

from typing import Any

import numpy as np
import references.first as first
import references.wrappers as reference

from catalog.case import Case, TransformCase, tensors
from catalog.rules import (
    COUNT,
    FLAG,
    FRACTION,
    FRACTION_OR_ONE,
    NON_NEGATIVE,
    POSITIVE,
    TEXT,
    ZERO_OR_MORE,
    one_of,
)
from kopt import optimizers, transforms

CONV = {"conv": (2, 3, 2, 4), "kernel": (3, 4), "bias": (5,), "gain": ()}


def momentum(learning_rate: float, weight_decay: float = 0.0, **_: Any) -> first.SGD:
    return first.SGD(learning_rate, momentum=0.7, weight_decay=weight_decay)


def optax_agc(learning_rate: float, **_: Any) -> Any:
    import optax

    return optax.chain(
        optax.adaptive_grad_clip(0.3, eps=0.02), optax.trace(0.7), optax.scale_by_learning_rate(learning_rate)
    )


# Keras has none of these. torch and pytorch_optimizer have them as functions of a model, not as optimizers.
CASES: list[Case] = [
    Case(
        optimizers.Composed,
        {"transforms": [transforms.CentralizeGradients(), transforms.Momentum(0.7)], "learning_rate": 0.05},
        lambda **kwargs: first.After(reference.centralized, momentum(**kwargs)),
        shapes=CONV,
    ),
    # optax' axes are those of Keras' kernels for 2 and 4 dimensions.
    Case(
        optimizers.Composed,
        {
            "transforms": [transforms.AdaptiveGradientClipping(0.3, 0.02), transforms.Momentum(0.7)],
            "learning_rate": 0.05,
        },
        lambda **kwargs: reference.AdaptivelyClipped(momentum(**kwargs), 0.3, 0.02),
        {"optax": optax_agc},
        shapes=CONV,
    ),
    Case(
        optimizers.Composed,
        {
            "transforms": [transforms.Grokfast(0.8, 1.5), transforms.Momentum(0.7)],
            "learning_rate": 0.02,
            "weight_decay": 0.2,
        },
        lambda **kwargs: reference.Grokfast(momentum(**kwargs), 0.8, 1.5),
        state=tensors(2),
    ),
    Case(
        optimizers.Composed,
        {
            "transforms": [transforms.ZeroNonFinite(), transforms.Momentum(0.7), transforms.Cautious()],
            "learning_rate": 0.02,
            "weight_decay": 0.2,
        },
        lambda learning_rate, weight_decay, **_: reference.CautiousMomentum(learning_rate, 0.7, weight_decay),
    ),
    Case(
        optimizers.Composed,
        {
            "transforms": [
                transforms.Momentum(0.7),
                transforms.AddDecayedWeights(),
                transforms.ScaleByLearningRate(),
                transforms.Lookahead(3, 0.4),
            ],
            "learning_rate": 0.05,
            "weight_decay": 0.2,
        },
        lambda **kwargs: reference.Lookahead(momentum(**kwargs), 3, 0.4),
        state=tensors(2, 1),
    ),
    Case(
        optimizers.Composed,
        {"transforms": [transforms.SkipNonFinite(3), transforms.Momentum(0.7)], "learning_rate": 0.05}
        | {"weight_decay": 0.2},
        momentum,
        state=tensors(1, 1),
        own_state=2,
    ),
    Case(
        optimizers.Composed,
        {
            "transforms": [
                transforms.Momentum(0.7),
                transforms.AddDecayedWeights(),
                transforms.ScaleByLearningRate(),
                transforms.Unfreeze({"kernel": 5, "bias|gain": 12}),
            ],
            "learning_rate": 0.05,
            "weight_decay": 0.2,
        },
        lambda **kwargs: reference.Unfrozen(lambda: momentum(**kwargs), [5, 12, 12]),
        state=tensors(1, 1),
    ),
    # optax draws from JAX' generator.
    Case(
        optimizers.Composed,
        {
            "transforms": [transforms.AddNoise(0.2, 0.4, 0xFEDCBA98), transforms.Momentum(0.7)],
            "learning_rate": 0.05,
            "weight_decay": 0.2,
        },
        lambda **kwargs: reference.Noisy(lambda: momentum(**kwargs), 0.2, 0.4, 0xFEDCBA98),
        # Noise moves weights that have no gradient, and whose it is depends on how many variables stand in front.
        supports=frozenset({"sparse"}),
        state=tensors(1, 1),
    ),
]
TRANSFORMS: list[TransformCase] = [
    TransformCase(transforms.CentralizeGradients, {}, [lambda k: transforms.CentralizeGradients()]),
    TransformCase(
        transforms.AdaptiveGradientClipping,
        {"clip_factor": 0.2, "epsilon": 0.1},
        [lambda k: transforms.AdaptiveGradientClipping(0.1 + k / 8, 0.1 + k / 4)],
    ),
    TransformCase(
        transforms.Grokfast,
        {"momentum": 0.7, "amplification": 1.5},
        [lambda k: transforms.Grokfast(k / 8, 0.5 + k)],
    ),
    TransformCase(transforms.ZeroNonFinite, {}, [lambda k: transforms.ZeroNonFinite()]),
    TransformCase(
        transforms.ReduceOnPlateau,
        {"monitor": "loss", "factor": 0.3, "patience": 2, "mode": "max", "min_delta": 0.1, "cooldown": 1}
        | {"min_factor": 0.01, "relative": True},
        [lambda k: transforms.ReduceOnPlateau(factor=0.1 * k)],
    ),
    TransformCase(transforms.SkipNonFinite, {"patience": 3}, [lambda k: transforms.SkipNonFinite(1 + k)]),
    TransformCase(transforms.Cautious, {}, [lambda k: transforms.Cautious()]),
    TransformCase(transforms.Freeze, {"match": "kernel"}, [lambda k: transforms.Freeze("kernel")]),
    TransformCase(
        transforms.Unfreeze,
        {"opens_at": {"kernel": 2, "bias": 1}, "by": "epoch", "steps_per_epoch": 3},
        [
            lambda k: transforms.Unfreeze({"kernel": k, "bias": 1 + k % 3}),
            lambda k: transforms.Unfreeze({"kernel": k % 3, "": 1}, by="epoch", steps_per_epoch=1 + k % 2),
        ],
    ),
    TransformCase(
        transforms.AddNoise,
        {"eta": 0.2, "gamma": 0.4, "seed": 2**31 + 5},
        [lambda k: transforms.AddNoise(0.1 + k / 8, k / 8, 70000 * k)],
    ),
    TransformCase(
        transforms.Lookahead,
        {"sync_period": 3, "slow_step_size": 0.4},
        [lambda k: transforms.Lookahead(1 + k % 3, (k + 1) / 8)],
    ),
    TransformCase(
        transforms.ExponentialMovingAverage,
        {"momentum": 0.7, "warmup": False},
        [
            lambda k: transforms.ExponentialMovingAverage(k / 8),
            lambda k: transforms.ExponentialMovingAverage(k / 8, warmup=False),
        ],
    ),
    TransformCase(
        transforms.StochasticWeightAveraging,
        {"start": 2, "period": 3},
        [lambda k: transforms.StochasticWeightAveraging(1 + k % 3, 1 + k % 2)],
    ),
]
RULES: dict[str, Any] = {
    "ReduceOnPlateau.factor": FRACTION,
    "ReduceOnPlateau.min_factor": FRACTION_OR_ONE,
    "ReduceOnPlateau.mode": one_of("auto", "min", "max"),
    "Unfreeze.by": one_of("step", "epoch"),
    "amplification": NON_NEGATIVE,
    "clip_factor": POSITIVE,
    "cooldown": ZERO_OR_MORE,
    "eta": NON_NEGATIVE,
    "gamma": NON_NEGATIVE,
    "min_delta": NON_NEGATIVE,
    "monitor": TEXT,
    "opens_at": (
        "a dict of one or more regular expressions and integers >= 0",
        [
            None,
            "bias",
            ["bias"],
            {},
            {"bias": -1},
            {"bias": 1.0},
            {"bias": True},
            {"bias": "1"},
            {3: 1},
            {"a": 1, "": -1},
        ],
    ),
    "patience": COUNT,
    "period": COUNT,
    "seed": ("an integer >= 0", [-1, 2.0, np.nan, True, "3", None]),
    "slow_step_size": ("a number in (0, 1]", [0, -0.1, 1.5, np.nan, True, "0.5", None]),
    "start": COUNT,
    "steps_per_epoch": COUNT,
    "sync_period": COUNT,
    "warmup": FLAG,
}
GOOD: dict[str, Any] = {"opens_at": {"bias": 3}, "start": 3}

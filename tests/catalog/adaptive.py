"""Adam and its relatives, element by element."""

from typing import Any

import keras
import oracles_adaptive as oracles
import references.adaptive as reference

from catalog.case import Case, TransformCase, tensors
from catalog.rules import NON_NEGATIVE, ZERO_OR_MORE
from kopt import optimizers, transforms

# A row without an oracle of optax, Keras or torch says why in a comment.
CASES: list[Case] = [
    Case(
        optimizers.NAdam,
        {"learning_rate": 0.03, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3, "weight_decay": 0.3},
        reference.NAdam,
        {"optax": oracles.optax_nadam},
        state=tensors(2),
    ),
    # Keras fixes its schedule of the momentum, and torch has it always.
    Case(
        optimizers.NAdam,
        {
            "learning_rate": 0.03,
            "beta_1": 0.85,
            "beta_2": 0.96,
            "epsilon": 1e-3,
            "momentum_decay": 1.0,
            "weight_decay": 0.2,
        },
        reference.NAdam,
        {"keras": oracles.keras_nadam, "torch": oracles.torch_nadam},
        state=tensors(2),
        own_state=1,
    ),
    Case(
        optimizers.NAdam,
        {"learning_rate": 0.02, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-4, "momentum_decay": 0.004},
        reference.NAdam,
        {"torch": oracles.torch_nadam},
        state=tensors(2),
        own_state=1,
    ),
    Case(
        optimizers.NAdamW,
        {"learning_rate": 0.03, "beta_1": 0.7, "beta_2": 0.94, "epsilon": 1e-2, "weight_decay": 0.4},
        reference.NAdamW,
        {"optax": oracles.optax_nadam},
        state=tensors(2),
    ),
    # The default decay is part of what is promised.
    Case(
        optimizers.NAdamW,
        {"learning_rate": 0.3, "beta_1": 0.7, "beta_2": 0.9, "epsilon": 1e-2, "momentum_decay": 0.5},
        reference.NAdamW,
        {"torch": lambda *args, **kwargs: oracles.torch_nadam(*args, weight_decay=0.004, **kwargs)},
        state=tensors(2),
        own_state=1,
    ),
    Case(
        optimizers.AdEMAMix,
        {
            "learning_rate": 0.02,
            "beta_1": 0.8,
            "beta_2": 0.95,
            "beta_3": 0.99,
            "slow_weight": 3.0,
            "epsilon": 1e-3,
            "weight_decay": 0.3,
        },
        reference.AdEMAMix,
        {"optax": oracles.optax_ademamix, "torch": oracles.torch_ademamix},
        state=tensors(3),
    ),
    Case(
        optimizers.AdEMAMix,
        {
            "learning_rate": 0.02,
            "beta_1": 0.7,
            "beta_2": 0.9,
            "beta_3": 0.98,
            "slow_weight": 4.0,
            "epsilon": 1e-3,
            "warmup_steps": 12,
            "weight_decay": 0.2,
        },
        reference.AdEMAMix,
        {"optax": oracles.optax_ademamix, "torch": oracles.torch_ademamix},
        state=tensors(3),
    ),
    # The default betas, in a warm-up longer than the run; optax takes 1 - beta^t in float32.
    Case(
        optimizers.AdEMAMix,
        {
            "learning_rate": 0.02,
            "beta_1": 0.9,
            "beta_2": 0.999,
            "beta_3": 0.9999,
            "slow_weight": 200.0,
            "epsilon": 1e-4,
            "warmup_steps": 400,
        },
        reference.AdEMAMix,
        {"torch": oracles.torch_ademamix},
        state=tensors(3),
    ),
    # Others take the logarithm of beta_1, which is 0 here.
    Case(
        optimizers.AdEMAMix,
        {"learning_rate": 0.01, "beta_1": 0.0, "beta_2": 0.9, "beta_3": 0.95, "epsilon": 1e-2, "warmup_steps": 12},
        reference.AdEMAMix,
        state=tensors(3),
    ),
    # A beta_3 below beta_1 is not warmed up. pytorch_optimizer goes on with its formula behind the end of the warm-up.
    Case(
        optimizers.AdEMAMix,
        {
            "learning_rate": 0.01,
            "beta_1": 0.9,
            "beta_2": 0.95,
            "beta_3": 0.8,
            "slow_weight": 2.0,
            "epsilon": 1e-2,
            "warmup_steps": 15,
        },
        reference.AdEMAMix,
        {"optax": oracles.optax_ademamix},
        state=tensors(3),
    ),
    # Every row decays: the first step moves nothing else, and the contract wants one that moves.
    Case(
        optimizers.ADOPT,
        {"learning_rate": 0.05, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-2, "weight_decay": 0.3},
        reference.ADOPT,
        {"optax": oracles.optax_adopt},
        state=tensors(2),
    ),
    Case(
        optimizers.ADOPT,
        {
            "learning_rate": 0.05,
            "beta_1": 0.7,
            "beta_2": 0.9,
            "epsilon": 1e-3,
            "clip_exponent": 0.4,
            "clip_delay": 0,
            "weight_decay": 0.2,
        },
        reference.ADOPT,
        {"torch": oracles.torch_adopt},
        state=tensors(2),
    ),
    Case(
        optimizers.ADOPT,
        {
            "learning_rate": 0.001,
            "beta_1": 0.6,
            "beta_2": 0.9,
            "epsilon": 0.1,
            "clip_exponent": None,
            "weight_decay": 0.5,
        },
        reference.ADOPT,
        {"optax": oracles.optax_adopt},
        state=tensors(2),
    ),
    # optax weighs the differences by 1 - beta_2.
    Case(
        optimizers.Adan,
        {"learning_rate": 0.03, "beta_1": 0.9, "beta_2": 0.8, "beta_3": 0.95, "epsilon": 1e-3, "weight_decay": 0.4},
        reference.Adan,
        {"torch": oracles.torch_adan},
        state=tensors(4),
    ),
    Case(
        optimizers.Adan,
        {"learning_rate": 0.02, "beta_1": 0.98, "beta_2": 0.92, "beta_3": 0.99, "epsilon": 1e-5},
        reference.Adan,
        {"torch": oracles.torch_adan},
        state=tensors(4),
    ),
    # torch adds epsilon before the bias correction.
    Case(
        optimizers.RAdam,
        {"learning_rate": 0.03, "beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-2, "weight_decay": 0.3},
        reference.RAdam,
        {"optax": oracles.optax_radam},
        state=tensors(2),
    ),
    # With so small an epsilon, its place does not matter. optax loses rho in float32 here.
    Case(
        optimizers.RAdam,
        {"learning_rate": 0.03, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-12, "weight_decay": 0.2},
        reference.RAdam,
        {"torch": oracles.torch_radam},
        state=tensors(2),
    ),
    # Never adaptive.
    Case(
        optimizers.RAdam,
        {"learning_rate": 0.03, "beta_1": 0.7, "beta_2": 0.5, "epsilon": 1e-3},
        reference.RAdam,
        {"optax": oracles.optax_radam, "torch": oracles.torch_radam},
        state=tensors(2),
    ),
    Case(
        optimizers.LaProp,
        {"learning_rate": 0.02, "beta_1": 0.95, "beta_2": 0.8, "epsilon": 1e-14},
        reference.LaProp,
        {"torch": oracles.torch_laprop},
        state=tensors(2),
    ),
    # pytorch_optimizer adds epsilon before the bias correction, and decays after the step; optax and torch have none.
    Case(
        optimizers.LaProp,
        {"learning_rate": 0.03, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-2, "weight_decay": 0.3},
        reference.LaProp,
        state=tensors(2),
    ),
    Case(
        optimizers.Adamax,
        {"learning_rate": 0.03, "beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-2, "weight_decay": 0.3},
        reference.Adamax,
        {"optax": oracles.optax_adamax},
        state=tensors(2),
    ),
    # With so small an epsilon, Keras' place for it does not matter. torch's decay is not decoupled.
    Case(
        optimizers.Adamax,
        {"learning_rate": 0.05, "beta_1": 0.7, "beta_2": 0.95, "epsilon": 1e-12},
        reference.Adamax,
        {"optax": oracles.optax_adamax, "keras": keras.optimizers.Adamax, "torch": oracles.torch_adamax},
        state=tensors(2),
    ),
    Case(
        optimizers.AdaBelief,
        {"learning_rate": 0.03, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3, "weight_decay": 0.3},
        reference.AdaBelief,
        {"optax": oracles.optax_adabelief, "torch": oracles.torch_adabelief},
        state=tensors(2),
    ),
    Case(
        optimizers.AdaBelief,
        {"learning_rate": 0.03, "beta_1": 0.7, "beta_2": 0.9, "epsilon": 1e-8},
        reference.AdaBelief,
        {"optax": oracles.optax_adabelief, "torch": oracles.torch_adabelief},
        state=tensors(2),
    ),
    Case(
        optimizers.Yogi,
        {
            "learning_rate": 0.03,
            "beta_1": 0.8,
            "beta_2": 0.9,
            "epsilon": 1e-2,
            "initial_accumulator_value": 0.1,
            "weight_decay": 0.3,
        },
        reference.Yogi,
        {"optax": oracles.optax_yogi},
        state=tensors(2),
    ),
    Case(
        optimizers.Yogi,
        {"learning_rate": 0.02, "beta_1": 0.7, "beta_2": 0.95},
        reference.Yogi,
        {"optax": oracles.optax_yogi},
        state=tensors(2),
    ),
]

TRANSFORMS: list[TransformCase] = [
    TransformCase(
        transforms.ScaleByNadam,
        {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3, "momentum_decay": 0.3},
        [
            lambda k: transforms.ScaleByNadam(k / 8, 0.9 + k / 100, 1e-3 * (k + 1)),
            lambda k: transforms.ScaleByNadam(k / 8, 0.9 + k / 100, 1e-3 * (k + 1), k / 4),
        ],
    ),
    TransformCase(
        transforms.ScaleByAdemamix,
        {"beta_1": 0.8, "beta_2": 0.95, "beta_3": 0.99, "slow_weight": 3.0, "epsilon": 1e-3, "warmup_steps": 5},
        [
            lambda k: transforms.ScaleByAdemamix(k / 8, 0.9 + k / 100, 0.95 + k / 200, k, 1e-3 * (k + 1)),
            lambda k: transforms.ScaleByAdemamix(k / 8, 0.9 + k / 100, 0.95 + k / 200, k, 1e-3 * (k + 1), k + 1),
            # A beta_3 that is not above beta_1 stays.
            lambda k: transforms.ScaleByAdemamix(0.8, 0.9, k / 8, k, 1e-3 * (k + 1), k + 1),
        ],
    ),
    TransformCase(
        transforms.ScaleByAdopt,
        {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3, "clip_exponent": 0.3},
        [
            lambda k: transforms.ScaleByAdopt(k / 8, 0.9 + k / 100, 1e-3 * (k + 1), 0.1 * k, k % 3),
            lambda k: transforms.ScaleByAdopt(k / 8, 0.9 + k / 100, 1e-3 * (k + 1), None),
        ],
    ),
    TransformCase(
        transforms.ScaleByAdan,
        {"beta_1": 0.9, "beta_2": 0.8, "beta_3": 0.95, "epsilon": 1e-3},
        [lambda k: transforms.ScaleByAdan(k / 8, 0.9 - k / 100, 0.9 + k / 100, 1e-3 * (k + 1))],
    ),
    TransformCase(
        transforms.ScaleByRadam,
        {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3},
        # The first ones are never adaptive, the others from the sixth step on.
        [lambda k: transforms.ScaleByRadam(k / 8, k / 8, 1e-3 * (k + 1))],
    ),
    TransformCase(
        transforms.ScaleByLaprop,
        {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3},
        [lambda k: transforms.ScaleByLaprop(k / 8, 0.9 + k / 100, 1e-3 * (k + 1))],
    ),
    TransformCase(
        transforms.ScaleByAdamax,
        {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3},
        [lambda k: transforms.ScaleByAdamax(k / 8, 0.9 + k / 100, 1e-3 * (k + 1))],
    ),
    TransformCase(
        transforms.ScaleByBelief,
        {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3},
        [lambda k: transforms.ScaleByBelief(k / 8, 0.9 + k / 100, 1e-3 * (k + 1))],
    ),
    TransformCase(
        transforms.ScaleByYogi,
        {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-2, "initial_accumulator_value": 0.1},
        # What `v` starts at is state.
        [lambda k: transforms.ScaleByYogi(k / 8, 0.9 + k / 100, 1e-3 * (k + 1))],
    ),
]

RULES: dict[str, Any] = {
    "clip_delay": ZERO_OR_MORE,
    "clip_exponent": NON_NEGATIVE,
    "momentum_decay": NON_NEGATIVE,
    "slow_weight": NON_NEGATIVE,
    "warmup_steps": ZERO_OR_MORE,
}
GOOD: dict[str, Any] = {}

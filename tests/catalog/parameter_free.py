"""Methods that estimate their learning rate."""

import oracles_parameter_free as oracles
import references.parameter_free as reference
from oracles_accumulators import optax_sgdw
from references.first import SGD

from catalog.case import Case, TransformCase, tensors
from catalog.rules import COUNT, FLAG, POSITIVE
from kopt import optimizers, transforms

PRODIGY_ORACLES = {"optax": oracles.optax_prodigy, "torch": oracles.torch_prodigy}
DADAPT_ORACLES = {"optax": oracles.optax_dadapt_adam, "torch": oracles.torch_dadapt_adam}
# Norms and inner products are over all variables: "independent" is what these are not.
JOINT = frozenset({"fixed_point", "sparse"})


def decayed_gradients(weight_decay, **kwargs):
    """Returns a DoG or DoWG with the decay in front, where optax has it."""
    return {**kwargs, "before": [transforms.AddDecayedWeights(weight_decay)]}


def with_decay_in_front(method):
    """Returns a reference or an oracle that takes the rows of `decayed_gradients`."""
    return lambda before, **kwargs: method(weight_decay=before[0].weight_decay, **kwargs)


def coupled(kind):
    """Returns a reference whose decay is part of the gradient."""

    class Coupled(kind):
        def step(self, xs, gs):
            decayed = [g + self.weight_decay * x for x, g in zip(xs, gs, strict=True)]
            self.decays = [0.0] * len(xs)
            return super().step(xs, decayed)

    return with_decay_in_front(Coupled)


MECHANIC = {"s_init": 0.5, "weight_decay": 0.05, "num_betas": 4, "epsilon": 1e-7}
FEW = {"s_init": 0.3, "weight_decay": 0.2, "num_betas": 2, "epsilon": 0.05}


def momentum(learning_rate, weight_decay=0.0, **_):
    return SGD(learning_rate, momentum=0.7, weight_decay=weight_decay)


def optax_momentum(learning_rate, weight_decay=0.0, **_):
    return optax_sgdw(0.7, weight_decay, learning_rate=learning_rate)


def mechanic(**arguments):
    return [transforms.Momentum(0.7), transforms.Mechanic(**arguments)]


CASES = [
    Case(
        optimizers.Prodigy,
        {
            "learning_rate": 0.9,
            "beta_1": 0.8,
            "beta_2": 0.95,
            "epsilon": 1e-3,
            "d0": 0.02,
            "bias_correction": True,
        },
        reference.Prodigy,
        PRODIGY_ORACLES,
        JOINT,
        tensors(4),
        2,
    ),
    Case(
        optimizers.Prodigy,
        {
            "learning_rate": 0.8,
            "beta_1": 0.7,
            "beta_2": 0.9,
            "distance_beta": 0.8,
            "d0": 0.01,
            "d_coef": 2.0,
            "safeguard_warmup": True,
            "bias_correction": True,
            "weight_decay": 0.3,
        },
        reference.Prodigy,
        PRODIGY_ORACLES,
        JOINT,
        tensors(4),
        2,
    ),
    # optax always corrects the bias, and has no limit on the growth.
    Case(
        optimizers.Prodigy,
        {"beta_1": 0.8, "beta_2": 0.93, "epsilon": 1e-2, "d0": 0.02, "d_coef": 3.0, "growth_rate": 1.1},
        reference.Prodigy,
        {"torch": oracles.torch_prodigy},
        JOINT,
        tensors(4),
        3,
    ),
    Case(
        optimizers.DAdaptAdam,
        {"learning_rate": 0.9, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3, "d0": 0.02, "bias_correction": True},
        reference.DAdaptAdam,
        DADAPT_ORACLES,
        JOINT,
        tensors(3),
        2,
    ),
    Case(
        optimizers.DAdaptAdam,
        {
            "learning_rate": 0.8,
            "beta_1": 0.7,
            "beta_2": 0.9,
            "epsilon": 1e-2,
            "d0": 0.01,
            "bias_correction": True,
            "weight_decay": 0.3,
        },
        reference.DAdaptAdam,
        DADAPT_ORACLES,
        JOINT,
        tensors(3),
        2,
    ),
    # optax always corrects the bias, and has no limit on the growth.
    Case(
        optimizers.DAdaptAdam,
        {"beta_1": 0.8, "beta_2": 0.93, "epsilon": 1e-3, "d0": 0.02, "growth_rate": 1.05, "weight_decay": 0.2},
        reference.DAdaptAdam,
        {"torch": oracles.torch_dadapt_adam},
        JOINT,
        tensors(3),
        2,
    ),
    Case(
        optimizers.DoG,
        {"learning_rate": 0.9, "d0": 0.01, "epsilon": 1e-2},
        reference.DoG,
        {"optax": oracles.optax_dog},
        JOINT,
        tensors(1),
        2,
    ),
    Case(
        optimizers.DoG,
        {"learning_rate": 0.8, "d0": 0.03, "relative": False},
        reference.DoG,
        {"optax": oracles.optax_dog},
        JOINT,
        tensors(1),
        2,
    ),
    # optax adds the decay to the gradient, as the next row does.
    Case(
        optimizers.DoG,
        {"learning_rate": 0.9, "d0": 0.02, "epsilon": 1e-3, "weight_decay": 0.3},
        reference.DoG,
        {},
        JOINT,
        tensors(1),
        2,
    ),
    Case(
        optimizers.DoG,
        decayed_gradients(0.3, d0=0.02, epsilon=1e-3),
        coupled(reference.DoG),
        {"optax": with_decay_in_front(oracles.optax_dog)},
        # Decay in front is no weight decay of the optimizer's: the weights move without gradients.
        frozenset({"sparse"}),
        tensors(1),
        2,
    ),
    Case(
        optimizers.DoWG,
        {"learning_rate": 0.9, "d0": 0.05, "epsilon": 1e-3},
        reference.DoWG,
        {"optax": oracles.optax_dowg},
        JOINT,
        tensors(1),
        2,
    ),
    # optax adds the decay to the gradient, as the next row does.
    Case(
        optimizers.DoWG,
        {"learning_rate": 0.8, "d0": 0.03, "epsilon": 1e-2, "weight_decay": 0.3},
        reference.DoWG,
        {},
        JOINT,
        tensors(1),
        2,
    ),
    Case(
        optimizers.DoWG,
        decayed_gradients(0.3, d0=0.04, epsilon=1e-3),
        coupled(reference.DoWG),
        {"optax": with_decay_in_front(oracles.optax_dowg)},
        frozenset({"sparse"}),
        tensors(1),
        2,
    ),
    Case(
        optimizers.COCOB,
        {"bet_divisor": 5.0, "epsilon": 0.02},
        reference.COCOB,
        {"optax": oracles.optax_cocob},
        state=tensors(5),
    ),
    Case(
        optimizers.COCOB,
        {"bet_divisor": 7.0, "weight_decay": 0.3},
        reference.COCOB,
        {"optax": oracles.optax_cocob},
        state=tensors(5),
    ),
    # optax' learning rate scales the gradient.
    Case(
        optimizers.COCOB,
        {"learning_rate": 0.6, "bet_divisor": 4.0, "epsilon": 0.1, "weight_decay": 0.1},
        reference.COCOB,
        state=tensors(5),
    ),
    Case(
        optimizers.Composed,
        {"transforms": mechanic(**MECHANIC), "learning_rate": 0.02, "weight_decay": 0.3},
        lambda **kwargs: reference.Mechanic(lambda: momentum(**kwargs), **MECHANIC),
        {"optax": lambda **kwargs: oracles.optax_mechanic(optax_momentum(**kwargs), **MECHANIC)},
        JOINT,
        tensors(3),
        17,
    ),
    # With an epsilon of this size, optax' sum of steps is another.
    Case(
        optimizers.Composed,
        {"transforms": mechanic(**FEW), "learning_rate": 0.05, "weight_decay": 0.1},
        lambda **kwargs: reference.Mechanic(lambda: momentum(**kwargs), **FEW),
        {},
        JOINT,
        tensors(3),
        9,
    ),
]

PRODIGY = {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3, "d0": 0.1}
TRANSFORMS = [
    TransformCase(
        transforms.ScaleByProdigy,
        {**PRODIGY, "d_coef": 2.0, "growth_rate": 1.5, "safeguard_warmup": True, "bias_correction": True},
        [
            lambda k: transforms.ScaleByProdigy(k / 9, 0.9 + k / 100, None, 1e-3 * (k + 1), 0.1 + k / 8, 1 + k / 8),
            lambda k: transforms.ScaleByProdigy(
                k / 9, 0.9 + k / 100, k / 9, 1e-3 * (k + 1), 0.1 + k / 8, 1 + k / 8, 1 + k / 8, safeguard_warmup=True
            ),
            lambda k: transforms.ScaleByProdigy(k / 9, 0.9 + k / 100, k / 9, bias_correction=True),
        ],
    ),
    TransformCase(
        transforms.ScaleByDadaptAdam,
        {**PRODIGY, "growth_rate": 1.5, "bias_correction": True},
        [
            lambda k: transforms.ScaleByDadaptAdam(k / 9, 0.9 + k / 100, 1e-3 * (k + 1), 0.1 + k / 8),
            lambda k: transforms.ScaleByDadaptAdam(
                k / 9, 0.9 + k / 100, 1e-3 * (k + 1), 0.1 + k / 8, 1 + k / 8, bias_correction=True
            ),
        ],
    ),
    TransformCase(
        transforms.ScaleByDog,
        {"d0": 0.1, "epsilon": 1e-3},
        [
            lambda k: transforms.ScaleByDog(0.1 + k / 8, 1e-3 * (k + 1)),
            lambda k: transforms.ScaleByDog(0.1 + k / 8, 1e-3 * (k + 1), relative=False),
        ],
    ),
    TransformCase(
        transforms.ScaleByDowg,
        {"d0": 0.1, "epsilon": 1e-3},
        [lambda k: transforms.ScaleByDowg(0.1 + k / 8, 1e-3 * (k + 1))],
    ),
    TransformCase(
        transforms.Mechanic,
        {"s_init": 0.1, "weight_decay": 0.3, "num_betas": 3, "epsilon": 1e-3},
        [
            lambda k: transforms.Mechanic(0.1 + k / 8, k / 8, 3, 1e-3 * (k + 1)),
            lambda k: transforms.Mechanic(0.1 + k / 8, k / 8, 1, 1e-3 * (k + 1)),
        ],
    ),
    TransformCase(
        transforms.ScaleByCocob,
        {"bet_divisor": 5.0, "epsilon": 1e-3},
        [lambda k: transforms.ScaleByCocob(2.0 + k, 1e-3 * (k + 1))],
    ),
]

RULES = {
    "bet_divisor": POSITIVE,
    "d0": POSITIVE,
    "d_coef": POSITIVE,
    # None is the default, and means something.
    "distance_beta": ("a number in [0, 1)", [-0.1, 1, 1.5, float("nan"), True, "0.5"]),
    "num_betas": COUNT,
    "s_init": POSITIVE,
    "growth_rate": ("a finite number >= 1", [0.9, 0, -1, float("nan"), float("inf"), True, "2"]),
    "relative": FLAG,
    "safeguard_warmup": FLAG,
}
GOOD: dict[str, object] = {}

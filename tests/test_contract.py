"""Is every optimizer and every transform a good Keras citizen?"""

import keras
import pytest
from catalog import CASES

from kopt import optimizers, transforms
from kopt.testing import OptimizerContract, OptimizerMatrix, TransformContract

# Tensors of state per variable, as the optimizers' docstrings promise ("Memory: 8 bytes per parameter").
SLOTS = {
    optimizers.SGD: lambda momentum=0, **_: int(momentum > 0),
    optimizers.RMSprop: lambda momentum=0, centered=False, **_: 1 + centered + (momentum > 0),
    optimizers.Adam: lambda amsgrad=False, **_: 2 + amsgrad,
    optimizers.AdamW: lambda amsgrad=False, **_: 2 + amsgrad,
    optimizers.Composed: lambda transforms, **_: sum(len(t.slots(keras.Variable(0.0))) for t in transforms),
}


def contract(case, *bases):
    """Returns a test class for one row of the catalogue."""

    @pytest.fixture
    def make(self):
        return case.make

    slots = SLOTS[case.optimizer_class](**case.kwargs)
    members = {"make": make, "supports": case.supports, "slots_per_variable": slots}
    return type(f"Test_{case.id}", bases, members)


def takes_decay(case):
    """Returns whether `weight_decay` may be given: not beside a chain that applies the rate or a decay itself."""
    own = (transforms.ScaleByLearningRate, transforms.AddDecayedWeights)
    return not any(isinstance(transform, own) for transform in case.kwargs.get("transforms", ()))


ROWS = [case for case in CASES if takes_decay(case)]


def richest(optimizer_class):
    """Returns the row of a class that says most: its tests are in each run, those of the others in the full one."""
    return max((case for case in ROWS if case.optimizer_class is optimizer_class), key=lambda case: len(case.kwargs))


CHOSEN = [richest(kind) for kind in dict.fromkeys(case.optimizer_class for case in ROWS)]
for case in ROWS:
    made = contract(case, OptimizerContract)
    globals()[made.__name__] = made if case in CHOSEN else pytest.mark.slow(made)
for case in CHOSEN:
    made = contract(case, OptimizerMatrix)
    globals()[f"{made.__name__}_matrix"] = pytest.mark.slow(made)


def public(module, kind):
    return {name: thing for name, thing in vars(module).items() if isinstance(thing, type) and issubclass(thing, kind)}


def test_every_public_optimizer_has_a_row():
    named = set(public(optimizers, optimizers.ComposedOptimizer).values()) - {optimizers.ComposedOptimizer}
    assert named == {case.optimizer_class for case in CHOSEN}


TRANSFORMS = {
    "AddDecayedWeights": {"weight_decay": 0.3},
    "ClipByGlobalNorm": {"limit": 0.7},
    "ClipByNorm": {"limit": 0.7},
    "ClipByValue": {"limit": 0.6},
    "Momentum": {"momentum": 0.7, "nesterov": True},
    "ScaleByAdam": {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3, "amsgrad": True},
    "ScaleByLearningRate": {},
    "ScaleByRms": {"rho": 0.8, "epsilon": 1e-3, "centered": True},
}


def transform_contract(name, kwargs):
    @pytest.fixture
    def make(self):
        return lambda **changes: getattr(transforms, name)(**{**kwargs, **changes})

    return type(f"Test_{name}", (TransformContract,), {"make": make})


for name, kwargs in TRANSFORMS.items():
    globals()[f"Test_{name}"] = transform_contract(name, kwargs)


def test_every_public_transform_has_a_row():
    assert set(public(transforms, transforms.Transform)) - {"Transform"} == set(TRANSFORMS)

"""Is every optimizer and every transform a good Keras citizen?"""

import pytest
from catalog import CASES

from kopt import optimizers, transforms
from kopt.testing import OptimizerContract, OptimizerMatrix, TransformContract


def contract(case, *bases, **members):
    """Returns a test class for one row of the catalogue."""

    @pytest.fixture
    def make(self):
        return case.make

    own_decay = any(isinstance(t, transforms.AddDecayedWeights) for t in case.kwargs.get("transforms", ()))
    supports = case.supports | {"independent"} | (frozenset() if own_decay else {"fixed_point"})
    return type(f"Test_{case.id}", bases, {"make": make, "supports": supports, **members})


def richest(optimizer_class):
    """Returns the row of a class that says most: its tests are in each run, those of the others in the full one."""
    return max((case for case in CASES if case.optimizer_class is optimizer_class), key=lambda case: len(case.kwargs))


CHOSEN = [richest(kind) for kind in dict.fromkeys(case.optimizer_class for case in CASES)]
for case in CASES:
    made = contract(case, OptimizerContract)
    globals()[made.__name__] = made if case in CHOSEN else pytest.mark.slow(made)
for case in CHOSEN:
    made = contract(case, OptimizerMatrix)
    globals()[f"{made.__name__}_matrix"] = pytest.mark.slow(made)


def public(module, kind):
    return {name: thing for name, thing in vars(module).items() if isinstance(thing, type) and issubclass(thing, kind)}


def test_every_public_optimizer_has_a_row():
    named = set(public(optimizers, optimizers.ComposedOptimizer).values()) - {optimizers.ComposedOptimizer}
    assert named == {case.optimizer_class for case in CASES}


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

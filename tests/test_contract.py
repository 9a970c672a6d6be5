"""Is every optimizer and every transform a good Keras citizen?"""

import pytest
from catalog import CASES, SHAPES, TRANSFORMS

from kopt import optimizers, transforms
from kopt.testing import OptimizerContract, OptimizerMatrix, TransformContract


def contract(case, *bases):
    """Returns a test class for one row of the catalogue."""

    @pytest.fixture
    def make(self):
        return case.make

    members = {
        "make": make,
        "supports": case.supports,
        "state_of": lambda self, shape: case.state(shape),
        "own_state": case.own_state,
        "rounding": case.rounding,
        "slow_start": case.slow_start,
    }
    return type(f"Test_{case.id}", bases, members)


def fits_contract(case):
    """Returns whether the contract can be asked: `weight_decay` not beside a chain that applies the rate or a decay."""
    if case.parity_only:
        return False
    own = (transforms.ScaleByLearningRate, transforms.AddDecayedWeights)
    return not any(isinstance(transform, own) for transform in case.kwargs.get("transforms", ()))


ROWS = [case for case in CASES if fits_contract(case)]


def richest(optimizer_class):
    """Returns the row of a class that says most: its tests are in each run, those of the others in the full one."""
    return max((case for case in ROWS if case.optimizer_class is optimizer_class), key=lambda case: len(case.kwargs))


# One optimizer for each way in which the spine is used: the wide matrix asks about the spine, not about formulas.
WAYS = {
    "SGD": "one slot",
    "AdamW": "several slots, bias correction",
    "Adafactor": "slots of other shapes",
    "LazyAdam": "two recipes in one optimizer",
    "Muon": "kernels of one shape in one batch",
    "SOAP": "dear parts behind a condition",
    "Prodigy": "state that all variables share, and an estimate",
    "ScheduleFreeAdamW": "other weights to evaluate with",
    "Composed": "a chain of the user's own",
}
CHOSEN = [richest(kind) for kind in dict.fromkeys(case.optimizer_class for case in ROWS)]
for case in ROWS:
    made = contract(case, OptimizerContract)
    globals()[made.__name__] = made if case in CHOSEN else pytest.mark.slow(made)
for case in CHOSEN:
    if case.optimizer_class.__name__ in WAYS:
        made = contract(case, OptimizerMatrix)
        globals()[f"{made.__name__}_matrix"] = pytest.mark.slow(made)


def public(module, kind):
    return {name: thing for name, thing in vars(module).items() if isinstance(thing, type) and issubclass(thing, kind)}


def test_every_public_optimizer_has_a_row():
    named = set(public(optimizers, optimizers.ComposedOptimizer).values()) - {optimizers.ComposedOptimizer}
    assert named == {case.optimizer_class for case in CHOSEN}


def transform_contract(case):
    @pytest.fixture
    def make(self):
        return case.make

    members = {"make": make, "shapes": tuple(case.shapes.values())} if case.shapes is not SHAPES else {"make": make}
    return type(f"Test_{case.kind.__name__}", (TransformContract,), members)


for case in TRANSFORMS:
    globals()[f"Test_{case.kind.__name__}"] = transform_contract(case)


def test_every_public_transform_has_a_row():
    assert set(public(transforms, transforms.Transform).values()) - {transforms.Transform} == {
        case.kind for case in TRANSFORMS
    }

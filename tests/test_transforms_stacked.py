"""Kernels of one shape are updated as a stack: does each get what it gets alone?"""

import keras
import numpy as np
import pytest
from keras import ops
from stepwise import Stepwise, array, tensor

from kopt import transforms

SHAPES = ((3, 5), (5, 3), (4, 4), (2, 2, 5), (4,), ())
SOAP = {"beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-2, "precondition_frequency": 2}
MAKERS = {
    "kron": lambda: transforms.ScaleByKron(0.7, precondition_frequency=1, precondition_learning_rate=0.3),
    "kron, one side triangular": lambda: transforms.ScaleByKron(0.7, 1, 0.3, max_size_triangular=4),
    "orthogonal": lambda: transforms.OrthogonalizedMomentum(0.7, 3, size="spectral"),
    "shampoo": lambda: transforms.ScaleByShampoo(0.7, 0.9, 1e-2, 3, 1, 1, grafting_epsilon=1e-3),
    "soap": lambda: transforms.ScaleBySoap(**SOAP),
    "soap, one side": lambda: transforms.ScaleBySoap(**SOAP, max_precondition_dimension=3),
}

# JAX, not traced, compiles each operation for each shape: minutes. There the rows of the catalogue must do.
pytestmark = pytest.mark.skipif(keras.backend.backend() == "jax", reason="compiles each operation for each shape")


def gradients(shape, steps=4):
    """Returns gradients of two variables, one of them a hundred times as long."""
    rng = np.random.default_rng(11)
    return [[size * rng.normal(size=shape) for size in (1.0, 0.01)] for _ in range(steps)]


def stacked(run, given):
    """Returns the updates and the state of the next step, both variables in one call."""
    run.t += 1
    h = run.scalars()
    common, run.own = run.transform.shared([tensor(g) for g in given], run.x, run.slots, run.own, h)
    together = [ops.stack([tensor(g) for g in given]), ops.stack(run.x)]
    slots = {name: ops.stack([state[name] for state in run.slots]) for name in run.slots[0]}
    update, new = run.transform.update(*together, slots, h | common)
    return [update, *(new[name] for name in sorted(new))]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_each_of_a_stack_gets_what_it_gets_alone(make, shape):
    alone, beside = (Stepwise(make(), {"a": np.zeros(shape), "b": np.ones(shape)}) for _ in range(2))
    assert alone.transform.batches
    for given in gradients(shape)[:3]:
        alone.told(*given)
        beside.told(*given)
    last = gradients(shape)[3]
    expected = [np.stack(alone.told(*last))]
    expected += [np.stack([array(state[name]) for state in alone.slots]) for name in sorted(alone.slots[0])]
    for found, wanted in zip(stacked(beside, last), expected, strict=True):
        np.testing.assert_allclose(array(found), wanted, rtol=2e-5, atol=2e-6 * np.max(np.abs(wanted)))


@pytest.mark.parametrize("shape", [(4, 3), (3, 4)], ids=str)
@pytest.mark.parametrize("t", [2, 3])
def test_soap_begins_late_with_one_kernel_of_a_stack(shape, t):
    """At step 3 the bases turn; the second kernel has none yet."""

    def begun():
        run = Stepwise(MAKERS["soap"](), {"a": np.zeros(shape), "b": np.zeros(shape)})
        for given in gradients(shape)[: t - 1]:
            fresh = run.slots[1]
            run.told(*given)
            run.slots[1] = fresh
        return run

    alone, beside, given = begun(), begun(), gradients(shape)[t]
    expected = [np.stack(alone.told(*given))]
    assert np.any(expected[0][0])
    assert not np.any(expected[0][1])
    expected += [np.stack([array(state[name]) for state in alone.slots]) for name in sorted(alone.slots[0])]
    for found, wanted in zip(stacked(beside, given), expected, strict=True):
        np.testing.assert_allclose(array(found), wanted, rtol=2e-5, atol=2e-6)

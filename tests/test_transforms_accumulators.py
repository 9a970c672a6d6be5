"""What the catalogue's rows cannot show of sign and accumulator methods: zeros, rates of 0, and who reads the rate."""

from functools import partial

import numpy as np
import pytest
import references.accumulators as reference
from test_parity import assert_same_path, problem, reference_path, trained

from kopt import optimizers, schedules, transforms
from kopt.testing import problems

MOMENTA = [0.9, 0.0]


def without_epsilon():
    """Yields optimizers that would divide by 0 where gradients are 0."""
    yield pytest.param(lambda: optimizers.Adagrad(0.1, initial_accumulator_value=0.0, epsilon=0.0), id="Adagrad")
    yield pytest.param(lambda: optimizers.Adadelta(1.0, epsilon=0.0), id="Adadelta")
    yield pytest.param(lambda: optimizers.SM3(0.1, epsilon=0.0), id="SM3")
    yield pytest.param(lambda: optimizers.MADGRAD(0.1, epsilon=0.0), id="MADGRAD")
    yield pytest.param(lambda: optimizers.MADGRAD(0.1, momentum=0.0, epsilon=0.0), id="MADGRAD without momentum")


@pytest.mark.parametrize("make", without_epsilon())
def test_nothing_over_nothing_is_nothing(make):
    start, gradients = problem()
    zeros = [[np.zeros_like(g) for g in gradients[0]]]
    path = trained(make(), start, zeros + gradients[:3])
    problems.assert_same(path[0], start)
    assert all(np.isfinite(x).all() for xs in path for x in xs)


def test_the_rate_of_rprop_is_its_first_step_only():
    start, gradients = problem()
    make = partial(reference.Rprop, 0.05)
    path = trained(optimizers.Rprop(schedules.ExponentialDecay(0.05, 0.5)), start, gradients)
    assert_same_path(path, reference_path(make, start, gradients))


def test_a_schedule_moves_the_decay_of_rprop():
    start, gradients = problem()
    schedule = schedules.ExponentialDecay(0.05, 0.5)
    path = trained(optimizers.Rprop(schedule, weight_decay=0.3), start, gradients)
    rprops, xs = [reference.Rprop(0.05) for _ in start], [x.astype("float64") for x in start]
    expected = []
    for t, step in enumerate(gradients):
        shrunk = [0.05 * 0.5**t * 0.3 * x for x in xs]
        xs = [rprop.step(x, g) - s for rprop, x, g, s in zip(rprops, xs, step, shrunk, strict=True)]
        expected.append(xs)
    assert_same_path(path, expected)


def test_rprop_starts_a_weight_at_its_first_gradient():
    start, gradients = problem()
    optimizer = optimizers.Rprop(0.05, groups=[optimizers.Group("gain", learning_rate=0.5)])
    moved = [np.abs(x - x0) for x, x0 in zip(trained(optimizer, start, gradients[:1])[0], start, strict=True)]
    for distance, expected in zip(moved, [0.05, 0.05, 0.025], strict=True):
        np.testing.assert_allclose(distance, expected, rtol=1e-5)


@pytest.mark.parametrize(
    "make",
    [optimizers.Rprop, *(partial(optimizers.MADGRAD, momentum=momentum) for momentum in MOMENTA)],
    ids=["Rprop", "MADGRAD", "MADGRAD without momentum"],
)
def test_a_rate_of_zero_holds_the_weights(make):
    start, gradients = problem()
    path = trained(make(schedules.StepDecay(0.1, 2, 1e-45), weight_decay=0.5), start, gradients[:4])
    assert all(np.all(x != x0) for x, x0 in zip(path[1], start, strict=True))
    problems.assert_same(path[3], path[1])


@pytest.mark.parametrize("momentum", MOMENTA)
def test_a_schedule_weighs_the_gradients_of_madgrad(momentum):
    start, gradients = problem()
    rates = [0.1 * 0.8**t for t in range(len(gradients))]
    path = trained(optimizers.MADGRAD(schedules.ExponentialDecay(0.1, 0.8), momentum), start, gradients)
    weights = [rate * np.sqrt(t + 1) for t, rate in enumerate(rates)]
    for n, x0 in enumerate(start):
        x = x0.astype("float64")
        for t in range(len(gradients)):
            past = [step[n].astype("float64") for step in gradients[: t + 1]]
            s = sum(w * g for w, g in zip(weights, past, strict=False))
            v = sum(w * g**2 for w, g in zip(weights, past, strict=False))
            x = momentum * x + (1 - momentum) * (x0 - s / (np.cbrt(v) + 1e-6))
            np.testing.assert_allclose(path[t][n], x, rtol=1e-5, atol=1.2e-6)


def test_novograd_starts_at_the_first_gradient_that_is_not_zero():
    start, gradients = problem()
    zeros = [[np.zeros_like(g) for g in gradients[0]]] * 2
    late = trained(optimizers.NovoGrad(0.03), start, zeros + gradients)[2:]
    assert_same_path(late, trained(optimizers.NovoGrad(0.03), start, gradients))


def test_sm3_keeps_one_number_per_index_of_each_axis():
    slots = transforms.ScaleBySm3().slots(problems.variables()[0])
    assert [slot.shape for slot in slots] == [(4,), (3,)]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: optimizers.SGDW(momentum=0.0, nesterov=True), r"`nesterov=True` needs `momentum` > 0\. Received: mom"),
        (
            lambda: optimizers.Rprop(0.1, min_step_size=0.5, max_step_size=0.1),
            r"`max_step_size` must be at least `min_step_size`, 0\.5\. Received: max_step_size=0\.1",
        ),
    ],
)
def test_contradictions(call, message):
    with pytest.raises(ValueError, match=message):
        call()

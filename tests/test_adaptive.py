"""What Adam's relatives claim beyond parity with others: RAdam's length, AdEMAMix' warm-up, ADOPT's first step."""

import itertools
from decimal import Decimal, localcontext

import keras
import numpy as np
import pytest
import references.adaptive as reference
from keras import ops

from kopt import optimizers, transforms
from kopt.transforms.radam import average_length


def number(tensor):
    return float(ops.convert_to_numpy(ops.convert_to_tensor(tensor)))


def scalar(value):
    return ops.convert_to_tensor(value, "float32")


@pytest.mark.parametrize("beta", [0.7, 0.9, 0.99, 0.999, 0.9999, 0.99999])
@pytest.mark.parametrize("t", [1, 2, 6, 30, 1000, 10**5, 10**7])
def test_the_length_of_an_average_is_exact_in_float32(beta, t):
    with localcontext() as context:
        context.prec = 60
        power = Decimal(beta) ** t
        expected = 2 / (1 - Decimal(beta)) - 1 - 2 * t * power / (1 - power)
    np.testing.assert_allclose(number(average_length(beta, scalar(t))), float(expected), rtol=2e-6)


def test_a_length_of_five_is_trusted():
    low, high = 0.7, 0.95
    for _ in range(60):
        beta = (low + high) / 2
        length = number(average_length(beta, scalar(6)))
        if length == 5:
            break
        low, high = (beta, high) if length < 5 else (low, beta)
    else:
        pytest.skip("no decay rate has a length that rounds to 5 on this backend")
    assert number(transforms.ScaleByRadam(0.9, beta).scalars(scalar(6), scalar(0.1))["is_adaptive"]) == 1


def test_adam_is_radam_in_the_end():
    h = transforms.ScaleByRadam(0.9, 0.999).scalars(scalar(1e6), scalar(0.1))
    adam = transforms.ScaleByAdam(0.9, 0.999).scalars(scalar(1e6), scalar(0.1))
    np.testing.assert_allclose(number(h["scale"]), number(adam["scale"]), rtol=1e-5)
    assert number(h["is_adaptive"]) == 1


@pytest.mark.parametrize(("beta_1", "beta_3"), [(0.9, 0.9999), (0.5, 0.99), (0.0, 0.9), (0.9, 0.8), (0.9, 0.0)])
def test_the_slow_average_warms_up_from_the_fast_one(beta_1, beta_3):
    transform = transforms.ScaleByAdemamix(beta_1, beta_3=beta_3, slow_weight=4.0, warmup_steps=100)
    hs = [transform.scalars(scalar(t), scalar(0.1)) for t in (1, 25, 50, 100, 1000)]
    betas = [1 - number(h["weight_3"]) for h in hs]
    assert all(a <= b + 1e-7 for a, b in itertools.pairwise(betas))
    np.testing.assert_allclose(betas[-2:], beta_3, rtol=1e-6, atol=1e-7)
    alphas = [number(h["slow_scale"] / h["root"]) for h in hs]
    np.testing.assert_allclose(alphas, [0.04, 1, 2, 4, 4], rtol=1e-6)
    if 0 < beta_1 < beta_3:
        # In the middle, the half-life log(1/2) / log(beta) is the mean of both ends.
        half_lives = [np.log(0.5) / np.log(beta) for beta in (beta_1, betas[2], beta_3)]
        np.testing.assert_allclose(half_lives[1], (half_lives[0] + half_lives[2]) / 2, rtol=1e-3)
        paper = reference.AdEMAMix(0.1, beta_1, beta_3=beta_3, warmup_steps=100).slow_beta(25)
        np.testing.assert_allclose(betas[1], paper, rtol=1e-6)


@pytest.mark.parametrize("epsilon", [1e-6, 0.0])
def test_adopt_only_looks_at_the_first_gradient(epsilon):
    x, optimizer = keras.Variable([1.0, -2.0]), optimizers.ADOPT(0.1, epsilon=epsilon)
    optimizer.apply([ops.convert_to_tensor([1e15, -1e-9])], [x])
    np.testing.assert_array_equal(ops.convert_to_numpy(x.value), [1.0, -2.0])
    optimizer.apply([ops.convert_to_tensor([1e15, 0.0])], [x])
    assert np.all(np.isfinite(ops.convert_to_numpy(x.value)))


def test_a_late_first_gradient_is_bounded_in_adopt():
    x, y, optimizer = keras.Variable([1.0]), keras.Variable([1.0]), optimizers.ADOPT(0.1, beta_1=0.0)
    optimizer.build([x, y])
    optimizer.apply([ops.convert_to_tensor([3.0])], [x])
    optimizer.apply([ops.convert_to_tensor([3.0]), ops.convert_to_tensor([3.0])], [x, y])
    np.testing.assert_allclose(ops.convert_to_numpy(y.value), 1 - 0.1, rtol=1e-6)


def test_the_decay_of_adan_never_changes_a_sign():
    x, optimizer = keras.Variable([2.0, -2.0]), optimizers.Adan(1.0, weight_decay=3.0)
    optimizer.apply([ops.zeros(2)], [x])
    np.testing.assert_allclose(ops.convert_to_numpy(x.value), [0.5, -0.5], rtol=1e-6)


def test_nadam_counts_its_momentum_once_a_step_for_all_groups():
    def moved(*groups):
        xs = [keras.Variable([1.0], name=name) for name in ("first", "second")]
        optimizer = optimizers.NAdam(0.1, momentum_decay=1.0, groups=groups)
        for g in (0.3, -2.0, 0.7):
            optimizer.apply([ops.convert_to_tensor([g])] * 2, xs)
        return [number(x.value[0]) - 1 for x in xs]

    first, second = moved()
    np.testing.assert_allclose(moved(optimizers.Group("second", learning_rate=0.5)), [first, second / 2], rtol=1e-5)

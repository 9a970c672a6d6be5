"""Optimizers that evaluate with other weights than they train: what the model holds, and when."""

import keras
import numpy as np
import pytest
from keras import ops
from references.schedule_free import ScheduleFreeAdamW as Reference

from kopt import optimizers, transforms
from kopt.testing import problems
from kopt.testing.training_checks import Numbers, compiled, policy

SETTINGS = {"learning_rate": 0.05, "beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-3, "warmup_steps": 4}


def make(**changes):
    return optimizers.ScheduleFreeAdamW(**{**SETTINGS, "weight_decay": 0.1, **changes})


def references(count=4, **changes):
    return [Reference(**{**SETTINGS, "weight_decay": 0.1, **changes}) for _ in range(count)]


@keras.saving.register_keras_serializable(package="kopt_tests")
class MeanOfWeights(transforms.Transform):
    """Keeps the moving average of the weights, and swaps it in."""

    acts_on = "step"
    averages = True

    def __init__(self, decay=0.75):
        self.decay = decay

    def slots(self, variable):
        return [transforms.Slot("mean", start="variable")]

    def scalars(self, t, learning_rate):
        return {"decay": self.decay}

    def update(self, u, x, slots, h):
        return u, {"mean": h["decay"] * slots["mean"] + (1 - h["decay"]) * (x - u)}

    def to_average(self, x, slots, h):
        return slots["mean"], {"mean": x}

    def from_average(self, x, slots, h):
        return slots["mean"], {"mean": x}


class Linear:
    """A linear regression in float64, trained by references as Keras trains a Dense layer by batches of four."""

    def __init__(self, kernel, bias, **changes):
        self.values = [kernel.astype("float64"), bias.astype("float64")]
        self.references = references(2, **changes)

    def gradients(self, values, x, y):
        error = 2 * (x @ values[0] + values[1] - y) / len(x)
        return [x.T @ error, error.sum(axis=0)]

    def averages(self):
        return [reference.average() for reference in self.references]

    def fit(self, epochs, at=None):
        """Trains; `at` is where the first gradient is taken, if not at the weights to train with."""
        x, y = (part.astype("float64") for part in problems.data())
        for n in range(3 * epochs):
            rows = slice(4 * (n % 3), 4 * (n % 3) + 4)
            gradients = self.gradients(self.values if at is None else at, x[rows], y[rows])
            self.values = [r.step(v, g) for r, v, g in zip(self.references, self.values, gradients, strict=True)]
            at = None


def linear(optimizer, **options):
    return compiled(keras.Sequential([keras.Input((4,)), problems.dense(1, "only", 3)]), optimizer, **options)


def flags(optimizer):
    return [float(ops.convert_to_numpy(v)) for v in optimizer.slot_variables if v.name.endswith("is_averaged")]


def wrapped(optimizer):
    return keras.optimizers.LossScaleOptimizer(optimizer, 16.0)


@pytest.mark.parametrize("wrap", [lambda optimizer: optimizer, wrapped], ids=["plain", "scaled_loss"])
def test_fit_ends_with_the_average_and_a_second_fit_goes_on(wrap):
    optimizer = make()
    model = linear(wrap(optimizer))
    expected = Linear(*problems.values(model.trainable_variables))
    problems.fit(model, epochs=3)
    expected.fit(3)
    problems.assert_close(problems.values(model.trainable_variables), expected.averages())
    assert np.max(np.abs(expected.values[0] - expected.averages()[0])) > 1e-3, "x and y are told apart"
    assert flags(optimizer) == [1.0, 1.0]
    problems.fit(model, epochs=2)
    expected.fit(2, at=expected.averages())  # the documented exception: one gradient is that at x
    problems.assert_close(problems.values(model.trainable_variables), expected.averages(), 3e-6)


def test_going_back_by_hand_makes_two_fits_one():
    model = linear(make())
    expected = Linear(*problems.values(model.trainable_variables))
    expected.fit(3)
    problems.fit(model)
    model.optimizer.from_average()
    assert flags(model.optimizer) == [0.0, 0.0]
    problems.fit(model, epochs=2)
    problems.assert_close(problems.values(model.trainable_variables), expected.averages())


def test_accumulation_averages_at_optimizer_steps_only():
    start, rng = problems.start_values(), np.random.default_rng(5)
    steps = [[rng.normal(size=x.shape).astype("float32") for x in start] for _ in range(6)]
    optimizer, variables, expected = make(gradient_accumulation_steps=2), problems.variables(), references()
    values = [x.astype("float64") for x in start]
    for n in range(0, 6, 2):
        means = [(a.astype("float64") + b) / 2 for a, b in zip(steps[n], steps[n + 1], strict=True)]
        values = [r.step(x, g) for r, x, g in zip(expected, values, means, strict=True)]
    problems.walk(optimizer, 1, on=variables, gradient=lambda _: steps[0])
    optimizer.finalize_variable_values(variables)  # nothing to average before the first optimizer step
    problems.assert_same(problems.values(variables), start)
    problems.walk(optimizer, 5, on=variables, gradient=lambda n: steps[n + 1])
    problems.assert_close(problems.values(variables), values)
    optimizer.finalize_variable_values(variables)
    problems.assert_close(problems.values(variables), [reference.average() for reference in expected])


@pytest.mark.parametrize("changes", [{}, {"gradient_accumulation_steps": 2}], ids=["plain", "accumulation"])
@pytest.mark.parametrize("wrap", [lambda optimizer: optimizer, wrapped], ids=["bare", "scaled_loss"])
def test_saved_after_fit_goes_on_as_if_it_had_not_been(wrap, changes, tmp_path):
    model = compiled(problems.sequential(), wrap(make(**changes)))
    problems.fit(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    Numbers.of(loaded).assert_same(Numbers.of(model))
    for one in (model, loaded):
        problems.fit(one, epochs=2)
    Numbers.of(loaded).assert_same(Numbers.of(model))


def test_exchanging_twice_changes_nothing():
    optimizer, variables = make(), problems.variables()
    optimizer.build(variables)
    optimizer.to_average()
    problems.assert_same(problems.values(variables), problems.start_values())
    problems.walk(optimizer, on=variables)
    trained, state = problems.values(variables), problems.values(optimizer.slot_variables)
    optimizer.from_average()
    problems.assert_same(problems.values(variables), trained)
    optimizer.to_average()
    averages = problems.values(variables)
    optimizer.to_average()
    problems.assert_same(problems.values(variables), averages)
    optimizer.from_average()
    problems.assert_close(problems.values(variables), trained)
    problems.assert_same(problems.values(optimizer.slot_variables), state)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("after", [list, lambda: [MeanOfWeights()]], ids=["one", "two"])
def test_the_record_leads_back_bit_for_bit(dtype, after):
    optimizer, variables = make(after=after()), problems.variables(dtype)
    problems.walk(optimizer, 4, on=variables)
    weights, state = problems.values(variables), problems.values(optimizer.slot_variables)
    replaced = optimizer.to_average()
    moved = problems.values(variables)
    assert all(np.any(a != b) for a, b in zip(moved, weights, strict=True))
    optimizer.from_average(replaced)
    problems.assert_same(problems.values(variables), weights)
    problems.assert_same(problems.values(optimizer.slot_variables), state)


@pytest.mark.parametrize("changed", [3, 1], ids=["all", "one_element"])
def test_what_another_put_there_meanwhile_is_taken_for_the_average(changed):
    optimizer, variables = make(), problems.variables()
    problems.walk(optimizer, 4, on=variables)
    weights = problems.values(variables)
    z = {v.name: v for v in optimizer.slot_variables}["first_bias_z"]
    replaced = optimizer.to_average()
    put = problems.values(variables)[1]
    put[:changed] = 7.0
    variables[1].assign(put)
    optimizer.from_average(replaced)
    found = problems.values(variables)
    problems.assert_same([found[i] for i in (0, 2, 3)], [weights[i] for i in (0, 2, 3)])
    problems.assert_close([found[1]], [0.8 * put + 0.2 * problems.values([z])[0]])
    assert flags(optimizer) == [0.0] * 4


def test_a_step_on_some_variables_brings_only_those_back():
    optimizer, variables = make(), problems.variables()
    problems.walk(optimizer, 2, on=variables)
    plain, others = make(), problems.variables()
    problems.walk(plain, 2, on=others)
    optimizer.to_average()
    averages = problems.values(variables)
    gradients = problems.tensors(problems.gradients(9))
    optimizer.apply(gradients[:2], variables[:2])
    plain.apply(gradients[:2], others[:2])
    assert flags(optimizer) == [0.0, 0.0, 1.0, 1.0]
    problems.assert_close(problems.values(variables)[:2], problems.values(others)[:2])
    problems.assert_same(problems.values(variables)[2:], averages[2:])
    for one, on in ((optimizer, variables), (plain, others)):
        problems.walk(one, 2, on=on)
        one.to_average()
    problems.assert_close(problems.values(variables), problems.values(others))


def test_frozen_layers_and_groups_hold_what_they_held():
    model = problems.sequential()
    model.layers[0].trainable = False
    compiled(model, make(groups=[optimizers.Group("bias", frozen=True)]))
    before = problems.values(model.weights)
    problems.fit(model)
    after = problems.values(model.weights)
    problems.assert_same([after[i] for i in (0, 1, 3)], [before[i] for i in (0, 1, 3)])
    assert np.any(after[2] != before[2])
    assert flags(model.optimizer) == [1.0]


def test_a_group_with_a_chain_of_its_own_has_no_average():
    optimizer = make(groups=[optimizers.Group("bias", transforms=[transforms.Momentum(0.5)])])
    variables = problems.variables()
    weights = problems.walk(optimizer, on=variables)
    optimizer.to_average()
    averages = problems.values(variables)
    problems.assert_same([averages[i] for i in (1, 3)], [weights[i] for i in (1, 3)])
    assert all(np.any(averages[i] != weights[i]) for i in (0, 2))


def test_bfloat16_variables_hold_an_average_rounded_to_bfloat16():
    optimizer, variables = make(weight_decay=0.0, learning_rate=0.2), problems.variables("bfloat16")
    problems.walk(optimizer, 6, on=variables)
    z = {v.name: problems.values([v])[0] for v in optimizer.slot_variables}
    expected = [
        (y - 0.2 * z[f"{name.replace('/', '_')}_z"]) / 0.8
        for y, name in zip(problems.values(variables), problems.SHAPES, strict=True)
    ]
    optimizer.finalize_variable_values(variables)
    for found, wanted in zip(problems.values(variables), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=2**-8)
    with policy("mixed_bfloat16"):
        model = compiled(problems.sequential(), make())
        losses = problems.fit(model, epochs=5)
    assert losses[-1] < losses[0]


def test_two_averages_in_one_chain_are_taken_apart_in_the_opposite_order():
    expected, variables = problems.walk(make(), 4), problems.variables()
    optimizer = make(after=[MeanOfWeights()])
    problems.walk(optimizer, 2, on=variables)
    optimizer.to_average()
    problems.walk(optimizer, 2, on=variables, gradient=lambda step: problems.gradients(step + 2))
    problems.assert_close(problems.values(variables), expected)


def test_a_swapped_average_is_what_fit_ends_with():
    model = compiled(problems.sequential(), optimizers.SGD(0.1, after=[MeanOfWeights()]))
    plain = compiled(problems.sequential(), optimizers.SGD(0.1))
    means = problems.values(plain.trainable_variables)
    x, y = problems.data()
    for n in range(6):
        rows = slice(4 * (n % 3), 4 * (n % 3) + 4)
        plain.train_on_batch(x[rows], y[rows])
        new = problems.values(plain.trainable_variables)
        means = [0.75 * mean + 0.25 * value for mean, value in zip(means, new, strict=True)]
    problems.fit(model, epochs=2)
    problems.assert_close(problems.values(model.trainable_variables), means)
    model.optimizer.from_average()
    problems.assert_close(problems.values(model.trainable_variables), problems.values(plain.trainable_variables))


def test_a_chain_of_ones_own_has_the_rate_before_what_acts_on_the_step():
    composed = optimizers.Composed([transforms.ScheduleFree(0.8)], 0.1, weight_decay=0.2)
    named = optimizers.ScheduleFreeSGD(0.1, 0.8, weight_decay=0.2)
    problems.assert_same(problems.walk(composed), problems.walk(named))


def test_an_average_of_keras_on_top_is_warned_of_and_wins():
    variables = problems.variables()
    optimizer = make(use_ema=True, ema_momentum=0.5)
    with pytest.warns(UserWarning, match="`use_ema` averages the weights that ScheduleFreeAdamW trains with"):
        first = problems.walk(optimizer, 1, on=variables)
    second = problems.walk(optimizer, 1, on=variables)
    optimizer.finalize_variable_values(variables)
    problems.assert_close(problems.values(variables), [(a + b) / 2 for a, b in zip(first, second, strict=True)])


def test_the_average_of_keras_is_keras_own():
    options = {"use_ema": True, "ema_momentum": 0.6, "ema_overwrite_frequency": 3}
    ours, theirs = optimizers.SGD(0.1, **options), keras.optimizers.SGD(0.1, **options)
    weights = {optimizer: problems.variables() for optimizer in (ours, theirs)}
    for step in range(7):
        for optimizer, variables in weights.items():
            optimizer.apply(problems.tensors(problems.gradients(step)), variables)
            optimizer.finalize_variable_values(variables) if step == 6 else None
        problems.assert_close(problems.values(weights[ours]), problems.values(weights[theirs]))


def test_optimizers_say_whether_they_average():
    assert make().averages
    assert optimizers.SGD(0.1, after=[MeanOfWeights()]).averages
    assert not optimizers.SGD(0.1).averages
    plain, variables = optimizers.SGD(0.1), problems.variables()
    weights = problems.walk(plain, on=variables)
    assert plain.to_average() is None
    plain.from_average()
    problems.assert_same(problems.values(variables), weights)


@pytest.mark.parametrize("name", ["ScheduleFreeAdamW", "ScheduleFreeSGD"])
def test_there_must_be_something_of_the_average_in_y(name):
    argument = {"ScheduleFreeAdamW": "beta_1", "ScheduleFreeSGD": "momentum"}[name]
    with pytest.raises(ValueError, match=f"`{argument}` must be > 0 here. Received: {argument}=0.0"):
        getattr(optimizers, name)(**{argument: 0.0})


def test_a_rate_of_zero_to_begin_with_has_no_weight():
    variables, start = problems.variables(), problems.start_values()
    optimizer = make(learning_rate=keras.optimizers.schedules.PolynomialDecay(0.0, 2, 0.1), warmup_steps=0)
    problems.assert_same(problems.walk(optimizer, 1, on=variables), start)
    problems.walk(optimizer, 3, on=variables)
    assert all(np.all(np.isfinite(x)) for x in problems.values(variables))

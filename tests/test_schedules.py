"""Schedules: against closed forms, optax and Keras; what they promise at joins and ends; where they can be used."""

import json
import sys
import warnings

import catalog
import keras
import numpy as np
import pytest
import references.first as reference
import torch_schedules
from compiling import by_compiler
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from kopt import optimizers, schedules

RTOL = 1e-6
ROWS = pytest.mark.parametrize("case", [pytest.param(case, id=case.id) for case in catalog.SCHEDULE_CASES])
laws = settings(max_examples=30, deadline=None, derandomize=True)
rates = st.floats(1e-4, 10.0)
factors = st.floats(0.0, 1.0)
betas = st.floats(0.0, 0.999)
lengths = st.integers(1, 200)
HORIZON = 640


def run(schedule, steps):
    """Returns the rates of a run, asked for one by one as an optimizer does."""
    return np.array([float(ops.convert_to_numpy(schedule(step))) for step in range(steps)])


def curve(schedule, steps):
    """Returns the rates of a run, asked for at once; always as many, as JAX compiles anew for another number."""
    return ops.convert_to_numpy(schedule(np.arange(HORIZON)))[:steps]


# Values


@ROWS
def test_equals_the_closed_form(case):
    expected = case.reference(np.arange(case.steps, dtype="float64"))
    np.testing.assert_allclose(run(case.make(), case.steps), expected, rtol=RTOL)


@ROWS
def test_equals_the_closed_form_when_compiled(case):
    steps = np.arange(case.steps, dtype="int32")
    values = ops.convert_to_numpy(by_compiler(case.make())(ops.convert_to_tensor(steps)))
    np.testing.assert_allclose(values, case.reference(steps.astype("float64")), rtol=RTOL)


@pytest.mark.parametrize(
    ("case", "oracle"),
    [
        pytest.param(c, oracle, id=f"{oracle}-{c.id}")
        for c in catalog.SCHEDULE_CASES
        for oracle in c.oracles
        if oracle != "torch"
    ],
)
def test_equals_other_libraries(case, oracle):
    theirs = case.oracles[oracle]()
    expected = [float(ops.convert_to_numpy(theirs(step))) for step in range(case.steps)]
    # Keras raises a float32 base to the power of the step: 3e-8 of error in 0.93 is 2e-6 in its 60th power.
    tolerance = {"rtol": 3e-6, "atol": case.float32_atol} if oracle == "keras" else {"rtol": RTOL}
    np.testing.assert_allclose(run(case.make(), case.steps), expected, **tolerance)


@pytest.mark.parametrize("case", [pytest.param(c, id=c.id) for c in catalog.SCHEDULE_CASES if "torch" in c.oracles])
def test_equals_the_stored_rates_of_torch(case):
    expected = torch_schedules.stored(case)
    assert len(expected) >= 41
    np.testing.assert_allclose(run(case.make(), len(expected)), expected, rtol=RTOL)


def test_ends_and_boundaries_are_exact():
    cosine = schedules.CosineDecay(0.25, 8, 0.5)
    np.testing.assert_array_equal(run(cosine, 11)[[0, 8, 9, 10]], [0.25, 0.125, 0.125, 0.125])
    stairs = schedules.StepDecay(0.25, 4, 0.5)
    np.testing.assert_array_equal(run(stairs, 9)[[0, 3, 4, 7, 8]], [0.25, 0.25, 0.125, 0.125, 0.0625])
    warm = schedules.Warmup(0.25, 4, 0.5)
    np.testing.assert_array_equal(run(warm, 6), [0.15625, 0.1875, 0.21875, 0.25, 0.25, 0.25])
    np.testing.assert_array_equal(run(schedules.Cyclic(0.25, 0.25, 2), 5), [0.25] * 5)  # Flat, but a cycle.


@pytest.mark.parametrize(
    "make",
    [
        lambda length: schedules.StepDecay(1.0, length, 0.5),
        lambda length: schedules.ExponentialDecay(1.0, 0.5, length, staircase=True),
    ],
    ids=["StepDecay", "ExponentialDecay"],
)
def test_stairs_fall_at_every_multiple_also_when_compiled(make):
    wrong = set()
    for length in (1, 3, 7, 41, 47, 55, 61, 1000):
        steps = np.array([step for k in range(12) for step in (k * length, k * length + length - 1)], "int32")
        values = ops.convert_to_numpy(by_compiler(make(length))(ops.convert_to_tensor(steps)))
        wrong |= {
            (length, int(t)) for t, v in zip(steps, values, strict=True) if abs(v / 0.5 ** (t // length) - 1) > 0.1
        }
    assert not wrong


def test_a_long_run_keeps_its_digits():
    schedule = schedules.ExponentialDecay(0.1, 0.999)
    steps = np.array([1000, 5000, 20000])
    # float32 holds the exponent, up to 20 here, to 1e-6: that is the relative error of the power.
    np.testing.assert_allclose(ops.convert_to_numpy(schedule(steps)), 0.1 * 0.999**steps, rtol=2e-6)


@ROWS
def test_keeps_shape_and_gives_float32(case):
    schedule = case.make()
    block = np.arange(6, dtype="int64").reshape(2, 3)
    scalars = [schedule(step) for step in (3, np.int64(3), 3.0, ops.convert_to_tensor(3))]
    for value in scalars:
        assert tuple(value.shape) == ()
        assert keras.backend.standardize_dtype(value.dtype) == "float32"
        np.testing.assert_allclose(float(ops.convert_to_numpy(value)), run(schedule, 4)[3], rtol=RTOL)
    if schedule.is_elementwise:
        np.testing.assert_allclose(ops.convert_to_numpy(schedule(block)).ravel(), run(schedule, 6), rtol=RTOL)


# Laws


@laws
@given(rates, lengths, factors)
def test_warm_up_rises_evenly_and_ends_at_the_schedule(rate, steps, factor):
    values = curve(schedules.Warmup(rate, steps, factor), steps + 3)
    rises = np.diff(values)
    assert (rises >= -3e-7 * rate).all()
    assert (rises <= rate * (1 - factor) / steps + 3e-7 * rate).all()
    np.testing.assert_allclose(values[0], rate * (factor + (1 - factor) / steps), rtol=RTOL)
    np.testing.assert_allclose(values[steps - 1 :], rate, rtol=RTOL)


@laws
@given(rates, lengths, factors, st.integers(0, 200))
def test_warm_up_is_continuous_and_then_leaves_the_schedule_alone(rate, steps, factor, beyond):
    schedule = schedules.CosineDecay(rate, steps + beyond, 0.1)
    cold = curve(schedule, steps + 50)
    warm = curve(schedules.Warmup(schedule, steps, factor), steps + 50)
    np.testing.assert_allclose(warm[steps - 1 :], cold[steps - 1 :], rtol=RTOL)
    assert (warm <= cold * (1 + RTOL)).all()
    if steps > 1:
        jump = abs(warm[steps - 1] - warm[steps - 2])
        # The ramp's last step, plus the schedule's own steepest one.
        assert jump <= rate * ((1 - factor) / steps + np.pi / 2 / schedule.decay_steps) * (1 + 1e-5) + 1e-6 * rate


@laws
@given(rates, lengths, factors)
def test_cosine_falls_between_its_bounds(rate, steps, alpha):
    values = curve(schedules.CosineDecay(rate, steps, alpha), steps + 5)
    slack = 3e-7 * rate
    assert (np.diff(values) <= slack).all()
    assert values.max() <= rate + slack
    assert values.min() >= rate * alpha - slack
    np.testing.assert_allclose(values[0], rate, rtol=RTOL)
    np.testing.assert_allclose(values[steps:], rate * alpha, rtol=RTOL, atol=slack)


@laws
@given(rates, lengths, st.floats(0.05, 1.0))
def test_stairs_meet_the_exponential_at_their_edges(rate, steps, gamma):
    length = 3 * steps + 1
    stairs = curve(schedules.StepDecay(rate, steps, gamma), length)
    smooth = curve(schedules.ExponentialDecay(rate, gamma, steps), length)
    rounded = curve(schedules.ExponentialDecay(rate, gamma, steps, staircase=True), length)
    np.testing.assert_allclose(rounded, stairs, rtol=2e-6)
    np.testing.assert_allclose(smooth[::steps], stairs[::steps], rtol=2e-6)
    assert (smooth <= stairs * (1 + 2e-6)).all()
    assert ((stairs > 0) & (stairs <= rate * (1 + RTOL))).all()
    assert set(np.flatnonzero(np.diff(stairs) < -1e-5 * stairs[:-1]) + 1) <= {steps, 2 * steps, 3 * steps}


@laws
@given(rates, betas, betas)
def test_adams_step_size_starts_at_the_first_correction_and_tends_to_the_rate(rate, beta_1, beta_2):
    schedule = schedules.AdamStepSize(rate, beta_1, beta_2)
    first, late = ops.convert_to_numpy(schedule(np.array([0, 10**6])))
    np.testing.assert_allclose(first, rate * np.sqrt(1 - beta_2) / (1 - beta_1), rtol=RTOL)
    np.testing.assert_allclose(late, rate, rtol=RTOL)


bare = st.one_of(
    st.builds(schedules.Constant, rates),
    st.builds(schedules.StepDecay, rates, lengths, st.floats(0.05, 1.5)),
    st.builds(schedules.ExponentialDecay, rates, st.floats(0.05, 1.5), lengths, staircase=st.booleans()),
    st.builds(schedules.CosineDecay, rates, st.integers(200, 400), factors),
    st.builds(schedules.AdamStepSize, rates, betas, betas),
    st.builds(keras.optimizers.schedules.InverseTimeDecay, rates, lengths, factors),
)
every = st.recursive(bare, lambda inner: st.builds(schedules.Warmup, inner | rates, lengths, factors), max_leaves=3)


@laws
@given(every)
def test_comes_back_from_json(schedule):
    sent = keras.saving.serialize_keras_object(schedule)
    loaded = keras.saving.deserialize_keras_object(json.loads(json.dumps(sent)))
    assert type(loaded) is type(schedule)
    assert keras.saving.serialize_keras_object(loaded) == sent
    np.testing.assert_array_equal(run(loaded, 5), run(schedule, 5))


# Use


@ROWS
def test_works_in_kopts_and_in_keras_optimizers(case):
    schedule = case.make()
    assert isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule)
    gradients = np.array([0.5, -1.0, 2.0, 0.25])

    def rate(step):
        return case.reference(np.array([step], "float64"))[0]

    pairs = [
        (optimizers.SGD(schedule), reference.SGD(rate)),
        (keras.optimizers.SGD(schedule), reference.SGD(rate)),
        (optimizers.Adam(schedule, 0.8, 0.9, 1e-12), reference.Adam(rate, 0.8, 0.9, 1e-12)),
        (keras.optimizers.Adam(schedule, 0.8, 0.9, 1e-12), reference.Adam(rate, 0.8, 0.9, 1e-12)),
    ]
    for optimizer, expected in pairs:
        variable, x = keras.Variable(1.0), 1.0
        for step, g in enumerate(gradients):
            np.testing.assert_allclose(float(ops.convert_to_numpy(optimizer.learning_rate)), rate(step), rtol=RTOL)
            optimizer.apply([ops.convert_to_tensor(g, "float32")], [variable])
            x = expected.step(x, g)
        np.testing.assert_allclose(float(ops.convert_to_numpy(variable.value)), x, rtol=1e-5)
        again = type(optimizer).from_config(json.loads(json.dumps(optimizer.get_config())))
        assert type(again._learning_rate) is type(schedule)


@pytest.mark.parametrize("family", [optimizers, keras.optimizers], ids=["kopt", "keras"])
def test_trains_a_compiled_model(family):
    schedule = schedules.Warmup(schedules.CosineDecay(0.1, 6), 3)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
    model.compile(family.SGD(schedule), loss="mse")
    model.fit(np.ones((8, 1)), np.ones((8, 1)), batch_size=2, epochs=1, shuffle=False, verbose=0)
    w = 0.0
    for step in range(4):
        w -= 2 * (w - 1) * reference.cosine(step, 0.1, 6, 0.0) * min((step + 1) / 3, 1)
    np.testing.assert_allclose(model.get_weights()[0].item(), w, rtol=1e-5)


def test_adam_without_correction_and_adams_step_size_make_adam():
    rng = np.random.default_rng(1)
    betas = {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-12}
    both = [
        optimizers.Adam(0.05, **betas),
        optimizers.Adam(schedules.AdamStepSize(0.05, 0.8, 0.95), bias_correction=False, **betas),
    ]
    variables = [keras.Variable(np.ones(4)) for _ in both]
    for _ in range(20):
        g = ops.convert_to_tensor(rng.normal(size=4), "float32")
        for optimizer, variable in zip(both, variables, strict=True):
            optimizer.apply([g], [variable])
    adam, rebuilt = (ops.convert_to_numpy(variable.value) for variable in variables)
    np.testing.assert_allclose(rebuilt, adam, rtol=1e-5)
    assert np.abs(adam - 1).max() > 0.1


# Previews and pictures


@pytest.mark.parametrize(
    "schedule",
    [
        *[case.make() for case in catalog.SCHEDULE_CASES],
        keras.optimizers.schedules.InverseTimeDecay(0.1, 7, 0.5),
        keras.optimizers.schedules.PiecewiseConstantDecay([3, 6], [0.3, 0.2, 0.1]),
        0.05,
    ],
    ids=lambda s: type(s).__name__,
)
def test_a_preview_is_the_run(schedule):
    values = schedules.preview(schedule, 20)
    assert values.dtype == "float32"
    assert values.shape == (20,)
    expected = np.full(20, schedule) if isinstance(schedule, float) else run(schedule, 20)
    np.testing.assert_allclose(values, expected, rtol=RTOL)


def test_a_preview_of_a_warmed_keras_schedule_is_the_run():
    inner = keras.optimizers.schedules.CosineDecay(0.1, 10, warmup_target=0.2, warmup_steps=4)
    schedule = schedules.Warmup(inner, 3)
    np.testing.assert_allclose(schedules.preview(schedule, 6), run(schedule, 6), rtol=RTOL)


def test_a_plot_is_a_png_with_a_line_per_schedule(tmp_path):
    several = {"warm": schedules.Warmup(0.1, 5), "cold": schedules.StepDecay(0.1, 5)}
    figure = schedules.plot(several, 12, str(tmp_path / "rates.png"))
    assert (tmp_path / "rates.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    lines = figure.axes[0].get_lines()
    assert [line.get_label() for line in lines] == ["warm", "cold"]
    for line, schedule in zip(lines, several.values(), strict=True):
        np.testing.assert_array_equal(line.get_ydata(), schedules.preview(schedule, 12))


def test_a_plot_names_what_comes_without_names(tmp_path):
    def labels(given):
        return [text.get_text() for text in schedules.plot(given, 3).axes[0].get_legend().get_texts()]

    assert labels(schedules.Warmup(0.1, 5)) == ["Warmup"]
    assert labels([schedules.Warmup(0.1, 5), schedules.Constant(0.1)]) == ["1. Warmup", "2. Constant"]
    assert not list(tmp_path.iterdir())


def test_a_plot_without_matplotlib_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install \"keras-kopt\[recipes\]\""):
        schedules.plot(schedules.Constant(0.1), 3)


@pytest.mark.parametrize("family", [schedules, keras.optimizers.schedules], ids=["kopt", "keras"])
def test_a_warm_up_longer_than_its_schedule_warns(family):
    with pytest.warns(UserWarning, match=r"Warm-up of 11 steps is longer than the schedule, which has 10") as record:
        schedules.Warmup(family.CosineDecay(0.1, 10), 11)
    assert len(record) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        schedules.Warmup(family.CosineDecay(0.1, 10), 10)
        schedules.Warmup(schedules.StepDecay(0.1, 10), 11)


def test_the_warning_points_at_the_caller():
    with pytest.warns(UserWarning, match="Warm-up") as record:
        schedules.Warmup(schedules.CosineDecay(0.1, 10), 11)
    assert record[0].filename == __file__

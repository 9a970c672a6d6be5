"""Laws of the schedules of several phases, of cycles, of slopes and of arithmetic, over random hyperparameters."""

import json

import keras
import numpy as np
import pytest
from compiling import by_compiler
from hypothesis import example, given
from hypothesis import strategies as st
from keras import ops
from test_schedules import HORIZON, RTOL, betas, curve, factors, laws, lengths, rates, run

from kopt import schedules

SLACK = 3e-7  # float32 of sums of a few terms


def steepest(values):
    return np.abs(np.diff(values)).max()


# Slopes


falling = st.one_of(
    st.builds(lambda rate, steps, share: schedules.Linear(rate, steps, share * rate), rates, lengths, factors),
    st.builds(
        lambda rate, steps, power: schedules.Polynomial(rate, steps, power=power), rates, lengths, st.floats(0.3, 4.0)
    ),
    st.builds(schedules.REX, rates, lengths, factors),
    st.builds(schedules.InverseSqrt, rates, lengths),
    st.builds(schedules.InverseTime, rates, st.floats(0.01, 10), lengths, staircase=st.booleans()),
    st.builds(schedules.WarmupStableDecay, rates, st.just(0), st.just(5), lengths, factors),
)


@laws
@given(falling)
def test_a_decay_starts_at_its_rate_and_never_rises(schedule):
    values = curve(schedule, HORIZON)
    rate = schedule.arguments.get("initial_learning_rate") or schedule.arguments.get("learning_rate")
    np.testing.assert_allclose(values[0], rate, rtol=RTOL)
    assert (np.diff(values) <= SLACK * rate).all()
    assert (values >= 0).all()


@laws
@given(rates, lengths, rates)
@example(start=1.0, steps=61, end=1.0)  # 61 times the float32 nearest to 1/61 is less than 1
def test_a_line_has_one_slope_and_ends_exactly(start, steps, end):
    values = curve(schedules.Linear(start, steps, end), HORIZON)
    np.testing.assert_allclose(values[0], start, rtol=RTOL)
    assert (values[steps:] == np.float32(end)).all()
    np.testing.assert_allclose(np.diff(values[: steps + 1]), (end - start) / steps, atol=SLACK * max(start, end))


@laws
@given(rates, lengths, st.floats(0.3, 4.0))
def test_a_cycle_of_a_polynomial_ends_at_every_multiple(rate, steps, power):
    values = curve(schedules.Polynomial(rate, steps, 0.25 * rate, power, cycle=True), HORIZON)
    ends = np.arange(steps, HORIZON, steps)
    np.testing.assert_allclose(values[ends], 0.25 * rate, rtol=RTOL)
    assert (values >= 0.25 * rate * (1 - RTOL)).all()


@laws
@given(rates, st.integers(2, 200))
def test_a_warmed_inverse_root_peaks_at_the_end_of_warm_up(rate, steps):
    values = curve(schedules.Warmup(schedules.InverseSqrt(rate, steps), steps), HORIZON)
    assert abs(int(values.argmax()) - (steps - 1)) == 0
    np.testing.assert_allclose(values[4 * steps - 1 :][:1], [rate / 2] * len(values[4 * steps - 1 :][:1]), rtol=RTOL)


# Phases


@laws
@given(rates, factors, factors, st.integers(1, 150), st.integers(1, 150), st.integers(1, 150))
def test_joined_lines_that_meet_make_no_jump(rate, low, high, first, second, third):
    parts = [
        schedules.Linear(low * rate, first, rate),
        schedules.Constant(rate),
        schedules.Linear(rate, third, high * rate),
    ]
    values = curve(schedules.Join(parts, [first, first + second]), HORIZON)
    np.testing.assert_allclose(values[first : first + second + 1], rate, rtol=RTOL)
    slope = max((1 - low) / first, (1 - high) / third) * rate
    assert steepest(values) <= slope + SLACK * rate
    np.testing.assert_allclose(values[first + second + third :], high * rate, rtol=RTOL, atol=1e-12)


@laws
@given(st.lists(st.integers(1, 100), min_size=1, max_size=4), st.data())
def test_each_joined_schedule_runs_as_it_does_alone(gaps, data):
    parts = data.draw(st.lists(bare, min_size=len(gaps) + 1, max_size=len(gaps) + 1))
    boundaries = np.cumsum(gaps).tolist()
    values = curve(schedules.Join(parts, boundaries), HORIZON)
    for part, start, end in zip(parts, [0, *boundaries], [*boundaries, HORIZON], strict=True):
        np.testing.assert_allclose(values[start:end], curve(part, HORIZON)[: end - start], rtol=RTOL, atol=1e-9)


@laws
@given(rates, st.integers(0, 100), st.integers(0, 100), st.integers(1, 150), factors, st.sampled_from(list("lcsq")))
def test_a_trapezoid_rises_stays_and_falls(rate, warmup, stable, decay, alpha, letter):
    shape = {"l": "linear", "c": "cosine", "s": "sqrt", "q": "square"}[letter]
    values = curve(schedules.WarmupStableDecay(rate, warmup, stable, decay, alpha, shape), HORIZON)
    top = max(warmup - 1, 0)
    assert (np.diff(values[: top + 1]) >= 0).all()
    np.testing.assert_allclose(values[top : warmup + stable + 1], rate, rtol=RTOL)
    assert (np.diff(values[warmup + stable :]) <= SLACK * rate).all()
    np.testing.assert_allclose(values[warmup + stable + decay :], alpha * rate, rtol=RTOL, atol=1e-12)
    # 1 - sqrt(p) is vertical at its beginning.
    slope = {"linear": 1, "cosine": np.pi / 2, "sqrt": np.sqrt(decay), "square": 2}[shape] / decay
    assert steepest(values) <= rate * max(slope, 1 / max(warmup, 1)) * (1 + 1e-5) + SLACK * rate


@laws
@given(rates, st.lists(st.integers(1, 100), min_size=1, max_size=5), st.floats(0.05, 2.0))
def test_steps_change_the_rate_at_their_boundaries_only(rate, gaps, factor):
    boundaries = np.cumsum(gaps).tolist()
    values = curve(schedules.MultiStep(rate, boundaries, factor), HORIZON)
    changes = np.flatnonzero(np.diff(values)) + 1
    assert set(changes) <= set(boundaries)
    np.testing.assert_allclose(values[-1], rate * factor ** len(boundaries), rtol=RTOL)


# Cycles


@laws
@given(rates, st.integers(8, 300), st.floats(0.1, 0.5), st.booleans(), st.sampled_from(["cosine", "linear"]))
def test_one_cycle_stays_between_its_ends_and_makes_no_jump(rate, total, share, three_phase, anneal):
    schedule = schedules.OneCycle(rate, total, share, anneal, 10.0, 100.0, three_phase=three_phase)
    values = curve(schedule, HORIZON)
    np.testing.assert_allclose(values[total - 1 :], rate / 1000, rtol=RTOL)
    assert values.max() <= rate * (1 + RTOL)
    assert values.min() >= rate / 1000 * (1 - RTOL)
    phase = min(share * total - 1, (1 - 2 * share) * total + 1) if three_phase else share * total - 1
    if phase >= 1:
        np.testing.assert_allclose(values[0], rate / 10, rtol=RTOL)
        assert steepest(values) <= rate * (np.pi / 2 if anneal == "cosine" else 1) / phase * (1 + 1e-5)


@laws
@given(rates, factors, lengths, lengths, st.sampled_from(["triangular", "triangular2", "exp_range"]))
def test_triangles_touch_the_low_rate_and_stay_below_the_high_one(rate, low, up, down, mode):
    decay = 0.99 if mode == "exp_range" else None
    values = curve(schedules.Cyclic(low * rate, rate, up, down, mode, decay), HORIZON)
    np.testing.assert_allclose(values[:: up + down], low * rate, rtol=RTOL, atol=1e-12)
    tops = values[up :: up + down]
    assert values.max() <= rate * (1 + RTOL)
    cycles, steps = np.arange(len(tops)), np.arange(HORIZON)[up :: up + down]
    size = {"triangular": 1.0, "triangular2": 0.5**cycles, "exp_range": 0.99**steps}[mode]
    np.testing.assert_allclose(tops, low * rate + (1 - low) * rate * size, rtol=3e-6)
    assert steepest(values) <= rate * (1 - low) * (1 / min(up, down) + 0.01) * (1 + 1e-5) + SLACK * rate


@laws
@given(rates, st.integers(20, 100), st.integers(1, 4), st.floats(0.3, 1.2), factors)
def test_each_restart_is_as_high_as_it_should_be_and_as_long(rate, first, growth, fade, alpha):
    values = curve(schedules.CosineRestarts(rate, first, growth, fade, alpha), HORIZON)
    start, length, height = 0, first, 1.0
    while start + length <= HORIZON:
        # float32 holds the exponent of the height, up to 38 here, to 2e-6.
        np.testing.assert_allclose(values[start], rate * ((1 - alpha) * height + alpha), rtol=3e-6)
        cycle = values[start : start + length]
        assert (np.diff(cycle) <= SLACK * rate * max(height, 1)).all()
        assert cycle.min() >= alpha * rate * (1 - RTOL)
        start, length, height = start + length, length * growth, height * fade


def test_restarts_fall_on_their_steps_also_when_compiled_and_late():
    for first, growth in ((7, 1.0), (41, 1.0), (7, 2.0), (41, 3.0), (8, 1.5), (1, 2.0)):
        starts, length = [], float(first)
        while sum(starts) >= 0 and len(starts) < 12 and (starts[-1] if starts else 0) < 10**6:
            starts.append((starts[-1] if starts else 0) + length)
            length *= growth
        whole = [int(s) for s in starts if s == int(s)]
        steps = ops.convert_to_tensor(np.array([s + d for s in whole for d in (-1, 0)], "int32"))
        values = ops.convert_to_numpy(by_compiler(schedules.CosineRestarts(1.0, first, growth))(steps))
        assert (values[1::2] > 0.999).all()
        assert (values[0::2] < 0.999).all() or first == 1
        if first > 1:
            assert (values[0::2] < 0.06).all()


@pytest.mark.parametrize(
    ("make", "top"),
    [
        (lambda n: schedules.Cyclic(0.0, 1.0, n), lambda t, n: 1 - abs(t % (2 * n) - n) / n),
        (lambda n: schedules.Polynomial(1.0, n, cycle=True), lambda t, n: 1 - t / (n * max(-(-t // n), 1))),
        (lambda n: schedules.InverseTime(1.0, 1.0, n, staircase=True), lambda t, n: 1 / (1 + t // n)),
    ],
    ids=["Cyclic", "Polynomial", "InverseTime"],
)
def test_cycles_turn_at_every_multiple_also_when_compiled(make, top):
    for length in (1, 3, 7, 41, 47, 55, 61, 1000):
        steps = np.array([step for k in range(1, 12) for step in (k * length - 1, k * length, k * length + 1)], "int32")
        values = ops.convert_to_numpy(by_compiler(make(length))(ops.convert_to_tensor(steps)))
        np.testing.assert_allclose(values, [top(int(t), length) for t in steps], rtol=RTOL, atol=1e-12)


# Fractions


@laws
@given(st.integers(1, 400), st.floats(0.001, 1.0), st.floats(0.1, 1.0))
def test_stairs_in_fractions_fall_at_the_nearest_step(run_steps, share, factor):
    schedule = schedules.StepDecay(1.0, share, factor, by="fraction")
    schedules.resolve(schedule, epochs=1, steps_per_epoch=run_steps)
    period = max(1.0, share * run_steps)
    rates = curve(schedule, HORIZON)
    falls = np.flatnonzero(np.diff(rates[rates > 1e-30]) < 0) + 1  # float32 has no room for further ones
    if factor < 0.9:
        multiples = np.arange(1, len(falls) + 1) * period
        assert (np.abs(falls - multiples) <= 0.5 + 1e-3).all()


@laws
@given(st.integers(1, 400), st.lists(st.floats(0.001, 1.0), min_size=1, max_size=4, unique=True))
def test_boundaries_in_fractions_are_the_nearest_steps(run_steps, shares):
    schedule = schedules.MultiStep(1.0, sorted(shares), 0.5, by="fraction")
    schedules.resolve(schedule, epochs=1, steps_per_epoch=run_steps)
    expected = [max(1, round(share * run_steps)) for share in sorted(shares)]
    found = -np.log2(curve(schedule, HORIZON))
    np.testing.assert_allclose(found, [sum(b <= t for b in expected) for t in range(HORIZON)], atol=1e-6)


# Arithmetic


bare = st.one_of(
    st.builds(schedules.Constant, rates),
    st.builds(schedules.StepDecay, rates, lengths, st.floats(0.05, 1.5)),
    st.builds(schedules.Linear, rates, lengths, rates),
    st.builds(schedules.Polynomial, rates, lengths, rates, st.floats(0.5, 3.0), cycle=st.booleans()),
    st.builds(schedules.InverseSqrt, rates, lengths),
    st.builds(schedules.REX, rates, lengths, factors),
    st.builds(schedules.AdamStepSize, rates, betas, betas),
    st.builds(schedules.WarmupStableDecay, rates, lengths, lengths, lengths, factors, st.just("sqrt")),
    st.builds(schedules.OneCycle, rates, lengths, factors.filter(lambda f: f < 1), st.just("linear")),
    st.builds(lambda a, up: schedules.Cyclic(a, 2 * a, up, mode="triangular2"), rates, lengths),
    st.builds(schedules.CosineRestarts, rates, lengths, st.floats(1.0, 3.0), st.floats(0.3, 1.0), factors),
    st.builds(lambda a, f: schedules.MultiStep(a, [5, 9], f), rates, st.floats(0.1, 2.0)),
)
others = bare | st.builds(keras.optimizers.schedules.InverseTimeDecay, rates, lengths, factors)


def resolved(schedule):
    schedules.resolve(schedule, epochs=1, steps_per_epoch=50)
    return schedule


nested = st.recursive(
    others | st.builds(lambda a, f: resolved(schedules.CosineDecay(a, f, by="fraction")), rates, st.floats(0.01, 1.0)),
    lambda inner: st.one_of(
        st.builds(schedules.Warmup, inner | rates, lengths, factors),
        st.builds(lambda a, b, c: schedules.Join([a, b, c], [3, 8]), inner, inner | rates, inner),
        st.builds(lambda k, s: k * (s + schedules.Constant(0.1)), rates, inner),
        st.builds(lambda s, k: (schedules.Constant(0.1) + s) / k, inner, rates),
        st.builds(schedules.minimum, inner, inner | rates),
        st.builds(schedules.maximum, inner | rates, inner),
    ),
    max_leaves=5,
)


@laws
@given(nested)
def test_nested_schedules_come_back_from_json(schedule):
    sent = keras.saving.serialize_keras_object(schedule)
    loaded = keras.saving.deserialize_keras_object(json.loads(json.dumps(sent)))
    assert type(loaded) is type(schedule)
    assert keras.saving.serialize_keras_object(loaded) == sent
    np.testing.assert_array_equal(run(loaded, 12), run(schedule, 12))


@laws
@given(bare, bare, st.floats(0.01, 100.0))
def test_arithmetic_on_schedules_is_arithmetic_on_rates(first, second, number):
    a, b = run(first, 6), run(second, 6)
    for made, expected in [
        (number * first, number * a),
        (first * number, number * a),
        (first / number, a / number),
        (first + second, a + b),
        (first - second, a - b),
        (first * second, a * b),
        (first + number, a + number),
        (number + first, a + number),
        (number - first, number - a),
        (np.float32(number) * first, np.float32(number) * a),
        (np.float64(number) - first, number - a),
        (schedules.minimum(first, second), np.minimum(a, b)),
        (schedules.maximum(number, first), np.maximum(number, a)),
        (sum([first, second]), a + b),
    ]:
        assert isinstance(made, schedules.Combination)
        np.testing.assert_allclose(run(made, 6), expected, rtol=RTOL, atol=SLACK * max(abs(expected).max(), number))


def test_keras_schedules_are_operands_on_both_sides():
    ours, theirs = schedules.Linear(0.4, 10), keras.optimizers.schedules.ExponentialDecay(0.2, 2, 0.5)
    a, b = run(ours, 5), run(theirs, 5)
    for made, expected in [
        (ours + theirs, a + b),
        (theirs + ours, a + b),
        (theirs * ours, a * b),
        (theirs - ours, b - a),
    ]:
        np.testing.assert_allclose(run(made, 5), expected, rtol=RTOL)
        assert not made.is_elementwise
    assert (ours + ours).is_elementwise


def test_a_difference_may_be_negative_until_it_is_bounded():
    fall = schedules.Linear(0.2, 10) - 0.1
    assert run(fall, 11)[10] == pytest.approx(-0.1)
    np.testing.assert_allclose(run(schedules.maximum(fall, 0.0), 11)[[4, 5, 6, 10]], [0.02, 0, 0, 0], atol=1e-7)


def test_a_phase_of_no_length_says_nothing():
    schedule = schedules.OneCycle(0.3, 10, 0.1, "linear", 10.0, 100.0)
    expected = [0.3 + (0.03 / 100 - 0.3) * t / 9 for t in range(10)]
    np.testing.assert_allclose(curve(schedule, 10), expected, rtol=1e-5)


def test_cosine_restarts_reach_the_last_step_that_float32_counts():
    schedule, last = schedules.CosineRestarts(0.2, 10, 2.0, 0.9, 0.1), 2**24 - 1
    cycle = int(np.floor(np.log2(last / 10 + 1)))
    share = (last - 10 * (2**cycle - 1)) / (10 * 2**cycle)
    expected = 0.2 * (0.9 * 0.9**cycle * (1 + np.cos(np.pi * share)) / 2 + 0.1)
    np.testing.assert_allclose(ops.convert_to_numpy(schedule(np.array([last]))), [expected], rtol=1e-5)


def test_a_decay_shorter_than_a_step_takes_one():
    schedule = schedules.WarmupStableDecay(0.2, 0.0, 0.999, 0.001, 0.25, by="fraction")
    schedules.resolve(schedule, epochs=1, steps_per_epoch=100)
    found = ops.convert_to_numpy(schedule(np.arange(98, 103)))
    np.testing.assert_allclose(found, [0.2, 0.2, 0.2, 0.05, 0.05], rtol=1e-6)

"""Lengths as fractions of the run: how schedules learn its length, and what happens when nobody tells them."""

import json
import warnings

import catalog
import keras
import numpy as np
import pytest
import references.first as reference
import test_schedules
from keras import ops

import kopt.callbacks
from kopt import optimizers, schedules


def cosine(rate=0.1):
    return schedules.CosineDecay(rate, 1.0, by="fraction")


def warm(rate=0.1):
    return schedules.Warmup(cosine(rate), 0.25, by="fraction")


def model_with(optimizer, **compiled):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
    model.compile(optimizer, loss="mse", **compiled)
    return model


def fit(model, callbacks, **options):
    ones = np.ones((8, 1), "float32")
    return model.fit(ones, ones, **({"batch_size": 2, "shuffle": False, "verbose": 0} | options), callbacks=callbacks)


@pytest.fixture
def callback(tmp_path):
    return kopt.callbacks.TensorBoard(str(tmp_path), gradients=0)


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=case.id) for case in catalog.SCHEDULE_CASES if case.run_steps is not None]
)
def test_fractions_wait_for_the_run(case):
    schedule = case.schedule_class(**case.kwargs)
    if case.schedule_class is schedules.Combination:
        return
    with pytest.raises(ValueError, match='`by="fraction"` and does not know yet') as caught:
        schedule(0)
    assert str(caught.value).startswith(case.schedule_class.__name__)
    for way in ("kopt.callbacks.TensorBoard", "kopt.schedules.resolve(optimizer, epochs=..., steps_per_epoch=...)"):
        assert way in str(caught.value)


def test_every_schedule_with_a_length_takes_fractions():
    without = {schedules.Constant, schedules.AdamStepSize, schedules.Combination}
    in_fractions = {case.schedule_class for case in catalog.SCHEDULE_CASES if case.kwargs.get("by") == "fraction"}
    assert in_fractions == {case.schedule_class for case in catalog.SCHEDULE_CASES} - without


def test_fractions_equal_the_steps_that_they_make():
    pairs = [
        (schedules.Linear(0.1, 0.5, by="fraction"), schedules.Linear(0.1, 20)),
        (schedules.InverseSqrt(0.1, 0.125, by="fraction"), schedules.InverseSqrt(0.1, 5)),
        (
            schedules.OneCycle(0.1, 0.75, three_phase=True, by="fraction"),
            schedules.OneCycle(0.1, 30, three_phase=True),
        ),
        (schedules.Cyclic(0.1, 0.2, 0.1, by="fraction"), schedules.Cyclic(0.1, 0.2, 4)),
        (
            schedules.WarmupStableDecay(0.1, 0.0, 0.0, 1.0, by="fraction"),
            schedules.WarmupStableDecay(0.1, 0, 0, 40),
        ),
        (schedules.MultiStep(0.1, [0.001, 0.26], by="fraction"), schedules.MultiStep(0.1, [1, 10])),
    ]
    for fractional, counted in pairs:
        schedules.resolve(fractional, epochs=4, steps_per_epoch=10)
        np.testing.assert_array_equal(schedules.preview(fractional, 45), schedules.preview(counted, 45))


def test_a_fraction_is_at_least_a_step():
    for make in (schedules.CosineDecay, schedules.StepDecay, schedules.Linear):
        schedule = make(0.1, 0.01, by="fraction")
        schedules.resolve(schedule, epochs=1, steps_per_epoch=3)
        np.testing.assert_array_equal(test_schedules.run(schedule, 3), test_schedules.run(make(0.1, 1), 3))


# Who tells them


@pytest.mark.parametrize("family", [optimizers, keras.optimizers], ids=["kopt", "keras"])
@pytest.mark.parametrize("accumulation", [None, 2])
def test_a_callback_tells_the_run(family, accumulation, callback):
    model = model_with(family.SGD(warm(), gradient_accumulation_steps=accumulation))
    fit(model, [callback], epochs=3)
    counts_batches = family is keras.optimizers or accumulation is None
    steps, w = 12 if counts_batches else 6, 0.0
    schedule = model.optimizer._learning_rate
    assert (schedule.run_steps, schedule.schedule.run_steps) == (steps, steps)
    for batch in range(12):
        # All batches are alike: the mean of two gradients at the same weight is each of them.
        if accumulation is None or batch % 2:
            step = batch if counts_batches else batch // 2
            w -= 2 * (w - 1) * reference.cosine(step, 0.1, steps, 0.0) * min((step + 1) / (steps / 4), 1)
    np.testing.assert_allclose(model.get_weights()[0].item(), w, rtol=1e-5)


def finder(directory):
    x, y = np.ones((4, 1), "float32"), np.ones((4, 1), "float32")
    return kopt.callbacks.LearningRateFinder(x, y, apply=False, batch_size=4, steps=30, highest=1.0)


CALLBACKS = {
    "AveragedWeights": lambda directory: kopt.callbacks.AveragedWeights(),
    "Diagnose": lambda directory: kopt.callbacks.Diagnose(),
    "EarlyStopping": lambda directory: kopt.callbacks.EarlyStopping("loss", patience=9),
    "LearningRateFinder": finder,
    "Monitor": lambda directory: kopt.callbacks.Monitor([kopt.callbacks.CSV(f"{directory}/run.csv")], gradients=0),
    "Report": lambda directory: kopt.callbacks.Report(),
    "TensorBoard": lambda directory: kopt.callbacks.TensorBoard(directory, gradients=0),
}


def test_every_callback_is_asked_whether_it_tells_the_run():
    public = {name: getattr(kopt.callbacks, name) for name in kopt.callbacks.__all__}
    kinds = {name for name, value in public.items() if isinstance(value, type)}
    assert set(CALLBACKS) == {name for name in kinds if issubclass(public[name], keras.callbacks.Callback)}


@pytest.mark.parametrize("name", CALLBACKS)
def test_every_callback_tells_the_run(name, tmp_path):
    model = model_with(optimizers.ScheduleFreeSGD(cosine()))
    fit(model, [CALLBACKS[name](str(tmp_path))], epochs=2)
    assert model.optimizer._learning_rate.run_steps == 8


@pytest.mark.parametrize("family", [optimizers, keras.optimizers], ids=["kopt", "keras"])
def test_without_a_callback_training_says_what_to_do(family):
    with pytest.raises(ValueError, match=r"Either train with one of kopt's callbacks.*kopt.schedules.resolve\("):
        fit(model_with(family.SGD(warm())), [])


@pytest.mark.parametrize("family", [optimizers, keras.optimizers], ids=["kopt", "keras"])
def test_resolve_tells_the_run(family):
    optimizer = family.SGD(warm())
    schedules.resolve(optimizer, epochs=3, steps_per_epoch=4)
    told = model_with(optimizer)
    fit(told, [], epochs=3)
    counted = model_with(family.SGD(schedules.Warmup(schedules.CosineDecay(0.1, 12), 3)))
    fit(counted, [], epochs=3)
    np.testing.assert_array_equal(told.get_weights()[0], counted.get_weights()[0])


def nested():
    return [
        schedules.Join([warm(), cosine()], [0.5], by="fraction"),
        schedules.Join([0.1, cosine()], [3]),
        schedules.Warmup(0.5 * cosine(), 2),
        schedules.minimum(cosine(), keras.optimizers.schedules.ExponentialDecay(0.1, 3, 0.5)) + cosine() / 2,
    ]


@pytest.mark.parametrize("schedule", nested(), ids=["Join", "number", "Warmup", "arithmetic"])
@pytest.mark.parametrize("wrapped", [False, True], ids=["bare", "scaled"])
def test_schedules_are_found_inside_schedules_and_optimizers(schedule, wrapped):
    again = schedule.from_config(schedule.get_config())
    optimizer = optimizers.Adam(again, gradient_accumulation_steps=2)
    schedules.resolve(
        keras.optimizers.LossScaleOptimizer(optimizer) if wrapped else optimizer, epochs=5, steps_per_epoch=7
    )

    def members(part):
        yield part
        for inner in getattr(part, "parts", ()):
            yield from members(inner)

    lengths = {part.run_steps for part in members(again) if getattr(part, "by", "step") == "fraction"}
    assert lengths == {17}
    assert {
        part.run_steps for part in members(again) if getattr(part, "by", "step") == "step" and hasattr(part, "by")
    } <= {None}
    again(0)


def test_schedules_are_found_inside_a_multi_optimizer():
    if not hasattr(keras.optimizers, "MultiOptimizer"):
        pytest.skip("Keras 3.15 has it.")
    first, second = cosine(), cosine()
    chosen = keras.optimizers.OptimizerMap(keras.optimizers.SGD(second), {"a/.*": optimizers.SGD(first)})
    both = keras.optimizers.MultiOptimizer(chosen)
    schedules.resolve(both, epochs=2, steps_per_epoch=5)
    assert (first.run_steps, second.run_steps) == (10, 10)


def test_other_rates_are_left_alone(callback):
    for rate in (0.1, schedules.CosineDecay(0.1, 5), keras.optimizers.schedules.CosineDecay(0.1, 5)):
        optimizer = optimizers.SGD(rate)
        before = optimizer.get_config()
        schedules.resolve(optimizer, epochs=3, steps_per_epoch=4)
        fit(model_with(optimizer), [callback], epochs=1)
        assert {**optimizer.get_config(), "assignment": None} == {**before, "assignment": None}


# Once told, it stays


def test_the_run_is_saved_and_goes_on(tmp_path, callback):
    model = model_with(optimizers.SGD(warm()))
    fit(model, [callback], epochs=4)
    whole = model.get_weights()[0]
    model = model_with(optimizers.SGD(warm()))
    schedules.resolve(model.optimizer, epochs=4, steps_per_epoch=4)
    fit(model, [callback], epochs=4, initial_epoch=2)
    model.save(tmp_path / "half.keras")
    loaded = keras.models.load_model(tmp_path / "half.keras")
    assert loaded.optimizer._learning_rate.run_steps == 16
    fit(loaded, [callback], epochs=4, initial_epoch=2)
    np.testing.assert_array_equal(loaded.get_weights()[0], whole)


def test_the_run_is_in_the_config_and_only_once_it_is_known():
    schedule = warm()
    assert "run_steps" not in json.dumps(keras.saving.serialize_keras_object(schedule))
    schedules.resolve(schedule, epochs=3, steps_per_epoch=4)
    sent = keras.saving.serialize_keras_object(schedule)
    assert json.dumps(sent).count('"run_steps": 12') == 2
    loaded = keras.saving.deserialize_keras_object(json.loads(json.dumps(sent)))
    np.testing.assert_array_equal(schedules.preview(loaded, 15), schedules.preview(schedule, 15))


def test_another_run_is_refused_before_anything_changes():
    known, waiting = cosine(), cosine()
    schedules.resolve(known, epochs=3, steps_per_epoch=4)
    schedules.resolve(known, epochs=4, steps_per_epoch=3)
    with pytest.raises(
        ValueError, match=r"for a run of 12 steps.*cannot become 13\. For another run, compile the model"
    ):
        schedules.resolve(schedules.Join([waiting, known], [2]), epochs=1, steps_per_epoch=13)
    assert (waiting.run_steps, known.run_steps) == (None, 12)


def test_a_second_fit_of_another_length_goes_on_with_the_first_and_warns(callback):
    model = model_with(optimizers.SGD(cosine()))
    fit(model, [callback], epochs=2)
    with pytest.warns(UserWarning, match=r"not told about this `fit`\. CosineDecay was made for a run of 8 steps"):
        fit(model, [callback], epochs=3, initial_epoch=2)
    assert model.optimizer._learning_rate.run_steps == 8
    fit(model, [callback], epochs=2)


def batches(number):
    for _ in range(number):
        yield np.ones((2, 1), "float32"), np.ones((2, 1), "float32")


def test_data_without_a_length_needs_steps_per_epoch(callback):
    model = model_with(optimizers.SGD(cosine()))
    with pytest.raises(ValueError, match=r"`steps_per_epoch` must be an integer >= 1.*here and in `fit`"):
        model.fit(batches(6), epochs=1, verbose=0, callbacks=[callback])
    model.fit(batches(6), epochs=2, steps_per_epoch=3, verbose=0, callbacks=[callback])
    assert model.optimizer._learning_rate.run_steps == 6
    # Now that the run is known, a fit of unknown length has nothing to tell.
    model.fit(batches(3), epochs=1, verbose=0, callbacks=[callback])


def test_a_preview_shows_a_run_of_its_length_and_tells_nobody():
    schedule = warm()
    expected = schedules.preview(schedules.Warmup(schedules.CosineDecay(0.1, 20), 5), 20)
    np.testing.assert_allclose(schedules.preview(schedule, 20), expected, rtol=1e-6)
    assert schedules.plot(schedule, 20).axes[0].get_lines()[0].get_ydata()[19] == pytest.approx(expected[19])
    assert schedule.run_steps is None
    schedules.resolve(schedule, epochs=1, steps_per_epoch=40)
    np.testing.assert_allclose(schedules.preview(schedule, 20)[19], reference.cosine(19, 0.1, 40, 0.0), rtol=1e-6)


def test_a_warm_up_in_fractions_warns_in_fractions():
    with pytest.warns(UserWarning, match=r"Warm-up of 0\.6 of the run is longer than the schedule, which has 0\.5"):
        schedules.Warmup(schedules.CosineDecay(0.1, 0.5, by="fraction"), 0.6, by="fraction")
    schedules.Warmup(schedules.CosineDecay(0.1, 0.5, by="fraction"), 10)


def test_describes_the_first_rate_once_the_run_is_known():
    optimizer = optimizers.SGD(cosine(0.25))
    schedules.resolve(optimizer, epochs=1, steps_per_epoch=9)
    assert float(ops.convert_to_numpy(optimizer.learning_rate)) == 0.25


def test_who_waits_for_the_length_of_the_run():
    fraction, steps = schedules.CosineDecay(0.1, 0.5, by="fraction"), schedules.CosineDecay(0.1, 5)
    of_keras = keras.optimizers.schedules.CosineDecay(0.1, 5)
    waiting = [fraction, schedules.Join([fraction, steps], [5]), steps + fraction]
    ready = [steps, schedules.Join([steps, of_keras], [5]), schedules.Warmup(of_keras, 3)]
    assert [schedule.waits_for_length for schedule in [*waiting, *ready]] == [True] * 3 + [False] * 3
    schedules.resolve(fraction, epochs=2, steps_per_epoch=10)
    assert [schedule.waits_for_length for schedule in waiting] == [False] * 3


def test_a_run_of_one_step_has_one():
    schedule = cosine()
    schedules.resolve(schedule, epochs=1, steps_per_epoch=1)
    assert schedule.run_steps == 1


@pytest.mark.parametrize("run", [4, 5])
def test_warm_up_as_long_as_the_run_is_no_surprise(run):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        schedules.Warmup(schedules.CosineDecay(0.1, run), run)
        schedules.Warmup(schedules.StepDecay(0.1, run - 1), run)
        schedules.Warmup(0.1, 5).warn_if_longer_than(run)
    assert [(w.filename, str(w.message)[:50]) for w in caught] == (
        [(__file__, "Warm-up of 5 steps is longer than the run, which h")] if run == 4 else []
    )

"""Does the monitor keep out of the way? The user's function, exceptions, bad arguments, other monitors, tags."""

import gc
import json
import os
from pathlib import Path

import custom_training
import event_files
import keras
import monitored
import numpy as np
import pytest
import trainings

from kopt import callbacks, optimizers, schedules
from kopt._backend import watch as instrument

GOLDEN = Path(__file__).parent / "golden" / "tensorboard_tags.json"


def compiled(optimizer=None, model=None, **options):
    """Returns a compiled model; eager on TensorFlow, which is quicker there, where nothing depends on it."""
    model = model or monitored.mlp()
    options = {"run_eagerly": monitored.BACKEND == "tensorflow"} | options
    model.compile(optimizer or monitored.adam(), "mse", **options)
    return model


def fit(model, *beside, epochs=1):
    x, y = monitored.regression()
    return model.fit(x, y, batch_size=monitored.BATCH, epochs=epochs, shuffle=False, verbose=0, callbacks=list(beside))


def steps(log_dir, tag="gradients/global_norm"):
    return event_files.steps(event_files.scalars(log_dir / "train").get(tag, []))


class Watcher(keras.callbacks.Callback):
    """Notes at each batch, behind the monitor, whether the model is about to run the function that Keras made."""

    def on_train_begin(self, logs=None):
        self.plain, self.before, self.after = self._model.train_function, [], []

    def on_train_batch_begin(self, batch, logs=None):
        self.before.append(self._model.train_function is self.plain)

    def on_train_batch_end(self, batch, logs=None):
        self.after.append(self._model.train_function is self.plain)


class Failing(keras.callbacks.Callback):
    """Raises once, at one batch, before or after it."""

    def __init__(self, batch, where):
        super().__init__()
        self.batch, self.where = batch, where

    def fail(self, batch, where):
        if (batch, where) == (self.batch, self.where):
            self.batch = None
            raise RuntimeError("The user's own trouble.")

    def on_train_batch_begin(self, batch, logs=None):
        self.fail(batch, "begin")

    def on_train_batch_end(self, batch, logs=None):
        self.fail(batch, "end")


def test_steps_that_are_not_logged_run_the_users_own_function(tmp_path):
    watcher = Watcher()
    fit(compiled(run_eagerly=False), callbacks.TensorBoard(tmp_path, gradients=3), watcher, epochs=2)
    assert watcher.before == [False, True, False, True, True, False, True, True]
    assert all(watcher.after)


def test_an_interval_of_zero_adds_nothing(tmp_path):
    watcher, model, other = Watcher(), compiled(), compiled()
    fit(model, callbacks.TensorBoard(tmp_path, gradients=0), watcher)
    assert all(watcher.before)
    assert all(tag.startswith("epoch") for tag in event_files.scalars(tmp_path / "train"))
    fit(other)
    assert vars(model).keys() == vars(other).keys()


def test_the_second_function_is_built_when_a_step_needs_it(tmp_path, monkeypatch):
    model, made = compiled(run_eagerly=False), []
    fit(model)
    make = model.make_train_function
    monkeypatch.setitem(vars(model), "make_train_function", lambda force=False: made.append(force) or make(force))
    monitor = callbacks.TensorBoard(tmp_path, gradients=10)
    fit(model, monitor)
    assert made == [False], "Steps 5 to 8: none is due."
    fit(model, monitor)
    assert made == [False, False, True]
    fit(model, monitor, epochs=3)
    assert made == [False, False, True, False], "One function serves all later steps."
    assert steps(tmp_path) == [10, 20]


@pytest.mark.parametrize(
    ("batch", "where"),
    [
        pytest.param(1, "begin", marks=pytest.mark.slow),
        pytest.param(1, "end", marks=pytest.mark.slow),
        (2, "begin"),
        (2, "end"),
    ],
)
def test_a_fit_that_ends_by_an_exception_leaves_the_user_his_function(tmp_path, batch, where):
    model, watcher = compiled(), Watcher()
    monitor = callbacks.TensorBoard(tmp_path, gradients=3, update_freq="batch")
    trouble = Failing(batch, where)
    with pytest.raises(RuntimeError, match="own trouble"):
        fit(model, watcher, monitor, trouble)
    plain = watcher.plain
    if (batch, where) != (2, "begin"):
        assert model.train_function is plain
    fit(model, watcher, monitor, trouble, epochs=2)
    assert watcher.plain is plain or (batch, where) == (2, "begin")
    assert model.train_function is plain
    assert set(steps(tmp_path)) >= {1, 6, 9}


def test_an_exception_inside_a_logged_step(tmp_path):
    model, watcher = compiled(run_eagerly=True), Watcher()
    step, calls = model.train_step, []

    def train_step(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("The user's own trouble.")
        return step(*arguments)

    model.train_step = train_step
    monitor = callbacks.TensorBoard(tmp_path, gradients=3)
    with pytest.raises(RuntimeError, match="own trouble"):
        fit(model, monitor, watcher)
    assert model.train_function is watcher.plain
    assert model.train_step is train_step
    assert not {"apply", "stateless_apply"} & vars(model.optimizer).keys()
    fit(model, monitor, watcher)
    assert steps(tmp_path) == [1, 3, 6]


def test_a_dead_callback_takes_no_other_callbacks_writer_with_it(tmp_path):
    model = compiled()
    dead = callbacks.TensorBoard(tmp_path / "dead", update_freq="batch", gradients=0)
    with pytest.raises(RuntimeError, match="own trouble"):
        fit(model, dead, Failing(1, "end"))
    del dead

    class Collecting(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if batch == 1:
                gc.collect()

    fit(model, callbacks.TensorBoard(tmp_path / "living", update_freq="batch", gradients=0), Collecting())
    assert len(steps(tmp_path / "living", "batch_loss")) == monitored.BATCHES


def test_two_monitors_in_one_fit_look_at_the_same_steps_and_each_logs_its_own(tmp_path):
    alone = callbacks.TensorBoard(tmp_path / "alone", gradients=2, include="second")
    first = callbacks.TensorBoard(tmp_path / "first", gradients=3, monitor="business")
    second = callbacks.TensorBoard(tmp_path / "second", gradients=2, include="second")
    keras.utils.set_random_seed(3)
    fit(compiled(), alone, epochs=2)
    keras.utils.set_random_seed(3)
    fit(compiled(), first, second, epochs=2)
    assert steps(tmp_path / "first") == [1, 3, 6]
    assert steps(tmp_path / "second") == [1, 2, 4, 6, 8]
    assert steps(tmp_path / "second", "epoch_loss") == [0, 1]
    wanted, found = (event_files.scalars(tmp_path / name / "train") for name in ("alone", "second"))
    np.testing.assert_equal(found, wanted)  # NaN counts as equal.
    both = event_files.scalars(tmp_path / "first" / "train")
    assert {"activations_mean/first", "gradients_norm/first/kernel", "gradients_norm/second/kernel"} <= both.keys()


@pytest.mark.skipif(monitored.BACKEND != "tensorflow", reason="Only TensorFlow goes on with a stale trace.")
def test_a_train_function_that_ignores_trainable_is_not_corrected(tmp_path):
    model, twin = compiled(run_eagerly=False), compiled(run_eagerly=False)
    twin.set_weights(model.get_weights())
    for each in (model, twin):
        fit(each)
        each.get_layer("first").trainable = False
    fit(twin)
    with pytest.warns(UserWarning, match="`trainable` has changed"):
        fit(model, callbacks.TensorBoard(tmp_path, gradients=1))
    for one, other in zip(model.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_group_rates_and_loss_scale(tmp_path):
    groups = [optimizers.Group("first/", 0.1, name="slow"), optimizers.Group("second/bias", 4.0)]
    inner = optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(0.08, 1, 0.5), groups=groups)
    optimizer = keras.optimizers.LossScaleOptimizer(inner, initial_scale=64.0, dynamic_growth_steps=2)
    fit(compiled(optimizer), callbacks.TensorBoard(tmp_path, gradients=1))
    found = event_files.scalars(tmp_path / "train")
    values = {tag: [value for _, value in points] for tag, points in found.items()}
    rates = [0.08, 0.04, 0.02, 0.01]
    assert values["learning_rate"] == pytest.approx(rates)
    assert values["learning_rate/slow"] == pytest.approx([0.1 * rate for rate in rates])
    assert values["learning_rate/second/bias"] == pytest.approx([4 * rate for rate in rates])
    assert values["loss_scale"] == [64.0, 64.0, 128.0, 128.0]


@pytest.mark.slow
def test_tags_of_two_runs_line_up(tmp_path):
    def tags(run, model):
        fit(compiled(model=model), callbacks.TensorBoard(tmp_path / run, gradients=2, gradient_histograms=True))
        train = tmp_path / run / "train"
        return event_files.scalars(train).keys() | event_files.histograms(train).keys()

    def unnamed():
        return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(1)])

    first, second = monitored.mlp(), monitored.mlp()
    assert first.name != second.name
    assert tags("first", first) == tags("second", second)
    runs = []
    for run in ("third", "fourth"):
        keras.utils.clear_session(free_memory=False)
        runs.append(tags(run, unnamed()))
    assert runs[0] == runs[1] >= {"gradients/dense_1/kernel", "gradients_norm/dense/bias"}
    assert not any("sequential" in tag for tag in tags("fifth", monitored.mlp()))


def test_paths_leave_out_the_models_name_and_are_unique():
    layer = keras.layers.Dense(1, name="same")
    layer.build((1, 2))
    model = keras.Sequential([keras.Input((4,)), *monitored.layers()], name="mine")
    own = ["first/kernel", "first/bias", "second/kernel", "second/bias"]
    assert instrument.unique_paths(model, model.trainable_variables) == own
    model = keras.Sequential([keras.Input((4,)), *monitored.layers()], name="yours")
    assert instrument.unique_paths(model, model.trainable_variables) == own
    assert instrument.unique_paths(model, [*layer.variables, layer.kernel]) == [
        "same/kernel",
        "same/bias",
        "same/kernel_2",
    ]


def logged_for_the_golden_file(log_dir):
    """Returns tag -> steps of everything that the monitor writes in a training that has all kinds of tags."""
    inner = trainings.grouped()
    model = compiled(keras.optimizers.LossScaleOptimizer(inner, initial_scale=64.0), metrics=["mae"])
    x, y = monitored.regression()
    monitor = callbacks.TensorBoard(log_dir, 1, write_steps_per_second=True, update_freq=2, gradients=3,
                                    gradient_histograms=True, write_images=True)  # fmt: skip
    model.fit(x, y, batch_size=4, epochs=2, validation_data=(x, y), verbose=0, callbacks=[monitor])
    found = {}
    for name in ("train", "validation"):
        directory = log_dir / name
        points = event_files.scalars(directory) | event_files.histograms(directory) | event_files.images(directory)
        points |= event_files.texts(directory)
        found[name] = {tag: event_files.steps(points[tag]) for tag in sorted(points)}
    return found


def test_tags_and_steps_stay_as_they_are(tmp_path):
    found = logged_for_the_golden_file(tmp_path)
    if os.environ.get("KOPT_REWRITE_GOLDEN") == "1":
        GOLDEN.write_text(json.dumps(found, indent=1) + "\n")
    assert found == json.loads(GOLDEN.read_text())


def test_a_warm_up_longer_than_the_run_warns(tmp_path):
    model = compiled(optimizers.Adam(schedules.Warmup(0.1, 9)))
    with pytest.warns(UserWarning, match=r"Warm-up of 9 steps is longer than the run, which has 8"):
        fit(model, callbacks.TensorBoard(tmp_path, gradients=0), epochs=2)


def test_a_warm_up_as_long_as_the_run_does_not_warn(tmp_path, recwarn):
    fit(compiled(optimizers.Adam(schedules.Warmup(0.1, 8))), callbacks.TensorBoard(tmp_path, gradients=0), epochs=2)
    assert not [warning for warning in recwarn if "Warm-up" in str(warning.message)]


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"gradients": -1}, r"`gradients` must be an integer >= 0. Received: gradients=-1. It is an interval"),
        ({"gradients": 2.5}, r"`gradients` must be .* Received: gradients=2.5"),
        ({"gradients": True}, r"`gradients` must be .* Received: gradients=True"),
        ({"gradients": "all"}, r"`gradients` must be .* Received: gradients='all'"),
        ({"update_freq": 0}, r"`update_freq` must be .* Received: update_freq=0"),
        ({"update_freq": "step"}, r"`update_freq` must be .* Received: update_freq='step'. Or \"epoch\""),
        ({"gradient_histograms": 1}, r"`gradient_histograms` must be True or False. Received: gradient_histograms=1"),
        ({"histogram_freq": -1}, r"`histogram_freq` must be .* Received: histogram_freq=-1"),
        ({"embeddings_freq": 0.5}, r"`embeddings_freq` must be .* Received: embeddings_freq=0.5"),
    ],
)
def test_bad_arguments_are_named(tmp_path, keywords, message):
    with pytest.raises(ValueError, match=message):
        callbacks.TensorBoard(tmp_path, **keywords)


def test_unknown_and_positional_arguments_raise(tmp_path):
    with pytest.raises(TypeError, match="gradient_histogram"):
        callbacks.TensorBoard(tmp_path, gradient_histogram=True)
    with pytest.raises(TypeError, match="positional"):
        callbacks.TensorBoard(tmp_path, 0, True, False, False, "epoch", 0, 0, None, 100)


def test_a_directory_that_cannot_be_is_known_before_training(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    for log_dir in (file, file / "below" / "it"):
        with pytest.raises(ValueError, match=r"`log_dir` must be a directory .* is not a directory") as raised:
            callbacks.TensorBoard(log_dir)
        assert str(log_dir) in str(raised.value)
    callbacks.TensorBoard(tmp_path / "not" / "yet")
    assert list(tmp_path.iterdir()) == [file], "The check creates nothing."


def assert_gives_up(model, log_dir, message):
    """Asserts that a fit warns once, ends, and has logged everything but gradients."""
    monitor = callbacks.TensorBoard(log_dir, gradients=1)
    with pytest.warns(UserWarning, match=rf"Gradients are not logged: .*{message}.* Training goes on"):
        history = fit(model, monitor)
    assert steps(log_dir) == []
    assert steps(log_dir, "epoch_loss") == [0]
    assert np.isfinite(history.history["loss"]).all()


def test_nnx_mode_is_said_and_training_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(keras.config, "is_nnx_enabled", lambda: True, raising=False)
    assert_gives_up(compiled(), tmp_path, "NNX")


def test_a_train_step_with_another_optimizer_is_said_and_training_goes_on(tmp_path):
    assert_gives_up(compiled(model=custom_training.without_its_optimizer()), tmp_path, "does not call its `optimizer`")

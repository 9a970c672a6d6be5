"""Do sinks get what TensorBoard gets, and does none of them end training or take another's numbers along?"""

import inspect
import logging
import shutil

import event_files
import keras
import monitored
import numpy as np
import pytest
from sink_plays import At, Recorder, compiled, play

import kopt
from kopt import callbacks, optimizers, schedules


class Failing(callbacks.Sink):
    """Raises in one method, until it is told to stop that; cannot be hashed, as a data class cannot."""

    __hash__ = None

    def __init__(self, method, error):
        self.error, self.steps, self.is_well = error, [], False
        setattr(self, method, self.fail)

    def fail(self, *arguments):
        if not self.is_well:
            raise self.error
        self.steps.append(arguments[-1])

    def scalars(self, values, step):
        self.steps.append(step)


def fit(model, *beside, epochs=1, **options):
    x, y = monitored.regression()
    options = {"batch_size": monitored.BATCH, "shuffle": False, "verbose": 0, "epochs": epochs} | options
    return model.fit(x, y, callbacks=list(beside), **options)


def test_a_sink_gets_what_tensorboard_gets(tmp_path):
    sink = Recorder()
    groups = [optimizers.Group("first/", 0.1, name="slow")]
    model = compiled(optimizers.Adam(schedules.CosineDecay(0.1, 20), groups=groups), metrics=["mae"])
    beside = callbacks.TensorBoard(tmp_path, gradients=3, gradient_histograms=True, sinks=[sink])
    history = fit(model, beside, epochs=2, validation_data=monitored.regression()).history
    found = event_files.scalars(tmp_path / "train")
    own = {tag for tag in found if not tag.startswith(("epoch", "guide/"))}
    assert own > monitored.SCALARS
    assert sink.points.keys() - own == {
        *("epoch", "epoch_loss", "epoch_mae", "epoch_val_loss", "epoch_val_mae"),
        *("epoch_learning_rate", "epoch_learning_rate/slow"),
    }
    for tag in own:
        assert event_files.steps(found[tag]) == [1, 3, 6]
        np.testing.assert_array_equal(np.float32(sink.points[tag]), np.float32(found[tag]), err_msg=tag)
    for name, values in history.items():
        assert sink.points[f"epoch_{name}"] == list(zip([4, 8], values, strict=True))
    assert sink.points["epoch"] == [(4, 0.0), (8, 1.0)]
    rates = [step_and_rate[1] for step_and_rate in found["epoch_learning_rate"]]
    assert [rate for _, rate in sink.points["epoch_learning_rate"]] == pytest.approx(rates)
    assert [rate for _, rate in sink.points["epoch_learning_rate/slow"]] == pytest.approx([r / 10 for r in rates])
    assert_same_histograms(sink.histograms, event_files.histograms(tmp_path / "train"))


def assert_same_histograms(found, expected):
    assert (
        found.keys()
        == expected.keys()
        == {*("gradients/first/kernel", "gradients/first/bias", "gradients/second/kernel", "gradients/second/bias")}
    )
    for tag, points in expected.items():
        for (step, edges, counts), (of_step, histogram) in zip(found[tag], points, strict=True):
            assert step == of_step
            np.testing.assert_allclose(edges[1:], histogram.limits, rtol=1e-12)
            np.testing.assert_array_equal(counts, histogram.counts)
            assert len(edges) == len(counts) + 1


def test_monitored_weights_are_bit_identical(tmp_path):
    def state(*beside):
        keras.utils.clear_session(free_memory=False)
        keras.utils.set_random_seed(5)
        model = compiled(optimizers.AdamW(0.02), run_eagerly=False)
        fit(model, *beside, epochs=2)
        return [np.array(variable) for variable in [*model.variables, *model.optimizer.variables]]

    sinks = [Recorder(), callbacks.JSONLines(tmp_path / "run.jsonl"), callbacks.CSV(tmp_path / "run.csv")]
    with_monitor = state(callbacks.Monitor(sinks, gradients=1, gradient_histograms=True))
    assert [step for step, _ in sinks[0].points["gradients/global_norm"]] == [*range(1, 9)]
    for one, other in zip(with_monitor, state(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_sink_is_opened_told_flushed_and_closed_in_each_fit():
    sink, model = Recorder(), compiled()
    monitor = callbacks.Monitor([sink], gradients=0)
    play(model, monitor, epochs=2)
    assert sink.names() == ["open", "text", "flush", "flush", "close"]
    config = sink.calls[0][1]
    assert config | {"backend": monitored.BACKEND, "keras": keras.__version__, "model": model.name} == config
    assert config | {"optimizer": "Adam", "parameters": 19, "epochs": 2, "steps_per_epoch": 4} == config
    assert config["optimizer.learning_rate"] == pytest.approx(0.02)
    assert "first (Dense)" in sink.calls[1][2]
    play(model, monitor)
    assert sink.names()[5:] == ["open", "text", "flush", "close"]
    assert [step for step, _ in sink.points["epoch_loss"]] == [4, 8, 12]


def test_nested_configurations_are_json():
    sink = Recorder()
    optimizer = optimizers.Adam(schedules.CosineDecay(0.1, 20))
    play(compiled(keras.optimizers.LossScaleOptimizer(optimizer)), callbacks.Monitor([sink], gradients=0))
    config = sink.calls[0][1]
    assert all(isinstance(value, str | int | float) for value in config.values())
    assert '"initial_learning_rate": 0.1' in config["optimizer.inner_optimizer"]


def test_a_fit_that_ends_by_an_exception_is_closed_by_the_next():
    def fail():
        raise RuntimeError("The user's own trouble.")

    sink, model = Recorder(), compiled()
    monitor = callbacks.Monitor([sink], gradients=0)
    with pytest.raises(RuntimeError, match="own trouble"):
        play(model, monitor, At(1, fail), epochs=2)
    play(model, monitor)
    assert sink.names() == ["open", "text", "flush", "close", "open", "text", "flush", "close"]


def test_an_epoch_that_ends_inside_an_accumulation_has_the_steps_done():
    sink = Recorder()
    model = compiled(keras.optimizers.Adam(0.1, gradient_accumulation_steps=8))
    play(model, callbacks.Monitor([sink], gradients=0), epochs=3)
    assert sink.points["epoch"] == [(0, 0.0), (1, 1.0), (1, 2.0)]


def test_the_monitor_tells_the_optimizer_what_kopts_callbacks_tell():
    model = compiled(optimizers.Adam(schedules.CosineDecay(0.1, 1.0, by="fraction")))
    play(model, callbacks.Monitor([Recorder()], gradients=0), epochs=2)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.0, abs=1e-7)


@pytest.mark.parametrize("method", ["scalars", "open", "flush", "close", "text"])
def test_a_sink_that_fails_is_warned_about_once_and_the_others_are_whole(method, caplog):
    failing, recorder = Failing(method, ConnectionError("No route to host")), Recorder()
    with pytest.warns(UserWarning, match=r"Failing.* failed .*\(No route to host\).*Training goes on") as warned:
        play(compiled(), callbacks.Monitor([failing, recorder], gradients=0), epochs=3)
    assert len([each for each in warned if "No route" in str(each.message)]) == 1
    assert recorder.points["epoch_loss"] == [(4, 1.0), (8, 1 / 2), (12, 1 / 3)]
    assert recorder.names() == ["open", "text", "flush", "flush", "flush", "close"]
    assert failing.steps == ([] if method in ("open", "scalars") else [4, 8, 12])
    times = [record.args[1] for record in caplog.records if record.levelno == logging.WARNING]
    assert times == ([3] if method in ("scalars", "flush") else [])


def test_a_sink_that_recovers_goes_on():
    sink = Failing("scalars", OSError(28, "No space left on device"))
    with pytest.warns(UserWarning, match="No space left"):
        play(
            compiled(), callbacks.Monitor([sink], gradients=0), At(1, lambda: setattr(sink, "is_well", True)), epochs=3
        )
    assert sink.steps == [8, 12]


def test_a_bug_in_a_sink_is_not_hidden():
    with pytest.raises(ZeroDivisionError, match="mine"):
        play(compiled(), callbacks.Monitor([Failing("scalars", ZeroDivisionError("mine"))], gradients=0))
    with pytest.raises(NotImplementedError, match=r"`Sink` must define `scalars\(values, step\)`"):
        play(compiled(), callbacks.Monitor([callbacks.Sink()], gradients=0))


def test_a_directory_that_is_removed_costs_what_was_in_it_and_one_warning(tmp_path):
    sinks = [callbacks.JSONLines(tmp_path / "gone" / "run.jsonl"), callbacks.CSV(tmp_path / "kept.csv")]
    remove = At(1, lambda: shutil.rmtree(tmp_path / "gone"))
    with pytest.warns(UserWarning, match=r"JSONLines\(.*run.jsonl'\)` failed after epoch 1 .*removed") as warned:
        play(compiled(), callbacks.Monitor(sinks, gradients=0), remove, epochs=4)
    assert len([each for each in warned if "The sink" in str(each.message)]) == 1
    assert [line.split(",")[0] for line in (tmp_path / "gone" / "run.jsonl").read_text().splitlines()] == [
        '{"step": 12',
        '{"step": 16',
    ]
    assert [row[:2] for row in (tmp_path / "kept.csv").read_text().splitlines() if ",epoch," in row] == [
        *("4,", "8,", "12", "16")
    ]


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"sinks": []}, r"`sinks` must be a list of one sink or more. Received: sinks=\[\]"),
        ({"sinks": ["run.jsonl"]}, r"`sinks` must be a list of .*Sink instances. Received: sinks='run.jsonl'"),
        ({"sinks": Recorder()}, r"`sinks` must be a list .* Received: .* Also a single one stands in a list"),
        ({"sinks": [Recorder]}, r"`sinks` must be a list .* Received: .* Call it: Recorder\(...\)"),
        ({"sinks": [Recorder()] * 2}, r"`sinks` must be .*each used once"),
        ({"sinks": [Recorder()], "gradients": -1}, r"`gradients` must be an integer >= 0. Received: gradients=-1"),
        ({"sinks": [Recorder()], "gradient_histograms": 1}, r"`gradient_histograms` must be True or False"),
    ],
)
def test_bad_arguments_are_named(keywords, message):
    with pytest.raises(ValueError, match=message):
        callbacks.Monitor(**keywords)


def test_tensorboards_sinks_are_checked(tmp_path):
    with pytest.raises(ValueError, match=r"`sinks` must be .* Received: sinks=3"):
        callbacks.TensorBoard(tmp_path, sinks=3)
    with pytest.raises(TypeError, match="gradient_histogram"):
        callbacks.Monitor([Recorder()], gradient_histogram=True)


def test_the_example_of_the_interface():
    code = inspect.getdoc(callbacks.Sink).split("```python\n")[1].split("model.fit(")[0]
    names = {"kopt": kopt}
    exec(code, names)
    sink = names["Loudest"]()
    for step, loud in enumerate([0.5, 2.0, 1.0], start=1):
        sink.scalars({"gradients_norm/first/kernel": loud, "loss/total": 9.0}, step)
    assert sink.largest == {"gradients_norm/first/kernel": (2.0, 2)}
    callbacks.Monitor([sink])


def test_a_model_that_is_not_built_and_an_optimizer_of_the_users_own():
    class Odd(keras.optimizers.SGD):
        def get_config(self):
            return super().get_config() | {"anything": object(), "function": len}

    class Later(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(1)

        def call(self, x):
            return self.dense(x)

    sink, model = Recorder(), Later()
    model.compile(Odd(0.1), "mse", run_eagerly=True)
    fit(model, callbacks.Monitor([sink], gradients=0))
    config = sink.calls[0][1]
    assert config.get("parameters") in (None, 5), "Only some backends build the model before `fit` begins."
    assert config["optimizer"] == "Odd"
    assert "object" in config["optimizer.anything"]
    assert [step for step, _ in sink.points["epoch_loss"]] == [4]

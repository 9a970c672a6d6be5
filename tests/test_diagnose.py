"""Does the callback name what is wrong with real runs, say nothing of a healthy one, and leave training as it is?"""

import json
import warnings

import event_files
import keras
import monitored
import numpy as np
import pytest
import trainings
from keras import layers, ops
from sklearn import datasets

import kopt
from kopt import callbacks, monitoring
from kopt.cli import diagnose as command

X, Y = datasets.load_digits(return_X_y=True)
X, Y = (X[:320] / 16.0).astype("float32"), Y[:320].astype("int32")
BINARY = (Y[:, None] > 4).astype("float32")


def mlp(*, units=(24, 24), activation="relu", last="softmax", end=10, **options):
    hidden = [layers.Dense(n, activation, name=f"hidden{i}", **options) for i, n in enumerate(units)]
    return keras.Sequential([keras.Input((64,)), *hidden, layers.Dense(end, last, name="end")])


def fitted(model, doctor, *, x=X, y=Y, loss="sparse_categorical_crossentropy", rate=3e-3, epochs=3, **options):
    """Returns the codes that the doctor reports."""
    optimizer = keras.optimizers.Adam(rate) if isinstance(rate, float) else rate
    model.compile(optimizer, loss)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*(error|warning)\\): ", UserWarning)
        model.fit(x, y, 32, epochs, verbose=0, callbacks=[doctor], **options)
    return [finding.code for finding in doctor.report()]


class Own(keras.Model):
    """A subclassed model, whose layers nobody sees before it is called."""

    def __init__(self):
        super().__init__()
        self.hidden, self.end = layers.Dense(24, "relu"), layers.Dense(10)

    def call(self, x):
        return self.end(self.hidden(x))


def spoilt():
    x = X.copy()
    x[3, 5] = np.nan
    return x


def cut():
    inputs = keras.Input((64,))
    hidden = layers.Dense(24, "relu", name="cut")(inputs)
    return keras.Model(inputs, layers.Dense(10, "softmax")(layers.Lambda(ops.stop_gradient)(hidden)))


def logarithm(y, y_pred):
    return ops.log(y_pred[:, :1]) + 0 * ops.cast(ops.reshape(y, (-1, 1)), "float32")


SICK = {
    "NONFINITE_INPUT": lambda doctor: fitted(mlp(), doctor, x=spoilt(), epochs=1),
    "LOGITS_AS_PROBABILITIES": lambda doctor: fitted(Own(), doctor),
    "DOUBLE_SOFTMAX": lambda doctor: fitted(mlp(), doctor, loss=keras.losses.SparseCategoricalCrossentropy(True)),
    "SYMMETRIC_INIT": lambda doctor: fitted(mlp(kernel_initializer="zeros"), doctor),
    "NAN": lambda doctor: fitted(mlp(last=None), doctor, loss=logarithm, epochs=1),
    "LEARNING_RATE_HIGH": lambda doctor: fitted(mlp(), doctor, rate=1.0),
    "LEARNING_RATE_LOW": lambda doctor: fitted(mlp(), doctor, rate=1e-7, epochs=5),
    "DEAD_UNITS": lambda doctor: fitted(mlp(bias_initializer=keras.initializers.Constant(-9.0)), doctor, epochs=5),
    "NO_GRADIENT": lambda doctor: fitted(cut(), doctor, epochs=1),
    "VANISHING": lambda doctor: fitted(
        mlp(units=[16] * 8, activation="sigmoid"), doctor, rate=keras.optimizers.SGD(0.1), epochs=5
    ),
}
EVERYWHERE = {"LOGITS_AS_PROBABILITIES", "NO_GRADIENT"}


@pytest.mark.parametrize("code", SICK)
def test_a_sick_run_is_named_without_arrays(code):
    if code not in EVERYWHERE and monitored.BACKEND != "torch":
        pytest.skip("what differs between backends is seen in the others")
    doctor = callbacks.Diagnose(every=1 if code == "NONFINITE_INPUT" else "epoch")
    assert SICK[code](doctor)[0] == code
    assert doctor.stopped_by is None


def test_a_healthy_run_and_all_that_is_kept_of_it(tmp_path):
    noise = monitored.BACKEND == "torch"  # What it costs to compile elsewhere, its own tests pay.
    doctor = callbacks.Diagnose(X, Y, validation_probe=(X[:0], Y[:0]), log_dir=tmp_path, noise=noise)
    board = callbacks.TensorBoard(tmp_path, gradients=2, monitor=[monitoring.GlobalNorms()])
    model = mlp()
    model.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        model.fit(X, Y, 32, 5, verbose=0, callbacks=[board, doctor])
    assert doctor.report() == []
    stats = doctor.statistics
    assert stats.metric("loss") == pytest.approx([epoch["loss"] for epoch in stats.epochs])
    assert [len(stats.of_epoch(epoch)) for epoch in range(5)] == [10] * 5
    numbers = stats.looks[12].numbers
    assert numbers["batch_examples"] == 32
    assert 0 <= numbers["predictions_right/all"] <= 1
    assert sum(numbers[f"targets_share/all/{k}"] for k in range(10)) == pytest.approx(1)
    tags = {tag for look in stats.looks for tag in look.numbers}
    assert ("noise/gradient_squared" in tags) == noise
    assert "activations_dead_fraction/hidden0" in tags
    assert event_files.texts(tmp_path)["diagnosis"] == [(50, "Nothing wrong was found.")]
    read = callbacks.read_statistics(tmp_path)
    np.testing.assert_equal((read.looks, read.epochs, read.model), (stats.looks, stats.epochs, stats.model))
    # Beside it the board has its own steps.
    logged = event_files.scalars(tmp_path / "train")
    assert [step for step, _ in logged["gradients/global_norm"]] == [1, *range(2, 51, 2)]
    assert "batch_examples" not in logged


def test_event_files_alone_tell_what_they_can(tmp_path, capsys):
    model = mlp()
    model.compile(keras.optimizers.Adam(1.0), "sparse_categorical_crossentropy")
    board = callbacks.TensorBoard(tmp_path, gradients=1)
    model.fit(X, Y, 32, 4, verbose=0, validation_data=(X[:32], Y[:32]), callbacks=[board])
    stats = callbacks.read_statistics(tmp_path)
    assert [epoch["epoch"] for epoch in stats.epochs] == [0, 1, 2, 3]
    assert {"loss", "val_loss"} <= stats.epochs[-1].keys()
    assert [look.epoch for look in stats.looks] == [epoch for epoch in range(4) for _ in range(10)]
    assert [finding.code for finding in kopt.diagnose(stats)] == ["LEARNING_RATE_HIGH"]
    assert run_command(tmp_path) == 1
    text = capsys.readouterr().out
    assert text.startswith("LEARNING_RATE_HIGH (error)\n  At step ")
    assert "Data and model were not seen" in text
    with pytest.raises(ValueError, match=r"`log_dir` must be a directory with `diagnosis.json` or event files"):
        run_command(tmp_path / "nowhere")


def run_command(directory, *options):
    import argparse

    parser = argparse.ArgumentParser()
    command.add_to(parser.add_subparsers())
    arguments = parser.parse_args(["diagnose", str(directory), *options])
    return arguments.run(arguments)


def test_the_command_finds_what_the_callback_found(tmp_path, capsys):
    doctor = callbacks.Diagnose(100 * X, Y, validation_probe=(100 * X[:50], Y[:50]), log_dir=tmp_path / "run")
    codes = fitted(mlp(last=None), doctor, x=100 * X, epochs=1)
    assert codes == ["LOGITS_AS_PROBABILITIES", "DUPLICATES", "INPUT_SCALE"]
    assert run_command(tmp_path / "run", "--json") == 1
    printed = json.loads(capsys.readouterr().out)
    assert printed == [json.loads(json.dumps(finding.to_dict())) for finding in doctor.report()]
    ((step, card),) = event_files.texts(tmp_path / "run")["diagnosis"]
    assert step == 10
    assert card.index("### LOGITS") < card.index("### DUPLICATES") < card.index("### INPUT_SCALE")
    fitted(mlp(), callbacks.Diagnose(X, Y, log_dir=tmp_path / "well"), epochs=1)
    capsys.readouterr()
    assert run_command(tmp_path / "well") == 0
    assert capsys.readouterr().out.startswith("Nothing wrong was found.\n")


def test_a_problem_is_told_once_and_stops_or_raises():
    model = mlp()
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    doctor = callbacks.Diagnose()
    with pytest.warns(UserWarning, match=r"^DOUBLE_SOFTMAX \(error\): The loss `sparse_cat") as told:
        history = model.fit(X, Y, 32, 2, verbose=0, callbacks=[doctor])
    assert len([each for each in told if "DOUBLE_SOFTMAX" in str(each.message)]) == 1
    assert len(history.epoch) == 2
    doctor = callbacks.Diagnose(on_problem="stop")
    with pytest.warns(UserWarning, match="DOUBLE_SOFTMAX"):
        history = model.fit(X, Y, 32, 5, verbose=0, callbacks=[doctor])
    assert doctor.stopped_by.code == "DOUBLE_SOFTMAX"
    assert len(history.epoch) <= 1
    before = model.get_weights()
    doctor = callbacks.Diagnose(on_problem="raise")
    with (
        pytest.warns(UserWarning, match="DOUBLE"),
        pytest.raises(RuntimeError, match=r"^DOUBLE_SOFTMAX \(error\): The"),
    ):
        model.fit(X, Y, 32, 5, verbose=0, callbacks=[doctor])
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_several_outputs_are_looked_at_one_by_one():
    inputs = keras.Input((64,))
    hidden = layers.Dense(24, "relu")(inputs)
    outputs = {"kind": layers.Dense(10, "softmax", name="kind")(hidden), "half": layers.Dense(1, name="half")(hidden)}
    model = keras.Model(inputs, outputs)
    losses = {"half": "binary_crossentropy", "kind": "sparse_categorical_crossentropy"}
    doctor = callbacks.Diagnose()
    codes = fitted(model, doctor, y={"kind": Y, "half": BINARY}, loss=losses, epochs=1)
    assert codes == ["LOGITS_AS_PROBABILITIES"]
    assert doctor.report()[0].where == "half"
    assert {"targets_mean/kind", "targets_mean/half"} <= doctor.statistics.looks[0].numbers.keys()


ROWS = [row for row in trainings.HERE if trainings.BACKEND not in row.refused]
FAST = {"keras", "noisy", "custom-step"}


@pytest.mark.parametrize(
    "row", [pytest.param(row, id=row.id, marks=() if row.id in FAST else pytest.mark.slow) for row in ROWS]
)
def test_the_training_is_the_same_bit_for_bit(row, tmp_path, monkeypatch):
    without = monitored.run(row)

    def doctor(*args, **options):
        return callbacks.Diagnose(*row.data(), every=1, log_dir=tmp_path)

    monkeypatch.setattr(monitored.callbacks, "TensorBoard", doctor)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        seen = monitored.run(row, tmp_path)
    assert seen.losses == pytest.approx(without.losses, rel=0, abs=0, nan_ok=True)
    assert seen.state.keys() == without.state.keys()
    for path, value in without.state.items():
        np.testing.assert_array_equal(seen.state[path], value, err_msg=path)
    assert callbacks.read_statistics(tmp_path).epochs


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, r"`every` must be an interval"),
        ({"every": "batch"}, r"`every` must be an interval"),
        ({"on_problem": "print"}, r"`on_problem` must be one of 'warn', 'stop', 'raise'"),
        ({"y_probe": Y}, r"`y_probe` must be None where there is no `x_probe`"),
        ({"x_probe": X, "y_probe": Y[:5]}, r"`x_probe` must be arrays .* as many as `y_probe`.*\(320, 64\)"),
        ({"x_probe": X, "validation_probe": X}, r"`validation_probe` must be a pair"),
        ({"noise": 1}, r"`noise` must be True or False"),
        ({"log_dir": __file__}, r"`log_dir` must be a directory"),
    ],
)
def test_wrong_arguments_are_told_at_once(options, message):
    with pytest.raises(ValueError, match=message):
        callbacks.Diagnose(**options)

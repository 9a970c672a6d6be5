"""Does a run that goes on after a kill, or in another fit, draw curves without zig-zag, duplicates or gaps?"""

import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import event_files
import keras
import monitored
import numpy as np
import pytest

from kopt import callbacks
from kopt.callbacks import past

CHILD = """
import sys, time
import keras
import numpy as np
from kopt import callbacks

class Reporter(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        sys.stdout.write(f"epoch {epoch} {int(self.model.optimizer.iterations)} {time.time()}\\n")
        sys.stdout.flush()
    def on_train_batch_end(self, batch, logs=None):
        time.sleep(PAUSE)
        sys.stdout.write(f"batch {batch} {time.time()}\\n")
        sys.stdout.flush()

model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
model.compile(keras.optimizers.Adam(0.01), "mse")
x, y = np.ones((40, 4)), np.ones((40, 1))
board = callbacks.TensorBoard(sys.argv[1] + "/logs", gradients=1, update_freq="batch", page=PAGE)
backup = keras.callbacks.BackupAndRestore(sys.argv[1] + "/backup", delete_checkpoint=False)
beside = [board, backup] if BOARD_FIRST else [backup, board]
model.fit(x, y, batch_size=2, epochs=4, verbose=0, validation_data=(x, y), callbacks=[*beside, Reporter()])
"""


def started(directory, board_first, page, pause):
    values = {"BOARD_FIRST": board_first, "PAGE": page, "PAUSE": pause}
    script = "".join(f"{name} = {value!r}\n" for name, value in values.items()) + CHILD
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "KERAS_BACKEND": monitored.BACKEND}
    return subprocess.Popen(
        [sys.executable, "-c", script, str(directory)], text=True, env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def killed_in_the_middle(directory, board_first, page):
    """Kills a training of four epochs of 20 steps in the middle of its third one; returns the lines that it wrote."""
    process, lines = started(directory, board_first, page, pause=0.06), []
    for line in process.stdout:
        lines.append(line.split())
        if len([words for words in lines if words[0] == "batch"]) == 50:
            os.kill(process.pid, signal.SIGKILL)
            break
    process.stdout.close()
    process.stderr.close()
    assert process.wait(timeout=60) == -signal.SIGKILL
    return lines


@pytest.mark.parametrize("board_first", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_killed_run_goes_on_as_if_it_had_not_been_killed(tmp_path, board_first):
    lines = killed_in_the_middle(tmp_path, board_first, page=True)
    train, validation = (tmp_path / "logs" / name for name in ("train", "validation"))
    before = event_files.scalars(train)
    end = float(lines[-1][-1])
    moments = [float(moment) for kind, *_, moment in lines if kind == "batch"]
    on_disk = event_files.steps(before["loss/total"])
    assert on_disk[-1] >= sum(moment < end - 1.0 for moment in moments), "More than a second is missing."
    process = started(tmp_path, board_first, page=True, pause=0.0)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    first = output.split("\n")[0].split()
    assert first[1:3] == ["2", "40"], "It did not go on from the end of the second epoch."
    assert ("up to step" in errors) == (on_disk[-1] > 40)
    assert "another run. They stay" not in errors
    after, validated = event_files.scalars(train), event_files.scalars(validation)
    for tag, points in [*after.items(), *validated.items()]:
        steps = event_files.steps(points)
        assert steps == sorted(set(steps)), f"{tag} goes back, or has a step twice: {steps}"
    for tag in ("loss/total", "learning_rate", "batch_loss", "gradients/global_norm"):
        assert event_files.steps(after[tag]) == list(range(1, 81)), tag
        assert after[tag][: len(before[tag])] == before[tag], "What was there has changed."
    assert event_files.steps(after["epoch"]) == [20, 40, 60, 80]
    assert [value for _, value in after["epoch"]] == [0, 1, 2, 3]
    for points in (after["epoch_loss"], validated["epoch_loss"]):
        assert event_files.steps(points) == [0, 1, 2, 3]
    assert event_files.steps(validated["evaluation_loss_vs_iterations"]) == [20, 40, 60, 80]
    assert event_files.steps(event_files.texts(train)["run"]) == [0, 40]
    assert len(event_files.layouts(train)) == 1
    assert event_files.hparams(tmp_path / "logs").status == "STATUS_SUCCESS"


def compiled(rate=0.02):
    model = monitored.mlp()
    model.compile(keras.optimizers.Adam(rate), "mse", run_eagerly=monitored.BACKEND == "tensorflow")
    return model


def fit(model, log_dir, epochs=2, monitor=None, gradients=0, **options):
    x, y = monitored.regression()
    monitor = monitor or callbacks.TensorBoard(log_dir, gradients=gradients, page=False, update_freq="batch")
    model.fit(x, y, batch_size=monitored.BATCH, epochs=epochs, verbose=0, callbacks=[monitor],
              validation_data=(x, y), **options)  # fmt: skip
    return monitor


def steps(log_dir, tag, run="train"):
    return event_files.steps(event_files.scalars(log_dir / run)[tag])


@pytest.mark.parametrize("same_callback", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_epochs_go_on_in_further_fits(tmp_path, same_callback):
    model = compiled()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        monitor = fit(model, tmp_path, gradients=1)
        fit(model, tmp_path, monitor=monitor if same_callback else None, gradients=1)
        fit(model, tmp_path, initial_epoch=4, epochs=5, gradients=1)
        fit(model, tmp_path, epochs=1, gradients=1)
    for run in ("train", "validation"):
        assert steps(tmp_path, "epoch_loss", run) == list(range(6))
    assert steps(tmp_path, "loss/total") == steps(tmp_path, "batch_loss") == list(range(1, 25))
    assert event_files.scalars(tmp_path / "train")["epoch"] == [(4 * epoch + 4, epoch) for epoch in range(6)]


def test_steps_that_are_taken_again_are_not_written_again(tmp_path):
    model = compiled()
    fit(model, tmp_path / "logs", epochs=1)
    model.save(tmp_path / "after_one.keras")
    fit(model, tmp_path / "logs", epochs=2)
    before = event_files.scalars(tmp_path / "logs" / "train")
    model = keras.models.load_model(tmp_path / "after_one.keras")
    with pytest.warns(UserWarning, match=r"up to step 12, and training goes on from step 4.*name="):
        fit(model, tmp_path / "logs", epochs=4)
    after = event_files.scalars(tmp_path / "logs" / "train")
    assert event_files.steps(after["batch_loss"]) == list(range(1, 21))
    assert event_files.steps(after["epoch_loss"]) == list(range(5))
    for tag, points in before.items():
        np.testing.assert_array_equal(after[tag][: len(points)], points, err_msg=tag)


def test_a_second_run_in_one_directory_is_said_and_both_stay(tmp_path):
    fit(compiled(), tmp_path)
    before = event_files.scalars(tmp_path / "train")
    files = {path: path.read_bytes() for path in event_files.files(tmp_path / "train")}
    model = compiled(0.1)
    with pytest.warns(UserWarning, match=r"already holds the events of another run.*name=") as caught:
        fit(model, tmp_path, epochs=1)
    (said,) = [warning for warning in caught if "another run" in str(warning.message)]
    assert str(tmp_path) in str(said.message)
    assert all(path.read_bytes() == content for path, content in files.items())
    assert steps(tmp_path, "batch_loss") == [*range(1, 9), *range(1, 5)]
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        fit(model, tmp_path, epochs=3)
    assert steps(tmp_path, "batch_loss") == [*range(1, 9), *range(1, 17)], "The second run goes on from its own steps."
    assert steps(tmp_path, "epoch_loss") == [0, 1, 0, 1, 2, 3]
    assert event_files.scalars(tmp_path / "train")["epoch_loss"][:2] == before["epoch_loss"]


def test_a_fit_that_failed_before_its_first_step_is_no_other_run(tmp_path):
    x, y = monitored.regression()

    class Failing(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            raise RuntimeError("The user's own trouble.")

    with pytest.raises(RuntimeError, match="own trouble"):
        compiled().fit(x, y, verbose=0, callbacks=[callbacks.TensorBoard(tmp_path), Failing()])
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        fit(compiled(), tmp_path)


def test_a_model_whose_optimizer_takes_no_steps_goes_on_too(tmp_path):
    class Still(keras.Model):
        def __init__(self):
            super().__init__()
            self.layer = keras.layers.Dense(1)

        def call(self, inputs):
            return self.layer(inputs)

        def train_step(self, *arguments):
            logs = {"loss": 1.0}
            return logs if monitored.BACKEND != "jax" else (logs, arguments[0])

    model = Still()
    model.compile(run_eagerly=True)
    monitor = callbacks.TensorBoard(tmp_path, gradients=0)
    x, y = monitored.regression()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        for _ in range(2):
            model.fit(x, y, epochs=2, verbose=0, callbacks=[monitor])
    assert steps(tmp_path, "epoch_loss") == [0, 1, 2, 3]


def test_names_of_runs_are_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr(time, "strftime", lambda form, *moment: "20260102-030405")
    runs = [Path(callbacks.TensorBoard(tmp_path / "logs", name="cnn").log_dir) for _ in range(3)]
    stem = tmp_path / "logs" / "cnn-20260102-030405"
    assert runs == [stem, stem.with_name(f"{stem.name}-2"), stem.with_name(f"{stem.name}-3")]
    assert all(run.is_dir() for run in runs)


@pytest.mark.parametrize("name", ["", "a/b", "..", 3, "a:b"])
def test_a_name_that_is_none_is_told_before_anything_is_made(tmp_path, name):
    with pytest.raises(ValueError, match=r"`name` must be a string that can name a directory.*Received: name="):
        callbacks.TensorBoard(tmp_path / "logs", name=name)
    assert not (tmp_path / "logs").exists()


def test_a_callback_knows_what_it_has_written_and_reads_it_no_more(tmp_path, monkeypatch):
    callback, model = callbacks.TensorBoard(tmp_path, gradients=1), compiled()
    fit(model, tmp_path, monitor=callback)
    known = callback._going_on.past._read
    found = {str(file): file for file in tmp_path.rglob("*tfevents*")}
    assert {path for path, _ in known} == set(found)
    for (path, size), written in known.items():
        with found[path].open("rb") as opened:
            assert past.contents(opened) == written
        assert found[path].stat().st_size == size
    monkeypatch.setattr(past, "contents", None)
    fit(model, tmp_path, monitor=callback)
    assert len(callback._going_on.past._read) > len(found)


def test_torn_and_damaged_records_end_a_file_and_nothing_else(tmp_path):
    fit(compiled(), tmp_path)
    (file,) = event_files.files(tmp_path / "train")
    whole = file.read_bytes()
    count, _ = event_files.records(file)
    with file.open("rb") as opened:
        assert len(list(past.events(opened))) == count
    for end in (1, 9, 15):
        file.write_bytes(whole[:-end])
        with file.open("rb") as opened:
            assert len(list(past.events(opened))) == count - 1
    damaged = bytearray(whole)
    damaged[-20] ^= 1
    file.write_bytes(damaged)
    with file.open("rb") as opened:
        assert len(list(past.events(opened))) == count - 1
    file.write_bytes(b"")
    with file.open("rb") as opened:
        assert past.contents(opened) == past.Written()

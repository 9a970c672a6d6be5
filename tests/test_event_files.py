"""Are the event files those of Keras' callback, without TensorFlow, and readable whatever happens to the process?"""

import ast
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
import trainings

from kopt import callbacks
from kopt.callbacks import event_file
from kopt.callbacks.writer import EventWriter

EPOCHS, FREQUENCIES = 3, ("epoch", "batch", 2)
OF_TIME = {"epoch_steps_per_second", "batch_steps_per_second"}
on_tensorflow = pytest.mark.skipif(monitored.BACKEND != "tensorflow", reason="Keras' own callback needs TensorFlow.")
without_tensorflow = pytest.mark.skipif(monitored.BACKEND == "tensorflow", reason="This is TensorFlow.")


class Recorder(keras.callbacks.Callback):
    """Keeps what Keras tells callbacks at each batch and epoch."""

    def __init__(self):
        super().__init__()
        self.batches, self.epochs, self.tests = [], [], []

    def on_train_batch_end(self, batch, logs=None):
        self.batches.append({name: float(value) for name, value in logs.items()})

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(dict(logs))

    def on_test_end(self, logs=None):
        self.tests.append(dict(logs))


def fitted(root, frequency):
    """Trains with a monitor, on TensorFlow with Keras' callback beside it; returns what Keras told, and the model."""
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(2)
    recorder = Recorder()
    options = {"histogram_freq": 2, "write_images": True, "write_steps_per_second": True, "update_freq": frequency}
    # Keras' callbacks share one default writer: a second one in the same fit would write into the first one's file.
    beside = [callbacks.TensorBoard(root / "kopt", gradients=3 * (frequency == 2), **options)]
    if monitored.BACKEND == "tensorflow":
        beside.append(keras.callbacks.TensorBoard(root / "keras", **options))
    model = trainings.functional()
    model.compile(keras.optimizers.Adam(0.02), "mse", metrics=["mae"])
    x, y = monitored.regression()
    model.fit(
        x, y, batch_size=4, epochs=EPOCHS, validation_data=(x[:6], y[:6]), verbose=0, callbacks=[*beside, recorder]
    )
    return recorder, model


@pytest.fixture(scope="module", params=FREQUENCIES)
def logged(request, tmp_path_factory):
    root = tmp_path_factory.mktemp(str(request.param))
    return root, request.param, *fitted(root, request.param)


def keras_scalars(directory):
    return {
        tag: points
        for tag, points in event_files.scalars(directory).items()
        if tag.startswith(("epoch_", "batch_", "evaluation_"))
    }


def assert_same_points(found, expected):
    assert found.keys() == expected.keys()
    for tag, points in expected.items():
        assert event_files.steps(found[tag]) == event_files.steps(points), tag
        if tag not in OF_TIME:
            values = [np.float32([value for _, value in of]) for of in (found[tag], points)]
            np.testing.assert_array_equal(*values, err_msg=tag)


@on_tensorflow
def test_scalars_equal_those_of_keras_own_callback(logged):
    for run in ("train", "validation"):
        ours, theirs = (logged[0] / writer / run for writer in ("kopt", "keras"))
        assert_same_points(keras_scalars(ours), event_files.scalars(theirs))


@on_tensorflow
def test_weight_histograms_and_images_equal_those_of_keras_own_callback(logged):
    ours, theirs = (logged[0] / writer / "train" for writer in ("kopt", "keras"))
    found, expected = event_files.histograms(ours), event_files.histograms(theirs)
    assert {tag for tag in found if not tag.startswith("gradients/")} == expected.keys()
    for tag, points in expected.items():
        assert event_files.steps(found[tag]) == event_files.steps(points) == [0, 2]
        for (_, mine), (_, of_keras) in zip(found[tag], points, strict=True):
            assert mine.num == of_keras.num, tag
            if mine.num == 1:  # Keras writes 29 empty buckets of width 0 before the one of a single number.
                continue
            np.testing.assert_array_equal(mine.counts, of_keras.counts, err_msg=tag)
            np.testing.assert_allclose(mine.limits, of_keras.limits, rtol=1e-6, err_msg=tag)
    found, expected = event_files.images(ours), event_files.images(theirs)
    assert found.keys() == expected.keys()
    for tag, points in expected.items():
        assert event_files.steps(found[tag]) == event_files.steps(points)
        for (_, mine), (_, of_keras) in zip(found[tag], points, strict=True):
            np.testing.assert_array_equal(mine, of_keras, err_msg=tag)


def test_scalars_are_what_keras_told(logged):
    root, frequency, recorder, _ = logged
    every = {"epoch": 10**6, "batch": 1}.get(frequency, frequency)
    train, validation = {}, {}
    for epoch, logs in enumerate(recorder.epochs):
        for name, value in logs.items():
            of = validation if name.startswith("val_") else train
            of.setdefault(f"epoch_{name.removeprefix('val_')}", []).append((epoch, value))
    train["epoch_learning_rate"] = [(epoch, 0.02) for epoch in range(EPOCHS)]
    train["epoch_steps_per_second"] = train["epoch_loss"]
    for batch, logs in enumerate(recorder.batches, start=1):
        if batch % every == 0:
            for name, value in (logs | {"steps_per_second": 0.0}).items():
                train.setdefault(f"batch_{name}", []).append((batch, value))
    for epoch, logs in enumerate(recorder.tests, start=1):
        for name, value in logs.items():
            validation.setdefault(f"evaluation_{name}_vs_iterations", []).append((4 * epoch, value))
    assert_same_points(keras_scalars(root / "kopt" / "train"), train)
    assert_same_points(keras_scalars(root / "kopt" / "validation"), validation)


def test_weights_are_logged_under_keras_names(logged):
    root, _, _, model = logged
    train = root / "kopt" / "train"
    paths = [weight.path for weight in model.weights]
    histograms = event_files.histograms(train)
    assert {tag for tag in histograms if not tag.startswith("gradients/")} == {f"{path}/histogram" for path in paths}
    assert event_files.images(train).keys() == {f"{path}/image" for path in paths if path != "second/bias"}
    for weight in model.weights:
        (_, last) = histograms[f"{weight.path}/histogram"][-1]
        assert last.num == last.counts.sum() == np.prod(weight.shape)


def test_batches_go_on_in_a_second_fit(tmp_path):
    model = monitored.mlp()
    model.compile("sgd", "mse")
    x, y = monitored.regression()
    for _ in range(2):
        monitor = callbacks.TensorBoard(tmp_path, update_freq="batch")
        model.fit(x, y, batch_size=4, verbose=0, callbacks=[monitor])
    steps = event_files.steps(event_files.scalars(tmp_path / "train")["batch_loss"])
    assert steps == list(range(1, 9)), "Keras' own callback would write 1 to 4 twice."


def test_it_is_a_keras_tensorboard(tmp_path):
    assert isinstance(callbacks.TensorBoard(tmp_path), keras.callbacks.TensorBoard)


def test_embeddings_are_saved_with_their_metadata_in_each_fit(tmp_path):
    model = trainings.embedding()
    layer = model.layers[0]
    model.compile("adam", "mse")
    x, y = monitored.words()
    names = {layer.name: "words.tsv"}
    monitor = callbacks.TensorBoard(tmp_path / "logs", embeddings_freq=1, embeddings_metadata=names, gradients=0)
    for _ in range(2):
        model.fit(x, y, epochs=2, verbose=0, callbacks=[monitor])
        config = (tmp_path / "logs" / "projector_config.pbtxt").read_text()
        assert 'metadata_path: "words.tsv"' in config
    assert names == {layer.name: "words.tsv"}
    saved = sorted((tmp_path / "logs" / "train").glob("keras_embedding.ckpt-*"))
    assert [path.name.split("-")[1][0] for path in saved] == ["0", "1", "2", "3"]
    before = layer.get_weights()
    layer.set_weights([0 * weight for weight in before])
    model.load_weights(saved[-1])
    np.testing.assert_array_equal(layer.get_weights(), before)
    with pytest.raises(ValueError, match="Unrecognized `Embedding` layer names"):
        model.fit(x, y, verbose=0, callbacks=[callbacks.TensorBoard(tmp_path, embeddings_freq=1,
                                                                    embeddings_metadata={"no": "file"})])  # fmt: skip


def test_a_profile_is_written_where_the_backend_has_one(tmp_path):
    if monitored.BACKEND == "torch":
        with pytest.raises(ValueError, match="not yet available with the torch backend"):
            callbacks.TensorBoard(tmp_path, profile_batch=2)
        return
    if monitored.BACKEND == "jax" and sys.version_info < (3, 12):
        with pytest.warns(UserWarning, match=r"requires python >= 3.12"):
            callbacks.TensorBoard(tmp_path, profile_batch=2)
        return
    model = monitored.mlp()
    model.compile("sgd", "mse")
    x, y = monitored.regression()
    monitor = callbacks.TensorBoard(tmp_path, profile_batch=(2, 3), gradients=2)
    model.fit(x, y, batch_size=4, verbose=0, callbacks=[monitor])
    assert list((tmp_path / "train" / "plugins" / "profile").glob("*/*.xplane.pb"))
    assert event_files.steps(event_files.scalars(tmp_path / "train")["loss/total"]) == [1, 2, 4]


def test_callbacks_that_start_in_the_same_second_keep_their_files(tmp_path, monkeypatch):
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    model = monitored.mlp()
    model.compile("sgd", "mse")
    x, y = monitored.regression()
    for gradients in (1, 2):
        beside = [callbacks.TensorBoard(tmp_path, gradients=gradients), callbacks.TensorBoard(tmp_path, gradients=0)]
        model.fit(x, y, batch_size=4, verbose=0, callbacks=beside)
    files = event_files.files(tmp_path / "train")
    assert len(files) == 4
    assert all(event_files.records(file) >= (2, 0) for file in files)
    scalars = event_files.scalars(tmp_path / "train")
    assert sorted(event_files.steps(scalars["gradients/global_norm"])) == [1, 2, 3, 4, 6, 8]
    assert event_files.steps(scalars["epoch_loss"]) == [0, 0, 1, 1]


CHILD = """
import sys, time
import keras
import numpy as np
from kopt import callbacks

class Reporter(keras.callbacks.Callback):
    step = 0
    def on_train_batch_end(self, batch, logs=None):
        self.step += 1
        time.sleep(0.02)
        sys.stdout.write(f"{self.step} {time.monotonic()}\\n")
        sys.stdout.flush()
        if self.step == FAIL_AT:
            raise RuntimeError("The user's own trouble.")

model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-3, 1000)), "mse")
x, y = np.ones((4000, 4)), np.ones((4000, 1))
monitor = callbacks.TensorBoard(sys.argv[1], gradients=1, gradient_histograms=True, **OPTIONS)
model.fit(x, y, batch_size=4, epochs=EPOCHS, steps_per_epoch=STEPS, verbose=0, callbacks=[monitor, Reporter()])
assert ALLOWED or "tensorflow" not in sys.modules, "TensorFlow was imported."
"""


def child(log_dir, epochs, steps, fail_at=0, allowed=True, **options):
    """Starts a process that trains with a monitor and prints each step with its time."""
    values = {"EPOCHS": epochs, "STEPS": steps, "FAIL_AT": fail_at, "ALLOWED": allowed, "OPTIONS": options}
    script = "".join(f"{name} = {value!r}\n" for name, value in values.items()) + CHILD
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "KERAS_BACKEND": monitored.BACKEND}
    return subprocess.Popen(
        [sys.executable, "-c", script, str(log_dir)], text=True, env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_a_killed_process_leaves_all_but_the_last_second(tmp_path):
    process, reported = child(tmp_path, epochs=1, steps=10**6), []
    for line in process.stdout:
        step, moment = line.split()
        reported.append((int(step), float(moment)))
        if len(reported) > 30 and reported[-1][1] - reported[30][1] > 2.5:
            os.kill(process.pid, signal.SIGKILL)
            break
    reported += [(int(step), float(moment)) for step, moment in map(str.split, process.stdout.readlines()[:-1])]
    process.stderr.close()
    assert process.wait(timeout=60) == -signal.SIGKILL
    (file,) = event_files.files(tmp_path / "train")
    # It may end inside a record, as any file may that is being written: TensorBoard's reader stops there.
    assert event_files.records(file)[0] > 30
    found = event_files.scalars(tmp_path / "train")
    steps = event_files.steps(found["gradients/global_norm"])
    assert steps == list(range(1, len(steps) + 1))
    assert event_files.steps(event_files.histograms(tmp_path / "train")["gradients/dense/kernel"])[-1] >= steps[-1] - 1
    # A step's numbers are fetched a quarter of a second later, and the file is flushed every half second.
    end = reported[-1][1]
    safe = [step for step, moment in reported if moment < end - 1.5]
    assert len(safe) > 30
    assert steps[-1] >= safe[-1], f"Of {reported[-1][0]} steps, the file ends at {steps[-1]}."


@pytest.mark.slow
def test_a_process_that_fails_leaves_what_it_saw(tmp_path):
    process = child(tmp_path, epochs=1, steps=100, fail_at=40)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "own trouble" in errors
    (file,) = event_files.files(tmp_path / "train")
    assert event_files.records(file) == (84, 0), "A head, the page's three, and 40 steps with scalars and histograms."
    assert event_files.hparams(tmp_path).status == "STATUS_FAILURE"
    assert event_files.steps(event_files.scalars(tmp_path / "train")["gradients/global_norm"]) == list(range(1, 41))


@pytest.mark.skipif(monitored.BACKEND != "torch", reason="Nothing here runs on a backend.")
@pytest.mark.parametrize(
    "tags", [("a",), ("loss/total", "é", "x" * 300), tuple(f"updates_norm/{n}" for n in range(200))]
)
def test_an_event_of_scalars_is_what_protobuf_makes(tags, monkeypatch):
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.summary_pb2 import Summary

    monkeypatch.setattr(time, "time", lambda: 1234.5)
    serialise = event_file.ScalarEvent(tags)
    for step, first in [(0, 0.0), (1, -0.1), (2**40, float("inf")), (7, float("nan")), (8, 1e-42), (9, 3.4e38)]:
        numbers = [first, *(0.3 * n for n in range(1, len(tags)))]
        values = [Summary.Value(tag=tag, simple_value=number) for tag, number in zip(tags, numbers, strict=True)]
        expected = Event(wall_time=1234.5, step=step, summary=Summary(value=values))
        found = Event.FromString(serialise(numbers, step))
        assert found.SerializeToString(deterministic=True) == expected.SerializeToString(deterministic=True)
    with pytest.raises(OverflowError):
        serialise([1e300] * len(tags), 1)


@pytest.mark.skipif(monitored.BACKEND != "torch", reason="Nothing here runs on a backend.")
def test_numbers_of_64_bits_and_copies_in_forks(tmp_path):
    writer = EventWriter(str(tmp_path))
    writer.add_scalars({"large": 1e300, "negative": -1e300, "small": 1e-300, "usual": 0.5}, 3)
    child = os.fork()
    if child == 0:  # What waits in its copy is the parent's to write.
        writer.flush()
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            writer.close()
        os._exit(len(told))
    assert os.waitpid(child, 0)[1] == 0
    writer.close()
    (file,) = event_files.files(tmp_path)
    assert event_files.records(file) == (2, 0)
    found = {tag: points[0][1] for tag, points in event_files.scalars(tmp_path).items()}
    assert found == {"large": float("inf"), "negative": -float("inf"), "small": 0.0, "usual": 0.5}


FULL = """
import resource, signal, sys, time, warnings
from kopt.callbacks import event_file
from kopt.callbacks.writer import EventWriter

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
writer = EventWriter(sys.argv[1])
for step in range(100):
    writer.add_scalars({"loss/total": float(step)}, step)
writer.flush()
size = writer._file._file._size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, resource.RLIM_INFINITY))
for step in range(100, 200):
    writer.add_scalars({"loss/total": float(step)}, step)
writer.flush()
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    for step in range(200, 210):
        writer.add_scalars({"loss/total": float(step)}, step)
print([str(warning.message) for warning in told])
if sys.argv[2] == "space again":
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    writer.close()
print([str(warning.message) for warning in told])
"""


@pytest.mark.skipif(monitored.BACKEND != "torch", reason="Nothing here runs on a backend.")
@pytest.mark.parametrize("later", ["space again", "never"])
def test_a_disk_that_fills_up_is_told_and_tears_no_event(tmp_path, later):
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "KERAS_BACKEND": monitored.BACKEND}
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path), later], text=True, env=environment, capture_output=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    meanwhile, end = map(ast.literal_eval, done.stdout.splitlines())
    (told,) = meanwhile
    assert f"cannot be written to '{tmp_path}/events" in told
    assert "File too large" in told
    (file,) = event_files.files(tmp_path)
    assert event_files.records(file) == (101 if later == "never" else 211, 0)
    steps = event_files.steps(event_files.scalars(tmp_path)["loss/total"])
    if later == "never":
        assert "110 of them are lost" in end[0]
        assert steps == list(range(100))
    else:
        assert end == []
        assert steps == list(range(210))


@without_tensorflow
def test_tensorflow_is_not_imported(tmp_path):
    options = {"histogram_freq": 1, "write_images": True, "write_steps_per_second": True, "update_freq": "batch"}
    process = child(tmp_path, epochs=2, steps=3, allowed=False, **options)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert event_files.steps(event_files.scalars(tmp_path / "train")["gradients/global_norm"]) == list(range(1, 7))

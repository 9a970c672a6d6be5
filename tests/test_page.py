"""Does a run show what the page promises: layout, hyperparameters, card, schedule, samples, and train as without?"""

import json
import re
import subprocess
import sys

import event_files
import keras
import monitored
import numpy as np
import pytest
from classifiers import BATCHES, CLASSES, EPOCHS, X, Y, classifier, trained

from kopt import callbacks
from kopt.callbacks import card, layout


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    log_dir = tmp_path_factory.mktemp("page")
    return log_dir, *trained(log_dir, gradients=2, samples=(X, Y), class_names=CLASSES)


def state(model):
    variables = [*model.variables, *model.optimizer.variables, *model.metrics_variables]
    return {f"{i}: {v.path}": keras.ops.convert_to_numpy(v) for i, v in enumerate(variables)}


def test_the_training_is_the_same_as_without(run):
    _, model, history, _ = run
    plain, expected, _ = trained(None)
    assert history == expected
    found, wanted = state(model), state(plain)
    assert found.keys() == wanted.keys()
    assert any("seed" in path for path in found)
    for path, value in wanted.items():
        np.testing.assert_array_equal(found[path], value, err_msg=path)


def test_the_charts_of_the_layout_have_curves(run):
    (charts,) = event_files.layouts(run[0] / "train")
    tags = {*event_files.scalars(run[0] / "train"), *event_files.scalars(run[0] / "validation")}
    shown = {
        (category, title): {tag for tag in tags if any(re.match(pattern, tag) for pattern in patterns)}
        for category, of in charts.items()
        for title, patterns in of.items()
    }
    assert shown["Loss and metrics", "loss of each epoch"] == {"epoch_loss"}
    assert shown["Loss and metrics", "metrics of each epoch"] == {"epoch_accuracy"}
    assert shown["Loss and metrics", "loss of each batch"] == {"loss/total"}
    assert shown["Gradients", "norm before and after clipping"] == {
        "gradients/global_norm",
        "gradients/global_norm_clipped",
    }
    (updates,) = [found for (category, _), found in shown.items() if category == "Updates"]
    assert updates == {tag for tag in tags if tag.startswith("update_to_weight/")} | {layout.GUIDE}
    assert "update_to_weight/head/kernel" in updates
    assert shown["Learning rate", "learning rate"] == {"learning_rate"}
    patterns = [pattern for of in charts.values() for found in of.values() for pattern in found]
    for tag in ("noise/scale", "curvature/trace", "estimates/distance"):
        assert any(re.match(pattern, tag) for pattern in patterns), tag


def test_the_guide_is_a_line_under_the_ratios(run):
    points = event_files.scalars(run[0] / "train")
    assert event_files.steps(points[layout.GUIDE]) == event_files.steps(points["update_to_weight/head/kernel"])
    assert all(value == pytest.approx(1e-3) for _, value in points[layout.GUIDE])


def test_hyperparameters_metrics_and_end(run):
    found = event_files.hparams(run[0])
    assert found.status == "STATUS_SUCCESS"
    assert found.values["optimizer"] == "AdamW"
    assert found.values["schedule"] == "Warmup"
    assert found.values["beta_1"] == pytest.approx(0.9)
    assert found.values["global_clipnorm"] == 1.0
    assert (found.values["epochs"], found.values["steps_per_epoch"]) == (EPOCHS, BATCHES)
    assert found.values["learning_rate"] == pytest.approx(0.1, rel=0.1), "The greatest rate of the schedule."
    assert not {"name", "ema_momentum"} & found.values.keys()
    assert found.columns.keys() == found.values.keys()
    assert found.columns["learning_rate"] == "DATA_TYPE_FLOAT64"
    logs = {"train": ("epoch_loss", "epoch_accuracy"), "validation": ("epoch_loss", "epoch_accuracy")}
    assert set(found.metrics) == {(group, tag) for group, tags in logs.items() for tag in tags}
    for group, tag in found.metrics:
        assert tag in event_files.scalars(run[0] / group)


def test_the_card(run):
    ((step, text),) = event_files.texts(run[0] / "train")["run"]
    assert step == 0
    for words in (
        "| model | `animals`",
        "| optimizer | AdamW |",
        f"| run | {EPOCHS} epochs of {BATCHES} batches |",
        f"keras {keras.__version__}",
        f"python {sys.version.split()[0]}",
        f"numpy {np.__version__}",
        monitored.BACKEND,
        "| devices | ",
        "| command line | ",
        "head (Dense)",
        '"class_name": "Warmup"',
    ):
        assert words in text, words
    config = re.search(r"```json\n(.*?)\n```", text, re.DOTALL).group(1)
    assert json.loads(config)["config"]["global_clipnorm"] == 1.0
    assert "Left out" not in text or "git commit" in text.split("Left out")[1]


def test_the_picture_of_the_schedule(run):
    ((step, (picture,)),) = event_files.images(run[0] / "train")["learning_rate/schedule"]
    assert step == 0
    assert picture.shape == (320, 500, 3)
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 10, "It is empty."


def test_samples_are_shown_after_each_epoch(run):
    found = event_files.images(run[0] / "train")
    for tag in ("samples/confusion_matrix", "samples/predictions"):
        assert event_files.steps(found[tag]) == [0, 1]
        (first,), (second,) = (pictures for _, pictures in found[tag])
        assert first.shape == second.shape


def test_without_a_page_there_is_none(tmp_path):
    model = monitored.mlp()
    model.compile(keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.1, 8)), "mse", run_eagerly=True)
    fitted(tmp_path, model, steps=4, page=False)
    assert not event_files.files(tmp_path)
    train = tmp_path / "train"
    assert not event_files.texts(train)
    assert not event_files.images(train)
    assert not event_files.layouts(train)
    assert "epoch" in event_files.scalars(train), "Resuming needs it."


class Odd(keras.optimizers.SGD):
    """An optimizer that cannot be told."""

    def get_config(self):
        raise NotImplementedError("It has none.")


def fitted(log_dir, model, data=None, steps=None, **options):
    x, y = data or monitored.regression()
    monitor = callbacks.TensorBoard(log_dir, gradients=0, **options)
    source = ((x[i : i + 4], y[i : i + 4]) for i in range(0, 16, 4)) if steps is None else x
    model.fit(source, None if steps is None else y, verbose=0, callbacks=[monitor])


def test_what_cannot_be_had_is_left_out_and_said(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    model = monitored.mlp()
    model.compile(Odd(keras.optimizers.schedules.CosineDecay(0.1, 8)), "mse", run_eagerly=True)
    fitted(tmp_path, model)
    ((_, text),) = event_files.texts(tmp_path / "train")["run"]
    missing = text.split("### Left out")[1]
    for words in ("hyperparameters: NotImplementedError: It has none.", "git commit: FileNotFoundError",
                  "Optimizer and schedule: NotImplementedError",
                  "learning-rate schedule: ValueError: the length of the run is not known"):  # fmt: skip
        assert words in missing, words
    assert "learning_rate/schedule" not in event_files.images(tmp_path / "train")
    assert event_files.hparams(tmp_path).status == "STATUS_SUCCESS"


def test_hyperparameters_of_the_user(tmp_path):
    model = monitored.mlp()
    model.compile("sgd", "mse", run_eagerly=True)
    given = {"rate": np.float32(0.5), "layers": np.int64(3), "deep": np.True_, "kind": "mlp"}
    fitted(tmp_path, model, steps=4, hparams=given)
    found = event_files.hparams(tmp_path)
    assert found.values == {"rate": 0.5, "layers": 3.0, "deep": True, "kind": "mlp"}
    kinds = {"rate": "FLOAT64", "layers": "FLOAT64", "deep": "BOOL", "kind": "STRING"}
    assert found.columns == {name: f"DATA_TYPE_{kind}" for name, kind in kinds.items()}


def test_git_says_commit_and_changes(tmp_path):
    def git(*arguments):
        who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        subprocess.run(["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True)

    git("init")
    with pytest.raises(ValueError, match=r"revision|HEAD"):
        card.commit(str(tmp_path))
    (tmp_path / "file").write_text("1")
    git("add", ".")
    git("commit", "-m", "first")
    assert re.fullmatch(r"`[0-9a-f]{12}`", card.commit(str(tmp_path)))
    (tmp_path / "file").write_text("2")
    assert card.commit(str(tmp_path)).endswith(" +changes")


def test_a_git_that_hangs_is_left_out(tmp_path, monkeypatch):
    slow = tmp_path / "git"
    slow.write_text("#!/bin/sh\nexec sleep 30\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(card, "_GIT_SECONDS", 0.2)
    with pytest.raises(ValueError, match="did not answer"):
        card.commit(str(tmp_path))


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"page": 1}, r"`page` must be True or False"),
        ({"hparams": [1]}, r"`hparams` must be a dict"),
        ({"hparams": {"a": None}}, r"`hparams\['a'\]` must be a bool, an int, a finite float or a str"),
        ({"hparams": {"a": float("nan")}}, r"`hparams\['a'\]` must be"),
        ({"hparams": {1: 2}}, r"`hparams` must be a dict from names"),
        ({"samples": X}, r"`samples` must be a pair"),
        ({"samples": (X, Y[:3])}, r"`samples` must be a pair .*as many of the one as of the other"),
        ({"samples": (X[:0], Y[:0])}, r"`samples` must be a pair"),
        ({"samples": (X, Y + 0.5)}, r"`samples\[1\]` must be whole numbers"),
        ({"samples": (X, X)}, r"`samples\[1\]` must be whole numbers of shape \(n,\)"),
        ({"class_names": ["a"]}, r"`class_names` must be None without `samples`"),
        ({"samples": (X, Y), "class_names": "ab"}, r"`class_names` must be a list of strings"),
    ],
)
def test_bad_arguments_are_told(tmp_path, keywords, message):
    with pytest.raises(ValueError, match=message):
        callbacks.TensorBoard(tmp_path, **keywords)


@pytest.mark.parametrize(
    ("y", "names", "outputs", "message"),
    [
        (Y, ["a", "b"], 3, r"`class_names` must be a list of 3 names"),
        (Y + 1, None, 3, r"`samples\[1\]` must be classes from 0 to 2. Received: .*1 to 3"),
        (np.eye(4)[Y], None, 3, r"`samples\[1\]` must be classes, or one-hot rows of the 3 classes"),
        (Y, None, 1, r"`samples\[1\]` must be classes from 0 to 1"),
        (Y, None, None, r"`samples` must be for a classifier with one output"),
    ],
)
def test_samples_that_do_not_fit_the_model_are_told_before_training(tmp_path, y, names, outputs, message):
    model = classifier(outputs or 3) if outputs else keras.Sequential([keras.Input((9, 9, 1))])
    if outputs is None:
        model.add(keras.layers.Conv2D(2, 3))
    model.compile("sgd", "mse", run_eagerly=True)
    before = model.get_weights()
    target = np.zeros(model.compute_output_shape((32, 9, 9, 1)))
    with pytest.raises(ValueError, match=message):
        model.fit(X, target, verbose=0, callbacks=[callbacks.TensorBoard(tmp_path, samples=(X, y), class_names=names)])
    for one, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


KINDS = {
    "one-hot": (np.eye(3)[Y], 3, "softmax", keras.losses.CategoricalCrossentropy()),
    "binary": (np.minimum(Y, 1), 1, "sigmoid", keras.losses.BinaryCrossentropy()),
    "binary-column": (np.minimum(Y, 1)[:, None].astype(bool), 1, "sigmoid", keras.losses.BinaryCrossentropy()),
    "logits": (np.minimum(Y, 1), 1, None, keras.losses.BinaryCrossentropy(from_logits=True)),
    "sparse-column": (Y[:, None], 3, None, keras.losses.SparseCategoricalCrossentropy(from_logits=True)),
}


@pytest.mark.parametrize(
    "kind", ["binary", "one-hot", *(pytest.param(k, marks=pytest.mark.slow) for k in list(KINDS)[2:])]
)
def test_the_confusion_matrix_counts_what_the_model_predicts(kind, monkeypatch):
    from kopt.callbacks import samples

    y, outputs, activation, loss = KINDS[kind]
    model = classifier(outputs, activation)
    model.compile("sgd", loss)
    drawn = []
    monkeypatch.setattr(samples, "confusion_picture", lambda counts, names: drawn.append(counts) or np.zeros((4, 4, 3)))
    monkeypatch.setattr(samples, "_CHUNK", 7)
    shown = samples.Samples((X, y), None)
    shown.check(model)
    shown.values(model)
    predicted = keras.ops.convert_to_numpy(model(X, training=False))
    found = predicted.argmax(1) if outputs > 1 else (predicted[:, 0] > (0.0 if kind == "logits" else 0.5)).astype(int)
    true = np.asarray(y).argmax(1) if kind == "one-hot" else np.asarray(y).reshape(-1).astype(int)
    expected = np.zeros((max(outputs, 2),) * 2, int)
    for row, column in zip(true, found, strict=True):
        expected[row, column] += 1
    np.testing.assert_array_equal(drawn[0], expected)


def test_samples_that_are_no_pictures_are_listed():
    from kopt.callbacks.samples import Samples

    model = keras.Sequential([keras.Input((81,)), keras.layers.Dense(3)])
    model.compile("sgd", "mse")
    _, listed = Samples((X.reshape(32, 81), Y), CLASSES).values(model)
    text = listed.tensor.string_val[0].decode()
    assert text.splitlines()[0] == "| sample | true class | predicted class |"
    assert text.splitlines()[2].startswith(f"| 0 | {CLASSES[Y[0]]} | ")


def test_a_fit_that_fails_is_a_failure_when_the_process_ends(tmp_path):
    monitor = callbacks.TensorBoard(tmp_path, gradients=0)
    model = monitored.mlp()
    model.compile("sgd", "mse", run_eagerly=True)
    trouble = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: 1 / 0)
    x, y = monitored.regression()
    with pytest.raises(ZeroDivisionError):
        model.fit(x, y, verbose=0, callbacks=[monitor, trouble])
    monitor._page._fail()  # `atexit` calls it.
    assert event_files.hparams(tmp_path).status == "STATUS_FAILURE"


@pytest.mark.slow
@pytest.mark.skipif(monitored.BACKEND == "torch", reason="Keras distributes on TensorFlow and JAX.")
def test_samples_of_a_distributed_model(tmp_path):
    from devices import data_parallel, distributed, mirrored

    with mirrored() if monitored.BACKEND == "tensorflow" else distributed(data_parallel):
        model = classifier()
        model.compile("sgd", "sparse_categorical_crossentropy")
        monitor = callbacks.TensorBoard(tmp_path, gradients=0, samples=(X, Y))
        model.fit(X, Y, batch_size=8, verbose=0, callbacks=[monitor])
    assert event_files.steps(event_files.images(tmp_path / "train")["samples/confusion_matrix"]) == [0]

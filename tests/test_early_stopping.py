"""Early stopping: Keras' rule is kept, and the evidence is what a closed form gives."""

import keras
import numpy as np
import probed
import pytest
import watched
from keras import ops

import kopt
from kopt import monitoring
from kopt.callbacks import EarlyStopping
from kopt.testing import problems

WIDTH, BATCH = 400, 64
# PyTorch's generator is the only one that a pass could disturb, and the rule for metrics is Keras' own.
fast_on_torch = pytest.mark.slow if keras.backend.backend() != "torch" else lambda test: test


def linear(x):
    """A model whose loss is the mean of w x: the gradient of each example is the example itself, whatever w is."""
    model = keras.Sequential(
        [keras.Input((x.shape[1],)), keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")]
    )
    model.compile(keras.optimizers.SGD(1e-3), loss=mean_output)
    return model


def mean_output(y, out):
    return ops.mean(out, axis=-1)


def drawn(mean, rows=BATCH, seed=0):
    """Returns examples, and so gradients, with a mean and a standard deviation of 1."""
    return (mean + np.random.default_rng(seed).normal(size=(rows, WIDTH))).astype("float32")


def closed_form(x, parts):
    """The evidence of a batch of gradients, in float64."""
    means = x.astype("float64").reshape(parts, -1, x.shape[1]).mean(1)
    variances = means.var(0, ddof=1) / parts
    return 1 - (parts - 3) / (parts - 1) * np.mean(means.mean(0) ** 2 / variances)


@pytest.mark.parametrize("parts", [4, 16])
def test_evidence_is_the_closed_form(tmp_path, parts):
    x = drawn(0.1, rows=4 * BATCH)
    found, _ = watched.watched(
        tmp_path, [monitoring.Evidence(parts, smoothing=0.5)], data=(x, np.zeros((len(x), 1))), model=linear(x),
        batch_size=BATCH, loss=mean_output,
    )  # fmt: skip
    expected = [closed_form(x[i : i + BATCH], parts) for i in range(0, len(x), BATCH)]
    np.testing.assert_allclose([found["evidence/noise_only"][step] for step in range(1, 5)], expected, rtol=1e-4)
    mean = 0.0
    for step, value in enumerate(expected, start=1):
        mean = 0.5 * mean + 0.5 * value
        smoothed = found["evidence/noise_only_smoothed"][step]
        assert smoothed == pytest.approx(mean / (1 - 0.5**step), rel=1e-4)


@pytest.mark.parametrize("mean", [0.0, 0.2])
def test_evidence_of_known_noise(mean):
    """B examples with the variance 1 and the mean m: the evidence is -B m^2, and 0 for noise alone."""
    values = [closed_form(drawn(mean, seed=seed), 16) for seed in range(50)]
    assert np.mean(values) == pytest.approx(-BATCH * mean**2, abs=4 * np.std(values) / np.sqrt(50))
    assert np.std(values) / np.sqrt(50) < 0.03


@pytest.mark.parametrize("by", ["own", "board"])
def test_noise_ends_the_training(by, tmp_path):
    """Gradients that are noise alone: their average turns the evidence positive sooner or later; signal never does."""
    ends = []
    for mean in (0.0, 0.5):
        x = drawn(mean, rows=20 * BATCH)
        evidence = monitoring.Evidence(16, smoothing=0.8)
        stopping = EarlyStopping(evidence=1 if by == "own" else evidence)
        if by == "own":
            stopping.evidence.smoothing = 0.8
        board = [] if by == "own" else [kopt.callbacks.TensorBoard(str(tmp_path), monitor=[evidence], every=1)]
        model = linear(x)
        model.fit(x, np.zeros((len(x), 1)), BATCH, epochs=3, verbose=0, callbacks=[*board, stopping])
        ends.append((stopping.stopped_by, int(ops.convert_to_numpy(model.optimizer.iterations))))
    assert ends[0][0] == "evidence"
    assert ends[0][1] < 60
    assert ends[1] == (None, 60)


@fast_on_torch
def test_the_metric_stops_as_in_keras():
    x, y = probed.digits()
    ends = []
    for kind in (EarlyStopping, keras.callbacks.EarlyStopping):
        model = probed.noisy(keras.optimizers.SGD(3.0))
        stopping = kind("val_loss", 0.01, 1, 0, "min", None, True, 1)
        history = model.fit(x, y, epochs=12, validation_split=0.3, verbose=0, callbacks=[stopping])
        ends.append([*problems.values(model.variables), *map(np.array, history.history.values())])
        assert stopping.stopped_epoch > 0
    problems.assert_same(*ends)
    assert kind is keras.callbacks.EarlyStopping


@fast_on_torch
def test_looking_changes_nothing():
    x, y = probed.digits()
    ends = []
    for stopping in ([EarlyStopping("loss", patience=9, evidence=2)], []):
        model = probed.noisy(keras.optimizers.Adam(1e-3))
        model.fit(x, y, epochs=2, verbose=0, callbacks=stopping)
        ends.append(probed.state(model))
    problems.assert_same(*ends)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"`evidence` must be an integer >= 1\. Received: evidence=0"):
        EarlyStopping(evidence=0)
    with pytest.raises(ValueError, match="`parts` must be an integer >= 4"):
        monitoring.Evidence(3)
    assert np.isnan(monitoring.Evidence().smoothed)

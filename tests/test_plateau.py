"""Does the rate fall when Keras' and torch's callbacks let it fall, and are the counts kept?"""

import event_files
import keras
import numpy as np
import pytest
from keras import ops

from kopt import callbacks, optimizers, schedules, transforms
from kopt.testing import problems
from kopt.testing.training_checks import compiled

NAN = float("nan")
FALLING = [1.0, 0.9, 0.95, 0.9, 0.9, NAN, 0.9, 0.3, 0.3, 0.31, 0.3, 0.295, 0.3, 0.3, 0.1, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2]
SETTINGS = [
    {"factor": 0.5, "patience": 1, "min_delta": 0.0},
    {"factor": 0.5, "patience": 3, "min_delta": 0.02},
    {"factor": 0.3, "patience": 2, "min_delta": 0.0, "cooldown": 2},
    {"factor": 0.3, "patience": 1, "min_delta": 0.0, "cooldown": 1},
    {"factor": 0.0, "patience": 4, "min_delta": 0.0},
]
MODES = [("val_loss", "auto", 1), ("accuracy", "auto", -1), ("auc", "auto", -1), ("loss", "max", -1), ("acc", "min", 1)]


def sgd(transform, rate=1.0, **options):
    """Returns a built optimizer that `transform` stands in."""
    optimizer = optimizers.SGD(rate, before=[transform], **options)
    optimizer.build(problems.variables())
    return optimizer


def factor_of(optimizer):
    return float(ops.convert_to_numpy(optimizer.estimates["plateau_factor"]))


def factors(transform, values):
    """Returns the factor after each report."""
    optimizer, found = sgd(transform), []
    for value in values:
        optimizer.report({transform.monitor: value, "other": 0.0})
        found.append(factor_of(optimizer))
    return found


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize(("monitor", "mode", "sign"), MODES)
def test_the_rate_falls_when_that_of_keras_does(settings, monitor, mode, sign):
    model = compiled(problems.sequential(), keras.optimizers.SGD(1.0))
    reference = keras.callbacks.ReduceLROnPlateau(monitor, mode={-1: "max", 1: "min"}[sign], min_lr=0.05, **settings)
    reference.set_model(model)
    reference.on_train_begin()
    expected = []
    for epoch, value in enumerate(FALLING):
        reference.on_epoch_end(epoch, {monitor: sign * value})
        expected.append(float(ops.convert_to_numpy(model.optimizer.learning_rate)))
    transform = transforms.ReduceOnPlateau(monitor, mode=mode, min_factor=0.05, **settings)
    np.testing.assert_allclose(factors(transform, [sign * value for value in FALLING]), expected, rtol=1e-6)
    assert expected[-1] < expected[0]


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="torch is the oracle")
@pytest.mark.parametrize(("patience", "cooldown"), [(1, 0), (2, 0), (3, 0), (1, 1), (2, 2), (1, 3)])
@pytest.mark.parametrize("threshold", [0.0, 0.02, 0.2])
@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("mode", ["min", "max"])
def test_the_rate_falls_when_that_of_torch_does(patience, cooldown, threshold, relative, mode):
    import torch

    values = [value if mode == "min" else 2 - value for value in FALLING if value == value]
    inner = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(
        inner,
        mode,
        0.5,
        patience - 1,
        threshold,
        "rel" if relative else "abs",
        cooldown - 1 if cooldown else 0,
        min_lr=0.01,
        eps=0.0,
    )
    expected = []
    for value in values:
        reference.step(float(np.float32(value)))
        expected.append(inner.param_groups[0]["lr"])
    options = {"min_delta": threshold, "cooldown": cooldown, "min_factor": 0.01, "relative": relative}
    transform = transforms.ReduceOnPlateau("loss", 0.5, patience, mode, **options)
    np.testing.assert_allclose(factors(transform, values), expected, rtol=1e-6)


@pytest.mark.parametrize(
    "make",
    [
        lambda rate, **k: optimizers.SGD(rate, momentum=0.9, weight_decay=0.3, **k),
        lambda rate, **k: optimizers.AdamW(rate, weight_decay=0.3, groups=[optimizers.Group("bias", 0.5)], **k),
        lambda rate, **k: optimizers.AdamW(schedules.Linear(rate, 5, 0.2 * rate), weight_decay=0.3, **k),
        lambda rate, **k: optimizers.Muon(rate, **k),
        lambda rate, **k: optimizers.ScheduleFreeAdamW(rate, **k),
        lambda rate, **k: optimizers.Prodigy(rate, d0=1e-3, **k),
    ],
)
def test_a_fall_equals_a_lower_rate(make):
    plain, reduced = make(0.05 * 0.25), make(0.05, before=[transforms.ReduceOnPlateau("loss", 0.25, 1)])
    weights = []
    for optimizer in (plain, reduced):
        variables = problems.variables()
        optimizer.build(variables)
        if optimizer is reduced:
            for value in (1.0, 1.0):
                optimizer.report({"loss": value})
        for step in range(6):
            optimizer.apply(problems.tensors(problems.gradients(step)), variables)
        weights.append(problems.values(variables))
    problems.assert_close(*weights)


def plateau_model():
    transform = transforms.ReduceOnPlateau("loss", factor=0.5, patience=2, min_delta=10.0)  # nothing is that good
    return compiled(problems.sequential(), optimizers.AdamW(schedules.Linear(0.05, 50), before=[transform]))


@pytest.mark.filterwarnings("error::UserWarning:kopt")
def test_fit_counts_each_epoch_once_and_goes_on_after_loading(tmp_path):
    model = plateau_model()
    watching = [callbacks.TensorBoard(str(tmp_path / "logs"), gradients=1), callbacks.Report(), callbacks.Report()]
    problems.fit(model, epochs=4, callbacks=watching)  # The first epoch is better than none, the third one is a fall.
    assert factor_of(model.optimizer) == 0.5
    steps = int(ops.convert_to_numpy(model.optimizer.iterations)) // 4
    logged = event_files.scalars(tmp_path / "logs" / "train")["estimates/plateau_factor"]
    assert [value for _, value in logged] == [1.0] * 3 * steps + [0.5] * steps
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for each in (model, loaded):
        problems.fit(each, callbacks=[callbacks.Report()])
        assert factor_of(each.optimizer) == 0.25
    problems.assert_same(problems.values(loaded.trainable_variables), problems.values(model.trainable_variables))


def test_inside_other_optimizers_it_is_told_too():
    inner = optimizers.SGD(0.1, before=[transforms.ReduceOnPlateau("loss", 0.5, 1, min_delta=10.0)])
    model = compiled(problems.sequential(), keras.optimizers.LossScaleOptimizer(inner))
    problems.fit(model, epochs=3, callbacks=[callbacks.Report()])
    assert factor_of(inner) == 0.25


def test_a_metric_that_is_missing_is_named():
    model = compiled(problems.sequential(), optimizers.SGD(0.1, before=[transforms.ReduceOnPlateau("val_loss")]))
    with pytest.warns(UserWarning, match=r"`val_loss`, which this epoch did not give. It gave: .*`loss`"):
        problems.fit(model, callbacks=[callbacks.Report()])
    with pytest.raises(ValueError, match=r"`metrics` must be a dict with `val_loss`.*\['loss'\]"):
        model.optimizer.report({"loss": 1.0})


def test_a_run_without_reports_warns_when_it_ends():
    with pytest.warns(UserWarning, match=r"never told `loss`.*kopt\.callbacks\.Report"):
        problems.fit(plateau_model())


def test_a_report_before_build_raises():
    optimizer = optimizers.SGD(0.1, before=[transforms.ReduceOnPlateau()])
    with pytest.raises(ValueError, match="built"):
        optimizer.report({"val_loss": 1.0})

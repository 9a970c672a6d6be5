"""Does an offline run of W&B hold what was logged, and is a missing package named?"""

import importlib.util
import math
import sys

import pytest
import wandb_files
from sink_plays import Recorder, compiled, play

from kopt import callbacks

with_wandb = pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="W&B is not installed.")


@pytest.fixture
def offline(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_SILENT", "true")
    return {"mode": "offline", "dir": str(tmp_path)}


@with_wandb
def test_a_fit_arrives_with_its_own_x_axis(offline, tmp_path):
    sink, recorder = callbacks.WandB("digits", name="first", init=offline), Recorder()
    model = compiled()
    play(model, callbacks.Monitor([sink, recorder], gradients=0), epochs=3)
    logged, config, axes = wandb_files.run(tmp_path)
    expected = recorder.calls[0][1]
    assert {name: config[name] for name in expected} == expected
    tables = [row for row in logged if "epoch" in row]
    assert [row["optimizer_step"] for row in tables] == [4, 8, 12]
    for tag, points in recorder.points.items():
        assert [row[tag] for row in tables] == pytest.approx([value for _, value in points])
        assert axes[tag] == "optimizer_step"
    assert [row["model_summary"]["_type"] for row in logged if "model_summary" in row] == ["html-file"]


@with_wandb
def test_histograms_and_numbers_that_are_not_finite(offline, tmp_path):
    sink = callbacks.WandB("digits", init=offline)
    sink.open({})
    sink.scalars({"a": math.nan, "b": math.inf}, 3)
    sink.histogram("gradients/kernel", [0.25, 0.5, 1.0], [3.0, 1.0], 3)
    sink.close()
    numbers, histogram = wandb_files.run(tmp_path)[0]
    assert math.isnan(numbers["a"])
    assert (numbers["b"], numbers["optimizer_step"]) == (math.inf, 3)
    assert histogram["gradients/kernel"]["bins"] == [0.25, 0.5, 1.0]
    assert histogram["gradients/kernel"]["values"] == [3.0, 1.0]


@with_wandb
def test_an_active_run_is_used_and_left_open(offline, tmp_path):
    import wandb

    with wandb.init(project="mine", config={"optimizer": "mine"}, **offline) as active:
        sink = callbacks.WandB()
        sink.open({"optimizer": "Adam", "epochs": 3})
        sink.scalars({"a": 1.0}, 7)
        sink.close()
        assert wandb.run is active
        active.log({"own": 2.0})
    logged, config, axes = wandb_files.run(tmp_path)
    assert logged == [{"a": 1.0, "optimizer_step": 7}, {"own": 2.0}]
    assert (config["optimizer"], config["epochs"], axes) == ("mine", 3, {"a": "optimizer_step"})


@with_wandb
def test_what_wandb_refuses_is_warned_about_once(offline):
    sink, recorder = callbacks.WandB("not/allowed", init=offline), Recorder()
    with pytest.warns(UserWarning, match=r"WandB\('not/allowed'\)` failed to open .*left out of this `fit`"):
        play(compiled(), callbacks.Monitor([sink, recorder], gradients=0), epochs=2)
    assert len(recorder.points["epoch_loss"]) == 2


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ImportError, match=r"`WandB` needs the package `wandb`: pip install wandb"):
        callbacks.WandB()


@with_wandb
@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"project": 3}, r"`project` must be a string that is not empty. Received: project=3"),
        ({"name": ""}, r"`name` must be a string that is not empty"),
        ({"init": "offline"}, r"`init` must be a dict of keywords for `wandb.init`. Received: init='offline'"),
    ],
)
def test_bad_arguments_are_named(keywords, message):
    with pytest.raises(ValueError, match=message):
        callbacks.WandB(**keywords)

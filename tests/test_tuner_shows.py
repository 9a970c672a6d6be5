"""What is seen of a search: on the console and in TensorBoard."""

import io

import event_files
import keras
import keras_tuner
import pytest
import searches
from rich.console import Console
from searches import curve_tuner

from kopt import tuning
from kopt.tuning import progress
from kopt.tuning.front import Objectives
from kopt.tuning.outcome import Outcome

only_once = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="trains nothing: the same anywhere")
X, Y = searches.data()


@only_once
def test_the_state_of_a_search_in_words():
    outcomes = {
        "0": Outcome("0", metrics={"score": 0.25}, seconds=100.0),
        "1": Outcome("1", "pruned", metrics={"score": 0.5}, seconds=20.0),
        "2": Outcome("2", "failed", seconds=0.0, error="ValueError: no\nmore"),
    }
    objectives = Objectives(keras_tuner.Objective("score", "min"))
    assert progress.state(outcomes, ["0"], 9, objectives) == (
        "3/9 done, best 0.25 in trial 0, 1 pruned, 1 failed, about 4 min left"
    )
    assert progress.state({}, [], None, objectives) == "0 done"
    assert progress.line(outcomes["2"], ["score"]) == "Trial 2 failed: ValueError: no"
    folded = Outcome("3", metrics={"score": 0.125, "score_std": 0.011})
    assert progress.line(folded, ["score"]) == "Trial 3 completed: score 0.125 ± 0.011"
    assert [progress.duration(s) for s in (3, 119, 120, 7300, 200_000)] == ["3 s", "119 s", "2 min", "2 h", "2 d"]


@only_once
def test_a_terminal_shows_a_bar_and_a_file_the_lines():
    outcomes = {"0": Outcome("0", metrics={"score": 0.25}, seconds=1.0)}
    objectives = Objectives(keras_tuner.Objective("score", "min"))
    told = {}
    for terminal in (True, False):
        console = Console(file=io.StringIO(), force_terminal=terminal, width=120)
        with progress.SearchProgress(4, objectives, shown=True, console=console) as shown:
            shown.update(outcomes, ["0"], outcomes["0"])
        told[terminal] = console.file.getvalue()
        assert "Trial 0 completed: score 0.25; 1/4 done, best 0.25 in trial 0, about 3 s left" in told[terminal]
    assert "━" in told[True]
    assert "━" not in told[False]


@only_once
def test_verbose_0_is_silent(tmp_path, capfd):
    tuner = curve_tuner(tmp_path, max_trials=2)
    capfd.readouterr()
    tuner.search(verbose=0)
    assert capfd.readouterr() == ("", "")
    more = curve_tuner(tmp_path, max_trials=4, on_existing="resume")
    more.search()
    lines = [line for line in capfd.readouterr().out.splitlines() if line.startswith("Trial")]
    assert [line.split("; ")[1].split(" done")[0] for line in lines] == ["3/4", "4/4"]


def test_tensorboard_has_a_run_and_a_row_for_each_trial(tmp_path):
    options = {"objective": "val_loss", "max_trials": 2, "directory": tmp_path, "seed": 0}
    tuner = tuning.Tuner(searches.build, tensorboard=tmp_path / "logs", **options)
    tuner.search(X, Y, validation_split=0.5, epochs=2, batch_size=12, verbose=0)
    best = [value for _, value in event_files.scalars(tmp_path / "logs" / "search")["search/best_so_far"]]
    scores = [tuner.outcomes[key].metrics["val_loss"] for key in "01"]
    assert best == pytest.approx([scores[0], min(scores)], rel=1e-6)
    for key in "01":
        run = tmp_path / "logs" / f"trial_{key}"
        values = [value for _, value in event_files.scalars(run / "validation")["epoch_loss"]]
        assert values == pytest.approx(tuner.outcomes[key].trainings[0].values, rel=1e-6)
        assert "gradients/global_norm" in event_files.scalars(run / "train")
        row = event_files.hparams(run)
        assert row.values == pytest.approx(tuner.oracle.get_trial(key).hyperparameters.values)
        assert row.status == "STATUS_SUCCESS"


def test_tensorboard_has_a_run_for_each_fold_and_a_row_of_the_mean(tmp_path):
    options = {"objective": "val_loss", "max_trials": 1, "directory": tmp_path, "seed": 0, "cv": 2}
    tuner = tuning.Tuner(searches.build, tensorboard=str(tmp_path / "logs"), **options)
    tuner.search(X, Y, epochs=1, batch_size=12, verbose=0)
    run = tmp_path / "logs" / "trial_0"
    for fold in range(2):
        (_, value), = event_files.scalars(run / f"fold_{fold}" / "validation")["epoch_loss"]  # fmt: skip
        assert value == pytest.approx(tuner.outcomes["0"].trainings[fold].metrics["val_loss"], rel=1e-6)
    row = event_files.hparams(run)
    assert row.status == "STATUS_SUCCESS"
    assert row.values == pytest.approx(tuner.oracle.get_trial("0").hyperparameters.values)
    shown = event_files.scalars(run / "validation")
    assert shown["epoch_loss"] == [(0, pytest.approx(tuner.outcomes["0"].metrics["val_loss"], rel=1e-6))]
    assert shown["epoch_loss_std"][0][1] == pytest.approx(tuner.outcomes["0"].metrics["val_loss_std"], rel=1e-6)


@only_once
def test_failed_trials_have_a_row_as_well(tmp_path):
    tuner = curve_tuner(tmp_path, {0: lambda: 1 / 0}, max_trials=1, tensorboard=tmp_path / "logs")
    tuner.search(verbose=0)
    assert event_files.hparams(tmp_path / "logs" / "trial_0").status == "STATUS_FAILURE"


@only_once
def test_runs_of_another_search_are_not_mixed_in(tmp_path):
    curve_tuner(tmp_path, {0: lambda: 1 / 0}, max_trials=2, tensorboard=tmp_path / "logs").search(verbose=0)
    with pytest.raises(ValueError, match="`tensorboard` must be a directory without the runs of another search"):
        curve_tuner(tmp_path, project_name="other", tensorboard=tmp_path / "logs")
    more = curve_tuner(tmp_path, on_existing="resume", max_trials=3, tensorboard=tmp_path / "logs")
    more.search(verbose=0)
    assert len(list((tmp_path / "logs").glob("trial_*"))) == 3
    curve_tuner(tmp_path, on_existing="overwrite", tensorboard=tmp_path / "logs")
    assert not list((tmp_path / "logs").rglob("*tfevents*"))

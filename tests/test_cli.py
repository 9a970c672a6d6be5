"""The command `kopt` on real searches: one that was killed half-way, one that is half written, and what is none."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import keras_tuner
import pytest
from searches import curve_tuner

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(keras.backend.backend() != "torch", reason="no backend is involved: once is enough")
TRIALS = 9
SCRIPT = """
import os, signal, sys
sys.argv[0] = "kopt"  # As in the command: the rooms of the package are there for who asks for them.
import kopt
print("keras" in sys.modules, kopt.SAM.__name__, kopt.optimizers.AdamW.__name__, flush=True)
sys.path.insert(0, {tests!r})
from searches import curve_tuner
acts = {{
    2: lambda: 1 / 0,
    3: lambda: {{"score": 0.5, "[b]": float("nan")}},
    6: lambda: os.kill(os.getpid(), signal.SIGKILL),
}}
curve_tuner(sys.argv[1], acts, max_trials={trials}).search(verbose=0)
"""
# What pip writes for the entry of `[project.scripts]`.
WRAPPER = "import sys\nfrom kopt.cli import main\nif __name__ == '__main__':\n    sys.exit(main())\n"


def kopt(*arguments, code=0, **options):
    """Runs the command in a process of its own, and returns its output, or what it complains of."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "kopt", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, **options)
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done.stderr if code else done.stdout


def contents(directory):
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in directory.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Returns the directory of a search that was killed in its seventh trial."""
    directory = tmp_path_factory.mktemp("killed")
    script = directory / "search.py"
    script.write_text(SCRIPT.format(tests=str(ROOT / "tests"), trials=TRIALS))
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, str(script), str(directory)], env=environment, capture_output=True)
    assert done.returncode == -9, done.stderr
    assert done.stdout.split() == [b"False", b"SAM", b"AdamW"]
    return directory / "search"


@pytest.fixture
def copied(place, tmp_path):
    return Path(shutil.copytree(place, tmp_path / "search"))


def test_each_command_shows_what_the_tuner_does_and_changes_nothing(place, tmp_path):
    before = contents(place)
    table = json.loads(kopt("table", place, "--json"))
    (best,) = json.loads(kopt("best", place, "--json"))
    status = json.loads(kopt("status", place, "--json"))
    kopt("report", place, "-o", tmp_path / "here.html")
    kopt("status", place)
    assert contents(place) == before
    shutil.copytree(place, tmp_path / "search")
    tuner = curve_tuner(tmp_path, max_trials=TRIALS, on_existing="resume")
    rows = tuner.rows()
    assert rows[3].pop("[b]") != table[3].pop("[b]"), "NaN is null in JSON."
    assert table == rows
    assert [row["status"] for row in table] == [*["completed"] * 2, "failed", *["completed"] * 3, "running"]
    chosen = tuner.best_trials()[0]
    assert best["trial"] == chosen.trial_id
    assert best["hyperparameters"] == chosen.hyperparameters.values
    assert best["metrics"] == {"score": chosen.score}
    page = (tmp_path / "here.html").read_text()
    assert page == tuner.report(tmp_path / "there.html").read_text()
    assert status["trials"] == {"completed": 5, "pruned": 0, "failed": 1, "running": 1}
    assert (status["project"], status["max_trials"], status["running"]) == ("search", TRIALS, [table[-1]["trial"]])
    assert status["objectives"] == [{"name": "score", "direction": "min"}]
    mean = sum(row["seconds"] for row in table[:-1]) / 6
    assert status["seconds_left"] == pytest.approx(3 * mean)
    assert not status["done"]


def test_the_status_is_readable(place):
    text = kopt("status", place)
    for line in (r"search +search in .*", r"objective +score \(min\)", r"running +6",
                 r" +u = 0\.\d+", r"trials +6 of 9 ended: 5 completed, 1 failed, 1 running",
                 r"best +score [\d.e-]+ in trial \d, with",
                 r"time +[\d.e-]+ s per trial, about \d+ s left", r"changed +\d{4}-.* ago"):  # fmt: skip
        assert re.search(rf"^{line} *$", text, re.M), (line, text)


def test_tables_are_sorted_and_written(place, tmp_path):
    def column(name, *arguments):
        path = tmp_path / "table.csv"
        kopt("table", place, "--csv", path, *arguments)
        with path.open(newline="") as file:
            return [row[name] for row in csv.DictReader(file)]

    values = [float(value) for value in column("hp/u", "--sort", "u")]
    assert values == sorted(values)
    scores = column("score", "--sort", "score", "--reverse")
    assert scores[-2:] == ["", ""], "What has no score comes last, either way."
    assert list(map(float, scores[:-2])) == sorted(map(float, scores[:-2]), reverse=True)
    assert column("error")[2] == "ZeroDivisionError: division by zero"
    assert column("trial", "--reverse") == column("trial")[::-1]
    text = kopt("table", place)
    assert "ZeroDivisionError: division by zero" in text
    assert "[b]" in text, "Names are no markup."
    assert len(text.splitlines()[0]) > 100, "No column is cut where there is no terminal."
    assert kopt("table", place, "--csv", "-") == (tmp_path / "table.csv").read_text()
    assert "`--sort` must be one of trial, status, score" in kopt("table", place, "--sort", "loss", code=2)


def test_the_best_trials_stand_side_by_side(place):
    text = kopt("best", place, "-n", "3")
    found = json.loads(kopt("best", place, "-n", "3", "--json"))
    heads = re.findall(r"\d+", text.splitlines()[1])
    assert heads == [row["trial"] for row in found]
    scores = [row["metrics"]["score"] for row in found]
    assert scores == sorted(scores)
    assert len(json.loads(kopt("best", place, "-n", "50", "--json"))) == 5
    assert "must be an integer >= 1. Received: 0." in kopt("best", place, "-n", "0", code=2)
    assert "`by` must be one of 'score'." in kopt("best", place, "--by", "loss", code=2)


def test_a_search_is_watched_until_it_is_done(copied):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "kopt", "status", str(copied), "--watch", "--every", "0.1"]
    watching = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    curve_tuner(copied.parent, max_trials=TRIALS, on_existing="resume").search(verbose=0)
    text, _ = watching.communicate(timeout=60)
    assert watching.returncode == 0
    assert re.search(r"trials +9 of 9 ended: 8 completed, 1 failed", text)
    assert "none left" in text


def test_what_is_half_written_is_told_and_left_out(copied):
    (copied / "trial_0" / "outcome.json").write_text('{"trial_id": "0", "sta')
    (copied / "trial_1" / "trial.json").write_text("[]")
    (copied / "trial_4" / "trial.json").unlink()
    status = json.loads(kopt("status", copied, "--json"))
    assert sorted(Path(path).parent.name for path in status["unreadable"]) == ["trial_0", "trial_1"]
    assert status["trials"] == {"completed": 2, "pruned": 0, "failed": 1, "running": 2}
    assert re.search(r"unreadable +.*trial_0", kopt("status", copied))
    kopt("table", copied)
    for path in copied.glob("trial_*/outcome.json"):
        path.unlink()
    assert "No trial of" in kopt("best", copied, code=1)
    assert json.loads(kopt("status", copied, "--json"))["best"] is None
    kopt("status", copied)
    kopt("report", copied, "-o", copied.parent / "none.html")
    shutil.rmtree(copied / "trial_0")
    (copied / "oracle.json").unlink()
    kopt("table", copied)


def test_what_is_no_search_is_told(copied, tmp_path):
    path = copied / "project.json"
    stored = path.read_text()
    assert "in which there are searches: search. Name one of them." in kopt("status", tmp_path, code=2)
    assert f"Received: {tmp_path / 'no'}, which is no directory." in kopt("table", tmp_path / "no", code=2)
    path.write_text(stored[:20])
    assert "project.json cannot be read" in kopt("best", copied, code=2)
    path.write_text(json.dumps(json.loads(stored) | {"format": 99}))
    assert "another version of kopt. Received: format 99, needed: 1." in kopt("report", copied, code=2)
    path.unlink()
    assert "KerasTuner's own tuner" in kopt("status", copied, code=2)
    (tmp_path / "empty").mkdir()
    assert "in which there is none." in kopt("status", tmp_path / "empty", code=2)
    path.write_text(stored)
    assert "No such file or directory" in kopt("report", copied, "-o", tmp_path / "no" / "r.html", code=2)


def test_a_search_of_unknown_length_has_no_estimate(tmp_path):
    options = {"objective": keras_tuner.Objective("score", "max"), "max_epochs_total": 10}
    tuner = curve_tuner(tmp_path, max_trials=2, **options)
    tuner.search(verbose=0)
    path = tmp_path / "search" / "project.json"
    stored = json.loads(path.read_text())
    assert stored.pop("limits") == {"max_trials": 2, "max_epochs_total": 10}
    path.write_text(json.dumps(stored))
    status = json.loads(kopt("status", tmp_path / "search", "--json"))
    assert (status["max_trials"], status["seconds_left"], status["done"]) == (None, None, False)
    assert status["best"]["trial"] == tuner.best_trials()[0].trial_id
    assert "trials" in kopt("status", tmp_path / "search")
    # A search from before there were limits, or with other ones, goes on.
    curve_tuner(tmp_path, max_trials=3, on_existing="resume", **options).search(verbose=0)
    assert json.loads(kopt("status", tmp_path / "search", "--json"))["done"]
    assert json.loads(path.read_text())["limits"]["max_trials"] == 3


def test_the_command_starts_without_keras(place, tmp_path):
    wrapper = tmp_path / "kopt"
    heavy = "{'keras', 'optuna', 'torch', 'sklearn'}"
    look = f"import atexit\natexit.register(lambda: print(sorted({heavy} & set(sys.modules))))\n"
    wrapper.write_text(WRAPPER.replace("import sys\n", f"import sys\n{look}", 1))
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    for arguments in (["--help"], ["launch", "--help"], ["status", str(place)], ["table", str(place)]):
        command = [sys.executable, str(wrapper), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_whoever_has_read_enough_hears_no_complaint(place):
    read, write = os.pipe()
    os.close(read)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "kopt", "table", str(place), "--json"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, env=environment)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, b"")

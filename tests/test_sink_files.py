"""Do the files of JSONLines and CSV read back, whatever happens to the disk, the process and the run before?"""

import csv
import json
import math
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import monitored
import pandas
import pytest

from kopt import callbacks

KINDS = {"jsonl": callbacks.JSONLines, "csv": callbacks.CSV}
both = pytest.mark.parametrize("kind", KINDS)


def refuse(constant):
    raise ValueError(f"{constant} is not JSON.")


def read(path):
    """Returns (step, value) pairs by tag, None for what is not finite, from either kind of file."""
    points = {}
    if path.suffix == ".jsonl":
        for line in path.read_text().splitlines():
            found = json.loads(line, parse_constant=refuse)
            step, moment = found.pop("step"), found.pop("time")
            assert abs(time.time() - moment) < 600
            for tag, value in found.items():
                points.setdefault(tag, []).append((step, value))
    else:
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                assert abs(time.time() - float(row["time"])) < 600
                value = float(row["value"])
                points.setdefault(row["tag"], []).append((int(row["step"]), value if math.isfinite(value) else None))
    return points


def written(path, *moments):
    """Writes (values, step) pairs as one `fit` does, with a new sink."""
    sink = KINDS[path.suffix[1:]](path)
    sink.open({})
    for values, step in moments:
        sink.scalars(values, step)
    sink.close()


@both
def test_values_read_back_exactly(tmp_path, kind):
    path = tmp_path / "not" / "yet" / f"run.{kind}"
    values = {"loss/total": 0.1 + 0.2, "gradients_norm/a,b/kernel": 1e-38, 'quoted "name"': -2.5e300, "größe": 3.0}
    written(path, (values, 1), ({"nan": math.nan, "up": math.inf, "down": -math.inf}, 2), ({"epoch": 0.0}, 2))
    expected = {tag: [(1, value)] for tag, value in values.items()}
    assert read(path) == expected | {"nan": [(2, None)], "up": [(2, None)], "down": [(2, None)], "epoch": [(2, 0.0)]}


def test_the_files_read_in_pandas(tmp_path):
    for kind in KINDS:
        moments = [({"a": step / 3, "b": math.inf if step == 2 else 1.0}, step) for step in (1, 2, 3)]
        written(tmp_path / f"run.{kind}", *moments, ({"epoch": 0.0, "epoch_loss": 2.0}, 3))
    wide = pandas.read_json(tmp_path / "run.jsonl", lines=True).groupby("step").first()
    long = pandas.read_csv(tmp_path / "run.csv")
    assert long.dtypes["value"] == "float64"
    pivot = long.pivot_table("value", "step", "tag")
    for table in (wide, pivot):
        assert table["a"].to_list() == pytest.approx([1 / 3, 2 / 3, 1.0], rel=1e-15)
        assert table["epoch_loss"].to_list()[2] == 2.0
        assert table["epoch_loss"].isna().to_list() == [True, True, False]
    assert wide["b"].isna().to_list() == [False, True, False]
    assert pivot["b"].to_list() == [1.0, math.inf, 1.0]


def test_the_documented_ways_to_read_work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for kind in KINDS:
        moments = [({"gradients/global_norm": step / 4}, step) for step in (1, 2, 4)]
        written(
            Path("logs") / f"first.{kind}", *moments, ({"epoch": 0.0, "epoch_loss": 2.0, "epoch_learning_rate": 1.0}, 4)
        )
    sink = callbacks.JSONLines("logs/first.jsonl")
    sink.open({})
    sink.histogram("gradients/kernel", [0.25, 0.5, 1.0], [3.0, 1.0], 5)
    sink.close()
    page = (Path(__file__).parents[1] / "docs" / "tensorboard.md").read_text().split("## Without TensorBoard")[1]
    blocks = [block.split("```")[0] for block in page.split("```python\n")[1:]]
    with_pandas, without = ({}, {})
    exec(next(block for block in blocks if "import pandas" in block), with_pandas)
    exec(next(block for block in blocks if "import csv, json" in block), without)
    assert with_pandas["norms"].to_dict() == dict(without["norms"]) == {1: 0.25, 2: 0.5, 4: 1.0}
    assert with_pandas["epochs"].to_dict("index") == {0.0: {"epoch_loss": 2.0, "epoch_learning_rate": 1.0}}
    assert with_pandas["table"]["gradients/global_norm"].to_list() == [0.25, 0.5, 1.0]


def test_json_lines_keep_histograms(tmp_path):
    sink = callbacks.JSONLines(tmp_path / "run.jsonl")
    sink.open({})
    sink.histogram("gradients/kernel", [0.25, 0.5, 1.0], [3.0, 1.0], 7)
    assert read(tmp_path / "run.jsonl") == {
        "gradients/kernel": [(7, {"edges": [0.25, 0.5, 1.0], "counts": [3.0, 1.0]})]
    }
    sink.close()


@both
def test_a_line_is_in_the_file_when_the_call_returns(tmp_path, kind):
    path = tmp_path / f"run.{kind}"
    sink = KINDS[kind](path)
    sink.open({})
    for step in range(3):
        sink.scalars({"a": 1.0}, step)
        assert len(read(path)["a"]) == step + 1
    sink.close()


@both
def test_a_resumed_run_goes_on_behind_the_last_step_of_each_tag(tmp_path, kind):
    path = tmp_path / f"run.{kind}"
    written(path, ({"a": 1.0, "b": 1.0}, 0), ({"a": 1.0}, 5), ({"a": 1.0}, 5))
    before = path.read_bytes()
    with pytest.warns(UserWarning, match=rf"run.{kind}' already has `a` up to step 5.* from step 3 .* own") as warned:
        written(path, ({"a": 2.0}, 3), ({"a": 2.0, "b": 2.0}, 5), ({"a": 2.0, "c": 2.0}, 6))
    assert len(warned) == 1
    assert path.read_bytes().startswith(before)
    assert read(path) == {"a": [(0, 1.0), (5, 1.0), (5, 1.0), (6, 2.0)], "b": [(0, 1.0), (5, 2.0)], "c": [(6, 2.0)]}


@both
def test_a_run_that_goes_on_without_a_gap_does_not_warn(tmp_path, kind, recwarn):
    path = tmp_path / f"run.{kind}"
    written(path, ({"a": 1.0}, 5))
    written(path, ({"a": 1.0}, 6))
    assert read(path) == {"a": [(5, 1.0), (6, 1.0)]}
    assert not recwarn.list


@both
@pytest.mark.parametrize("cut", [1, 3, 9])
def test_a_torn_last_line_is_cut_off(tmp_path, kind, cut):
    path = tmp_path / f"run.{kind}"
    written(path, ({"a": 0.123}, 5), ({"a": 0.456}, 6))
    path.write_bytes(path.read_bytes()[:-cut])
    written(path, ({"a": 0.456}, 6), ({"a": 0.789}, 7))
    assert read(path) == {"a": [(5, 0.123), (6, 0.456), (7, 0.789)]}


@both
def test_a_file_with_nothing_but_a_torn_first_line_is_begun_again(tmp_path, kind):
    path = tmp_path / f"run.{kind}"
    written(path, ({"a": 1.0}, 1))
    path.write_bytes(path.read_bytes()[:9])
    written(path, ({"a": 1.0}, 1))
    assert read(path) == {"a": [(1, 1.0)]}


@both
def test_lines_that_are_damaged_do_not_stop_a_run_from_going_on(tmp_path, kind):
    path = tmp_path / f"run.{kind}"
    written(path, ({"a": 1.0}, 1))
    with path.open("ab") as file:
        file.write(b'\0\0\0\n{"step": "x"}\n[1]\n\xff,"\n\n')
    written(path, ({"a": 1.0}, 2))
    assert path.read_bytes().splitlines()[-1].startswith({"jsonl": b'{"step": 2', "csv": b"2,"}[kind])


CHILD = """
import sys
from kopt import callbacks

sinks = [callbacks.JSONLines(sys.argv[1] + "/run.jsonl"), callbacks.CSV(sys.argv[1] + "/run.csv")]
for sink in sinks:
    sink.open({})
values = {f"gradients_norm/layer_{n}/kernel": n / 7 for n in range(2000)}
for step in range(10**6):
    for sink in sinks:
        sink.scalars(values, step)
    sys.stdout.write(f"{step}\\n")
    sys.stdout.flush()
"""


def test_a_killed_process_leaves_every_step_and_a_file_to_go_on_with(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "KERAS_BACKEND": monitored.BACKEND}
    with subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path)], text=True, env=environment,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:  # fmt: skip
        for line in process.stdout:
            if int(line) > 20:
                os.kill(process.pid, signal.SIGKILL)
                break
        last = int([line, *process.stdout.read().split()][-1])
    assert process.returncode == -signal.SIGKILL
    for kind in KINDS:
        path = tmp_path / f"run.{kind}"
        with pytest.warns(UserWarning, match="already has") as warned:
            written(path, ({"gradients_norm/layer_3/kernel": 1.0}, last), ({"new": 1.0}, last + 2))
        assert len(warned) == 1
        found = read(path)
        assert found.pop("new") == [(last + 2, 1.0)]
        assert len(found) == 2000
        for tag, points in found.items():
            steps = [step for step, _ in points]
            assert steps[: last + 1] == [*range(last + 1)], tag
            assert len(steps) <= last + 2


@both
def test_a_full_disk_leaves_whole_lines_and_costs_those_of_that_time(tmp_path, kind):
    path = tmp_path / f"run.{kind}"
    sink = KINDS[kind](path)
    sink.open({})
    sink.scalars({"a": 1.0, "b": 1.0}, 1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # In the middle of the line: the system writes what fits, and refuses the rest.
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, limits[1]))
    try:
        for step in (2, 3):
            with pytest.raises(OSError, match="File too large"):
                sink.scalars({"a": 2.0, "b": 2.0}, step)
        assert path.stat().st_size > len(path.read_bytes().rpartition(b"\n")[0]) + 1, "The line was torn."
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    sink.scalars({"a": 4.0, "b": 4.0}, 4)
    sink.close()
    assert read(path) == {"a": [(1, 1.0), (4, 4.0)], "b": [(1, 1.0), (4, 4.0)]}


@both
def test_a_disk_that_is_full_from_the_start_costs_no_header(tmp_path, kind):
    sink = KINDS[kind](tmp_path / f"run.{kind}")
    sink.open({})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            sink.scalars({"a": 1.0}, 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    sink.scalars({"a": 2.0}, 2)
    sink.close()
    assert read(tmp_path / f"run.{kind}") == {"a": [(2, 2.0)]}


@both
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda where: where, r"must be the path of a file. Received: path=.* It is a directory: add a file's name"),
        (lambda where: where / "file" / "run", r"must be a file that can be written. .*file' is not a directory"),
        (lambda where: where / "file", r"must be a new file, or one that `\w+` wrote. .* It begins with b'diary'"),
        (lambda where: "s3://bucket/run", r"must be the path of a local file. Received: path='s3://bucket/run'"),
        (lambda where: "", r"must be the path of a local file. Received: path=''"),
        (lambda where: 3, r"must be the path of a local file. Received: path=3"),
    ],
)
def test_a_bad_path_is_known_before_training(tmp_path, kind, make, message):
    (tmp_path / "file").write_text("diary")
    with pytest.raises(ValueError, match=f"`path` {message}"):
        KINDS[kind](make(tmp_path))
    assert [each.name for each in tmp_path.iterdir()] == ["file"], "The check creates nothing."


def test_a_file_of_the_other_kind_is_refused(tmp_path):
    written(tmp_path / "run.csv", ({"a": 1.0}, 1))
    with pytest.raises(ValueError, match="one that `JSONLines` wrote"):
        callbacks.JSONLines(tmp_path / "run.csv")


@both
def test_a_file_that_must_not_be_written_is_known_before_training(tmp_path, kind, monkeypatch):
    path = tmp_path / f"run.{kind}"
    written(path, ({"a": 1.0}, 1))
    monkeypatch.setattr(os, "access", lambda *_: False)  # Root may write everywhere.
    for place in (path, tmp_path / "new" / "run"):
        with pytest.raises(ValueError, match=r"`path` must be a file that can be written. .* is not writable"):
            KINDS[kind](place)

"""Does a run arrive in MLflow's own store, once and whole, and does a server that fails leave training alone?"""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import monitored
import pytest
from sink_plays import At, Recorder, compiled, play

from kopt import callbacks
from kopt.callbacks.sinks.mlflow_run import metric_names
from kopt.callbacks.sinks.sender import Sender

mlflow = pytest.importorskip("mlflow")


@pytest.fixture(autouse=True)
def allowed(monkeypatch):
    for name in ("MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    before = mlflow.get_tracking_uri()
    yield
    mlflow.set_tracking_uri(before)


@pytest.fixture(params=["files", "sqlite"])
def uri(request, tmp_path):
    if request.param == "files":
        return f"file://{tmp_path}/mlruns"
    pytest.importorskip("sqlalchemy")
    pytest.importorskip("alembic")
    return f"sqlite:///{tmp_path}/mlflow.db"


@pytest.fixture
def files(tmp_path):
    return f"file://{tmp_path}/mlruns"


def client(uri):
    return mlflow.MlflowClient(tracking_uri=uri)


def history(uri, run_id, name):
    return [(each.step, each.value) for each in client(uri).get_metric_history(run_id, name)]


def sent(sink, *moments, config=None):
    """Gives (values, step) pairs to a sink as one `fit` does."""
    sink.open(config or {})
    for values, step in moments:
        sink.scalars(values, step)
    sink.close()
    return sink.run_id


def test_a_fit_arrives_with_metrics_parameters_tags_and_text(uri, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # Where a SQLite store puts artifacts.
    sink, recorder, model = (
        callbacks.MLflow("digits", tracking_uri=uri, run_name="first", tags={"who": "me"}),
        Recorder(),
        compiled(),
    )
    monitor = callbacks.Monitor([sink, recorder], gradients=0)
    play(model, monitor, epochs=2)
    play(model, monitor)
    run = client(uri).get_run(sink.run_id)
    assert client(uri).get_experiment(run.info.experiment_id).name == "digits"
    assert (run.info.run_name, run.info.status) == ("first", "FINISHED")
    assert run.data.tags["who"] == "me"
    assert run.data.params == {name: str(value) for name, value in recorder.calls[0][1].items()}
    assert run.data.metrics.keys() == recorder.points.keys()
    for tag, points in recorder.points.items():
        assert history(uri, sink.run_id, tag) == points
    assert [file.path for file in client(uri).list_artifacts(sink.run_id)] == ["model_summary.txt"]
    assert mlflow.active_run() is None


def test_what_mlflow_limits_arrives_whole(files):
    values = {f"gradients_norm/layer_{n}/kernel": float(n) for n in range(1200)}
    config = {f"optimizer.a{n}": "x" * 9000 for n in range(130)}
    run_id = sent(callbacks.MLflow(tracking_uri=files), (values, 1), config=config)
    run = client(files).get_run(run_id)
    assert run.data.metrics == values
    assert run.data.params == dict.fromkeys(config, "x" * 500)
    assert client(files).get_experiment(run.info.experiment_id).name == "Default"


def test_names_are_those_that_mlflow_takes(files):
    values = {"learning_rate": 1.0, "learning_rate/slow": 2.0, "a[0]/b,c": 3.0, "nan": float("nan"), "a/b c:d-e.f": 5.0}
    run_id = sent(callbacks.MLflow(tracking_uri=files), (values, 1))
    found = client(files).get_run(run_id).data.metrics
    assert found.keys() == {"learning_rate", "learning_rate.slow", "a_0_/b_c", "nan", "a/b c:d-e.f"}
    assert found["learning_rate.slow"] == 2.0
    assert metric_names(["a", "a/b", "a/b/c", "ab/c"]) == {"a": "a", "a/b": "a.b", "a/b/c": "a.b.c", "ab/c": "ab/c"}


def test_an_active_run_is_used_and_left_open(files):
    mlflow.set_tracking_uri(files)
    with mlflow.start_run() as active:
        mlflow.log_param("optimizer", "mine")
        sink = callbacks.MLflow()
        assert sent(sink, ({"a": 1.0}, 1), config={"optimizer": "Adam", "epochs": 3}) == active.info.run_id
        assert client(files).get_run(active.info.run_id).info.status == "RUNNING"
        assert mlflow.active_run().info.run_id == active.info.run_id
        elsewhere = callbacks.MLflow(tracking_uri=f"{files}_elsewhere")
        assert sent(elsewhere, ({"a": 1.0}, 1)) != active.info.run_id
    run = client(files).get_run(active.info.run_id)
    assert run.data.params == {"optimizer": "mine", "epochs": "3"}
    assert history(files, active.info.run_id, "a") == [(1, 1.0)]
    assert sent(sink, ({"a": 1.0}, 2)) != active.info.run_id, "The user has ended that run."


def test_a_resumed_run_gets_no_step_twice(files):
    run_id = sent(callbacks.MLflow(tracking_uri=files), ({"a": 1.0}, 3), ({"b": 1.0}, 5), config={"epochs": 2})
    again = callbacks.MLflow(tracking_uri=files, run_id=run_id)
    sent(again, ({"a": 2.0}, 3), ({"a": 2.0, "b": 2.0, "c": 2.0}, 5), ({"b": 2.0}, 6), config={"epochs": 9, "new": 1})
    assert history(files, run_id, "a") == [(3, 1.0), (5, 2.0)]
    assert history(files, run_id, "b") == [(5, 1.0), (6, 2.0)]
    assert history(files, run_id, "c") == [(5, 2.0)]
    run = client(files).get_run(run_id)
    assert (run.data.params, run.info.status) == ({"epochs": "2", "new": "1"}, "FINISHED")


def test_mlflows_own_choice_of_experiment_is_kept(files):
    mlflow.set_tracking_uri(files)
    chosen = mlflow.set_experiment("chosen")
    run_id = sent(callbacks.MLflow(), ({"a": 1.0}, 1))
    assert client(files).get_run(run_id).info.experiment_id == chosen.experiment_id


def test_a_server_that_does_not_answer_is_warned_about_once():
    sink, recorder = callbacks.MLflow(tracking_uri="http://127.0.0.1:9"), Recorder()
    pause = At(2, lambda: time.sleep(1.2))
    with pytest.warns(UserWarning, match=r"MLflow\('http://127.0.0.1:9'\)` failed .*values are lost") as warned:
        play(compiled(), callbacks.Monitor([sink, recorder], gradients=0), pause, epochs=4)
    assert len([each for each in warned if "The sink" in str(each.message)]) == 1
    assert [step for step, _ in recorder.points["epoch_loss"]] == [4, 8, 12, 16]


def test_a_slow_server_does_not_slow_training():
    taken, let_go = [], threading.Event()

    def send(items):
        let_go.wait(20)
        taken.extend(items)

    sender = Sender(send, lambda: taken.append("end"), (OSError,), interval=0.01)
    before = time.perf_counter()
    for n in range(200):
        sender.put([n])
    assert time.perf_counter() - before < 1.0
    with pytest.raises(OSError, match=r"not answered for 0.1 s: the last values are lost"):
        sender.close(limit=0.1)
    let_go.set()
    sender.close()
    assert taken == [*range(200), "end"]


def test_a_server_that_fails_loses_what_it_was_given_and_no_more():
    taken, fails = [], threading.Event()
    fails.set()
    tried = threading.Event()

    def send(items):
        tried.set()
        if fails.is_set():
            raise ConnectionError("reset")
        taken.extend(items)

    sender = Sender(send, lambda: None, (OSError,), interval=0.01)
    sender.put([1, 2])
    assert tried.wait(20)
    time.sleep(0.1)
    fails.clear()
    with pytest.raises(OSError, match=r"2 values are lost \(ConnectionError: reset\)"):
        sender.put([3])
    sender.put([4])
    sender.close()
    assert taken == [3, 4]


def test_what_waits_too_long_is_lost_from_its_old_end():
    taken, let_go = [], threading.Event()
    sender = Sender(lambda items: (let_go.wait(20), taken.extend(items)), lambda: None, (OSError,), 0.01, most=10)
    sender.put([0])
    time.sleep(0.2)
    sender.put([*range(1, 11)])
    with pytest.raises(OSError, match="the oldest 2 of the values that wait are lost"):
        sender.put([11, 12])
    let_go.set()
    sender.close()
    assert taken == [0, *range(3, 13)]


CHILD = """
import sys
from kopt import callbacks

sink = callbacks.MLflow("cut off", tracking_uri=sys.argv[1])
sink.open({})
sink.scalars({"a": 1.0}, 1)
raise RuntimeError("The user's own trouble.")
"""


@pytest.mark.slow
def test_a_process_that_ends_by_an_exception_marks_the_run_as_failed(files):
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "KERAS_BACKEND": monitored.BACKEND}
    found = subprocess.run([sys.executable, "-c", CHILD, files], env=environment, capture_output=True, text=True)
    assert found.stderr.rstrip().endswith("RuntimeError: The user's own trouble.")
    [run] = client(files).search_runs([client(files).get_experiment_by_name("cut off").experiment_id])
    assert (run.data.metrics, run.info.status) == ({"a": 1.0}, "FAILED")


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(ImportError, match=r"`MLflow` needs the package `mlflow-skinny` .*pip install mlflow-skinny"):
        callbacks.MLflow()


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"tracking_uri": "nothing://x"}, r"`tracking_uri` must be one that MLflow accepts. Received: .*nothing://x"),
        ({"tracking_uri": ""}, r"`tracking_uri` must be a string that is not empty"),
        ({"experiment": 3}, r"`experiment` must be a string that is not empty. Received: experiment=3"),
        ({"run_name": 3}, r"`run_name` must be .* Received: run_name=3"),
        ({"run_id": 3}, r"`run_id` must be .* Received: run_id=3"),
        ({"tags": "me"}, r"`tags` must be a dict of strings. Received: tags='me'"),
    ],
)
def test_bad_arguments_are_named(keywords, message):
    with pytest.raises(ValueError, match=message):
        callbacks.MLflow(**keywords)


def test_a_directory_without_mlflows_consent_is_known_before_training(files, monkeypatch):
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE")
    with pytest.raises(ValueError, match=r"`tracking_uri` must be .*MLFLOW_ALLOW_FILE_STORE=true"):
        callbacks.MLflow(tracking_uri=files)

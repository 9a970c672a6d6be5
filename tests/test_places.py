"""Event files behind an address, and errors about packages that are missing, before training starts."""

import builtins
import sys

import event_files
import keras
import monitored
import pytest

from kopt import callbacks
from kopt.callbacks import places

fsspec = pytest.importorskip("fsspec")


@pytest.fixture
def memory():
    files = fsspec.filesystem("memory")
    yield files
    files.store.clear()
    files.pseudo_dirs[:] = [""]


def fit(model, log_dir, **options):
    x, y = monitored.regression()
    monitor = callbacks.TensorBoard(log_dir, gradients=1, **options)
    model.fit(x, y, batch_size=monitored.BATCH, verbose=0, validation_data=(x, y), callbacks=[monitor])
    return monitor


def test_a_run_in_memory_goes_on_and_reads_cleanly(memory, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = monitored.mlp()
    model.compile(keras.optimizers.Adam(0.02), "mse", run_eagerly=monitored.BACKEND == "tensorflow")
    for _ in range(2):
        fit(model, "memory://bucket/logs")
    assert not list(tmp_path.iterdir()), "A directory called `memory:` was made."
    memory.get("/bucket/logs", str(tmp_path / "copy"), recursive=True)
    found = event_files.scalars(tmp_path / "copy" / "train")
    assert event_files.steps(found["loss/total"]) == list(range(1, 9))
    assert event_files.steps(found["epoch_loss"]) == [0, 1]
    assert event_files.hparams(tmp_path / "copy").status == "STATUS_SUCCESS"
    for file in (tmp_path / "copy").glob("**/*tfevents*"):
        assert event_files.records(file)[1] == 0


def test_names_of_remote_runs_are_their_own(memory, monkeypatch):
    monkeypatch.setattr(places.time, "strftime", lambda form: "20260102-030405")
    runs = [callbacks.TensorBoard("memory://logs", name="mlp").log_dir for _ in range(2)]
    assert runs == ["memory://logs/mlp-20260102-030405", "memory://logs/mlp-20260102-030405-2"]


def without(monkeypatch, *packages):
    """Makes packages look as if they were not installed."""
    real = builtins.__import__

    def imported(name, *arguments, **keywords):
        if name.split(".")[0] in packages:
            raise ImportError(f"No module named {name!r}")
        return real(name, *arguments, **keywords)

    for name in [name for name in sys.modules if name.split(".")[0] in packages]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", imported)


def test_a_missing_package_is_named(monkeypatch):
    without(monkeypatch, "s3fs")
    with pytest.raises(ImportError, match=r"`log_dir` needs a package.*s3fs.*Received: 's3://bucket/logs'"):
        callbacks.TensorBoard("s3://bucket/logs")


def test_missing_fsspec_is_named(monkeypatch):
    without(monkeypatch, "fsspec")
    with pytest.raises(ImportError, match=r"pip install fsspec. Received: 'memory://logs'"):
        callbacks.TensorBoard("memory://logs")


def test_an_unknown_kind_of_address_is_told():
    with pytest.raises(
        ValueError, match=r"`log_dir` must be a directory, or an address.*Received: log_dir='no://logs'"
    ):
        callbacks.TensorBoard("no://logs")


def test_uploads_are_rare_but_the_last_one_is_whole(memory, monkeypatch):
    moment = [0.0]
    monkeypatch.setattr(places.time, "monotonic", lambda: moment[0])
    file = places._Uploaded("memory://file")
    for number in range(4):
        file.append(b"x")
        moment[0] += 0.4 * places.UPLOAD_SECONDS
        assert memory.cat("/file") == (b"x" if number < 3 else b"xxxx")
    file.append(b"y")
    file.close()
    assert memory.cat("/file") == b"xxxxy"


def test_what_could_not_be_uploaded_is_not_taken(memory, monkeypatch):
    """Whoever was told so brings it again: it must not be there twice."""
    file = places._Uploaded("memory://file")
    pipe = type(memory).pipe_file
    monkeypatch.setattr(type(memory), "pipe_file", lambda *_: (_ for _ in ()).throw(OSError("The store is away.")))
    with pytest.raises(OSError, match="away"):
        file.append(b"first")
    monkeypatch.setattr(type(memory), "pipe_file", pipe)
    file.append(b"first")
    assert memory.cat("/file") == b"first"

"""KerasTuner's chief and workers, as processes of their own: pruning and folds work through the wire as well."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import keras
import pytest

from kopt.tuning.outcome import read

pytestmark = pytest.mark.slow
CODE = """
import sys
sys.path.insert(0, {tests!r})
import searches
from kopt import tuning
x, y = searches.data()
oracle = {oracle}
tuner = tuning.Tuner(searches.build, oracle, cv=2, directory={directory!r}, seed=0)
tuner.search(x, y, epochs=3, batch_size=16, verbose=0)
print(*(tuner.outcomes[key].status for key in sorted(tuner.outcomes)))
"""


ORACLES = {
    "pruning": 'searches.MedianOracle("val_loss", max_trials=5, seed=1)',
    "several objectives": 'tuning.OptunaOracle(["val_loss", "val_accuracy"], max_trials=5, seed=1)',
}


@pytest.mark.parametrize("name", ORACLES)
def test_workers_share_a_search(tmp_path, name):
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    code = CODE.format(tests=str(Path(__file__).parent), directory=str(tmp_path), oracle=ORACLES[name])
    shared = {
        "PYTHONPATH": str(Path(__file__).parents[1]), "KERAS_BACKEND": keras.backend.backend(),
        "KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": str(port),
    }  # fmt: skip
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env=os.environ | shared | {"KERASTUNER_TUNER_ID": name},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in ("chief", "worker0", "worker1")
    ]
    for process in processes:
        out, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
        states = out.split()[-5:]
        assert set(states) <= {"completed", "pruned"}
        assert len(states) == 5 or process is not processes[0]
    kept = {path.parent.name.removeprefix("trial_") for path in tmp_path.rglob("*.weights.h5")}
    if name == "pruning":
        assert len(kept) == 1
    else:
        found = {key: outcome.metrics for key, outcome in read(tmp_path / "search").items()}
        ways = {"val_loss": 1, "val_accuracy": -1}
        points = {key: [sign * metrics[name] for name, sign in ways.items()] for key, metrics in found.items()}
        beaten = {
            key
            for key, point in points.items()
            for other in points.values()
            if other != point and all(a <= b for a, b in zip(other, point, strict=True))
        }
        assert kept == set(found) - beaten

"""Measures the CPU time that a tuner needs for a trial beyond building, compiling and fitting its model.

    python benchmarks/tuner_overhead.py --backend all --json tuner.json

A tiny model is trained on tiny data in a bare loop (fresh names, build, compile, fit), by `kopt.tuning.Tuner` and
by KerasTuner's own `RandomSearch`, in turns, in one process per backend. The overhead is its CPU time per trial in
`search` less the bare loop's of the same round. Each search has a directory of its own and keeps what it keeps by
default: kopt the best model's weights, KerasTuner each trial's.
"""

import argparse
import contextlib
import io
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pinned
from rich.console import Console
from rich.table import Table

EPOCHS, ROWS, BATCH = 2, 64, 32
BARE = "bare loop"
COLUMNS = ("backend", "tuner", "s a trial", "beyond", "quartiles", "least", "constructor s")

Record = dict[str, list[float]]


def main() -> None:
    """Measures the backends that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", choices=[*pinned.BACKENDS, "all"], default="all")
    parser.add_argument("--trials", type=int, default=5, help="of each search")
    parser.add_argument("--rounds", type=int, default=7, help="of each tuner; one more is not counted")
    parser.add_argument("--core", type=int, help="by default the last one")
    parser.add_argument("--json", metavar="PATH", help="also write every single measurement there")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    pinned.pin(options.core)
    if options.child:
        print(json.dumps(measured(options.trials, options.rounds)))
        return
    backends = pinned.BACKENDS if options.backend == "all" else (options.backend,)
    records = {backend: _in_a_process(backend, options) for backend in backends}
    _show(records)
    if options.json:
        report = {"versions": pinned.versions(), "unit": "CPU seconds per trial", "backends": records}
        Path(options.json).write_text(json.dumps(report, indent=1) + "\n")


def _in_a_process(backend: str, options: argparse.Namespace) -> dict[str, Record]:
    command = [sys.executable, __file__, "--child", "--trials", str(options.trials), "--rounds", str(options.rounds)]
    done = subprocess.run(command, env=pinned.environment(backend), stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Record] = json.loads(done.stdout.splitlines()[-1])
    return found


def build(hp: Any) -> Any:
    """Returns a compiled model; the hyperparameters do not change what it costs."""
    import keras

    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(1)])
    # Not from 0 on, which would be the value in the bare loop: without momentum, there is less to compile.
    momentum = hp.Float("momentum", 0.1, 0.9)
    model.compile(keras.optimizers.SGD(hp.Float("rate", 1e-4, 1e-2, sampling="log"), momentum), "mse")
    return model


def tuners(trials: int, seed: int, directory: str) -> dict[str, Callable[[], Any]]:
    """Returns what makes each tuner.

    Args:
        trials: How many each runs.
        seed: Of its proposals.
        directory: Where its project goes.
    """
    import keras_tuner

    from kopt.tuning import Tuner

    place = {"objective": "val_loss", "max_trials": trials, "seed": seed, "directory": directory}
    return {
        "kopt": lambda: Tuner(build, project_name="kopt", **place),
        "kopt, random": lambda: Tuner(build, project_name="random", sampler="random", **place),
        "KerasTuner": lambda: keras_tuner.RandomSearch(build, project_name="kt", **place),
    }


def measured(trials: int, rounds: int) -> dict[str, Record]:
    """Returns for each way the CPU seconds of a trial, and of the constructor, in each round.

    Args:
        trials: Of each search.
        rounds: That count; one before them does not.
    """
    import keras
    import keras_tuner

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(ROWS, 8)).astype("float32"), rng.normal(size=(ROWS, 1)).astype("float32")
    fit = {"x": x, "y": y, "validation_data": (x, y), "epochs": EPOCHS, "batch_size": BATCH, "verbose": 0}
    found: dict[str, Record] = {}
    for number in range(rounds + 1):
        begin = time.process_time()
        for _ in range(trials):
            keras.utils.clear_session(free_memory=False)
            build(keras_tuner.HyperParameters()).fit(**fit)
        seen = {BARE: ((time.process_time() - begin) / trials, 0.0)}
        with tempfile.TemporaryDirectory() as directory, contextlib.redirect_stdout(io.StringIO()):
            for name, make in tuners(trials, number, directory).items():
                begin = time.process_time()
                tuner = make()
                made = time.process_time()
                tuner.search(**fit)
                seen[name] = ((time.process_time() - made) / trials, made - begin)
        for name, (seconds, constructor) in seen.items():
            record = found.setdefault(name, {"trial": [], "constructor": []})
            if number:
                record["trial"].append(seconds)
                record["constructor"].append(constructor)
    return found


def _show(records: dict[str, dict[str, Record]]) -> None:
    table = Table(*COLUMNS)
    for backend, found in records.items():
        for name, record in found.items():
            beyond = [own - bare for own, bare in zip(record["trial"], found[BARE]["trial"], strict=True)]
            cells = [f"{statistics.median(record['trial']):.3f}"]
            if name != BARE:
                low, _, high = statistics.quantiles(beyond, n=4)
                cells += [f"{statistics.median(beyond):.3f}", f"{low:.3f} .. {high:.3f}", f"{min(beyond):.3f}"]
                cells.append(f"{statistics.median(record['constructor']):.3f}")
            table.add_row(backend, name, *cells)
    Console().print(table)


if __name__ == "__main__":
    main()

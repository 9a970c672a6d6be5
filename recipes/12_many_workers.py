"""Two workers share a search; one of them is killed in the middle of a trial, and nothing is lost.

This script starts itself twice as a worker. There is no chief: a worker is a process that runs the same script with the
same `storage=`, here a journal file in the search's directory. On a cluster, SLURM or Kubernetes starts them; see
docs/many-workers.md. Once both run, one is killed with SIGKILL in the middle of a trial, as if its machine was taken
away. The other one notices, and runs that trial again, with the same settings and the same seed.

Each trial trains a small network on the 8 x 8 digits of scikit-learn. The table shows every trial once, with the worker
that has run it, and how many tries it took.

    python recipes/12_many_workers.py --trials 12
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from console import command_line, parsed, say_where, show


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line; Keras is not imported yet, because the backend is chosen here."""
    parser = command_line(__doc__)
    parser.add_argument("--trials", type=int, default=12, help="of both workers together (default 12)")
    parser.add_argument("--epochs", type=int, default=10, help="passes over the training digits (default 10)")
    parser.add_argument("--storage", default="journal", help='such as "sqlite:///search.db" (default: a journal)')
    parser.add_argument("--seed", type=int, default=0, help="of settings and trainings (default 0)")
    parser.add_argument("--worker", action="store_true", help="be one of the workers, of which this script starts two")
    return parsed(parser, argv, trials=2, epochs=1, seed=0)


def build(hp: Any) -> Any:
    """Returns the network of a trial."""
    import keras

    import kopt

    model = keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(hp.Int("units", 16, 128), "relu"),
            keras.layers.Dropout(hp.Float("dropout", 0.0, 0.5)),
            keras.layers.Dense(10, "softmax"),
        ]
    )
    optimizer = kopt.optimizers.AdamW(hp.Float("rate", 1e-4, 1e-1, sampling="log"))
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def tuner_of(options: argparse.Namespace) -> Any:
    """Returns the search: each process that calls this joins it."""
    import kopt

    place = Path(options.log_dir)
    return kopt.tuning.Tuner(
        build, objective="val_loss", max_trials=options.trials, storage=options.storage, worker_timeout=30,
        tensorboard=place / "many-workers" / "tensorboard", directory=place, project_name="many-workers",
        seed=options.seed,
    )  # fmt: skip


def work(options: argparse.Namespace) -> None:
    """Is a worker: runs trials until the search is over."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    x, y = load_digits(return_X_y=True)
    x, x_val, y, y_val = train_test_split(x / 16.0, y, test_size=450, stratify=y, random_state=0)
    tuner = tuner_of(options)
    tuner.search(x, y, validation_data=(x_val, y_val), epochs=options.epochs, batch_size=32, verbose=0)


def kill_one(tuner: Any, workers: Sequence[Any]) -> tuple[str, int] | None:
    """Kills a worker in the middle of a trial, once both have begun or half of the trials have ended.

    Args:
        tuner: The search, whose trials are read.
        workers: The processes.

    Returns:
        The trial and the number of the worker, from 1; None if the search was over before.
    """
    pids = [str(worker.pid) for worker in workers]
    while all(worker.poll() is None for worker in workers):
        rows = [row | {"worker": row["worker"].rpartition(":")[2]} for row in tuner.rows()]
        running = [row for row in rows if row["status"] == "running" and row["worker"] in pids and "hp/rate" in row]
        both = {row["worker"] for row in rows} >= set(pids)
        if running and (both or 2 * (len(rows) - len(running)) >= tuner.oracle.max_trials):
            number = pids.index(running[-1]["worker"])
            workers[number].kill()
            return str(running[-1]["trial"]), number + 1
        time.sleep(0.05)
    return None


def main(argv: Sequence[str] | None = None) -> dict[str, Any] | None:
    """Starts the workers, kills one, and shows the table; returns its rows, and who was killed in which trial."""
    options = arguments(argv)
    if options.worker:
        work(options)
        return None
    tuner = tuner_of(options)
    command = [sys.executable, __file__, *(sys.argv[1:] if argv is None else argv), "--worker"]
    workers = [subprocess.Popen(command) for _ in range(2)]
    try:
        killed = kill_one(tuner, workers)
        codes = [worker.wait() for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    if any(code > 0 for code in codes):
        sys.exit(f"A worker failed: see above. The exit codes are {codes}.")
    rows = tuner.rows()
    names = {str(worker.pid): str(number) for number, worker in enumerate(workers, 1)}
    lines = []
    for row in sorted(rows, key=lambda row: row["val_loss"]):
        settings = (str(row["hp/units"]), f"{row['hp/dropout']:.2f}", f"{row['hp/rate']:.1e}")
        worker = names.get(row["worker"].rpartition(":")[2], "earlier")
        figures = (f"{row['val_loss']:.4f}", f"{row['val_accuracy']:.3f}")
        lines.append((row["trial"], *figures, *settings, worker, str(row["tries"])))
    columns = ("trial", "loss", "accuracy", "units", "dropout", "rate", "worker", "tries")
    show(f"{len(rows)} trials of two workers", columns, lines)
    if killed is not None:
        (again,) = [line for line in lines if line[0] == killed[0]]
        told = f"which worker {again[-2]} ran again" if again[-1] != "1" else "which had just ended"
        sys.stdout.write(f"Worker {killed[1]} was killed in trial {killed[0]}, {told}.\n")
    best = tuner.best_model()
    sys.stdout.write(f"The best model, read from disk by a third process, has {best.count_params():,} weights.\n")
    sys.stdout.write("Run this again with more --trials: it goes on.\n")
    say_where(Path(options.log_dir) / "many-workers", options.log_dir)
    return {"rows": rows, "killed": killed}


if __name__ == "__main__":
    main()

"""What a storage costs a search: time of a trial that trains nothing, per trial, beside a search without a storage.

python benchmarks/search_storage.py journal sqlite postgresql://kopt@127.0.0.1:5432/postgres
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import keras
import keras_tuner

from kopt import tuning


class Nothing(keras_tuner.HyperModel):
    """A trial that is over at once, with five hyperparameters."""

    def build(self, hp: Any) -> Any:
        for name in "abcde":
            hp.Float(name, 0.0, 1.0)
        return keras.Sequential([keras.layers.Dense(1)])

    def fit(self, hp: Any, model: Any, *args: Any, **kwargs: Any) -> dict[str, float]:
        return {"score": hp.get("a")}


def seconds(storage: str | None, trials: int) -> tuple[float, float]:
    """Returns wall-clock and CPU seconds per trial; the first ten, which load what they need, are left out."""
    with tempfile.TemporaryDirectory(prefix="kopt-benchmark-") as place:
        address = f"sqlite:///{place}/search.db" if storage == "sqlite" else storage
        times = []
        for count in (10, 10 + trials):
            tuner = tuning.Tuner(
                Nothing(), objective=keras_tuner.Objective("score", "min"), max_trials=count, sampler="random",
                seed=0, directory=place, project_name=f"{Path(place).name}", storage=address,
                on_existing=None if storage else "resume",
            )  # fmt: skip
            begin = time.perf_counter(), time.process_time()
            tuner.search(verbose=0)
            times.append((time.perf_counter() - begin[0], time.process_time() - begin[1]))
        return times[1][0] / trials, times[1][1] / trials


def main() -> None:
    """Prints a line for each storage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("storage", nargs="*", default=["journal", "sqlite"])
    parser.add_argument("--trials", type=int, default=50)
    options = parser.parse_args()
    for storage in (None, *options.storage):
        wall, cpu = seconds(storage, options.trials)
        name = str(storage or "none").partition("://")[0]
        sys.stdout.write(f"{name:12} {1000 * wall:6.1f} ms a trial, {1000 * cpu:6.1f} ms of them CPU\n")


if __name__ == "__main__":
    main()

"""What does a suggestion cost? CPU milliseconds with 10, 50 and 200 finished trials."""

import argparse
import time
import warnings

import numpy as np
import optuna
from search_methods import METHODS, ORIGINALS
from search_problems import PROBLEMS

FINISHED = (10, 50, 200)
MEASURED = 12  # A multiple of how often kopt fits its process above 120 trials.


def suggestions(problem_name: str, method: str, finished: int, seed: int) -> np.ndarray:
    """Returns the CPU seconds of each of the next suggestions after `finished` trials, telling included."""
    problem = PROBLEMS[problem_name]
    search = {**METHODS, **ORIGINALS}[method](problem, seed)
    rng = np.random.default_rng(seed)
    seconds = []
    for n in range(finished + MEASURED):
        start = time.process_time()
        handle, values = search.ask()
        asked = time.process_time() - start
        truth = problem.truth(values) + 1e-3 * rng.normal()
        start = time.process_time()
        search.tell(handle, truth)
        if n >= finished:
            seconds.append(asked + time.process_time() - start)
    return np.array(seconds)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problem", nargs="+", default=["mixed7", "cond14", "wide20"], choices=list(PROBLEMS))
    parser.add_argument("--method", nargs="+", default=["kopt", "optuna_tpe", "kt_random"], choices=list(METHODS))
    parser.add_argument("--finished", nargs="+", type=int, default=list(FINISHED))
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    print("| problem | method | " + " | ".join(f"mean (max) ms at {n}" for n in arguments.finished) + " |")
    print("|---|---|" + "---|" * len(arguments.finished))
    for problem in arguments.problem:
        for method in arguments.method:
            cells = []
            for finished in arguments.finished:
                seconds = 1000 * suggestions(problem, method, finished, seed=7)
                cells.append(f"{seconds.mean():.1f} ({seconds.max():.0f})")
            print(f"| {problem} | {method} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()

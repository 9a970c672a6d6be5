"""How good is what a search has found after 50 trials? Median and quartiles over seeds, kopt against the others."""

import argparse
import importlib.util
import json
import time
import warnings
import zlib
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from scipy.stats import wilcoxon
from search_methods import METHODS
from search_problems import PROBLEMS

SHOWN = (20, 50)
Run = dict[str, Any]


def searched(problem_name: str, method: str, seed: int, trials: int, pending: int) -> Run:
    """Returns one search: after each trial, the true value of the trial with the best result so far.

    Args:
        problem_name: Of `PROBLEMS`.
        method: Of `METHODS`.
        seed: Of the search and of the problem's noise.
        trials: How many.
        pending: How many run at once; they end in the order in which they were asked for.
    """
    problem = PROBLEMS[problem_name]
    noise = np.random.default_rng([seed, zlib.crc32(problem_name.encode())]).normal(0, problem.noise, trials)
    search = METHODS[method](problem, seed)
    running: deque[tuple[Any, float]] = deque()
    best, curve, cpu = (np.inf, np.inf), [], 0.0
    for n in range(trials):
        start = time.process_time()
        asked = [search.ask() for _ in range(min(pending, trials - n) - len(running))]
        cpu += time.process_time() - start
        running.extend((handle, problem.truth(values)) for handle, values in asked if handle is not None)
        handle, truth = running.popleft()
        seen = truth + noise[n]
        best = min(best, (seen, truth))
        curve.append(best[1])
        start = time.process_time()
        search.tell(handle, seen)
        cpu += time.process_time() - start
    return {
        "problem": problem_name,
        "method": method,
        "seed": seed,
        "pending": pending,
        "curve": curve,
        "cpu": cpu / trials,
    }


def table(runs: list[Run], pending: int) -> str:
    """Returns the results as a table, with paired tests of kopt against each other method."""
    lines = [
        f"pending {pending}",
        "",
        "| problem | method | at 20 | at 50 | quartiles at 50 | n | kopt lower, p (Wilcoxon) | CPU ms |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for problem in PROBLEMS:
        found = {m: {r["seed"]: r for r in runs if (r["problem"], r["method"]) == (problem, m)} for m in METHODS}
        for method, by_seed in found.items():
            if by_seed:
                last = [run["curve"][-1] for run in by_seed.values()]
                early, late = (
                    np.median([r["curve"][min(n, len(r["curve"])) - 1] for r in by_seed.values()]) for n in SHOWN
                )
                low, high = np.quantile(last, [0.25, 0.75])
                cpu = 1000 * np.mean([run["cpu"] for run in by_seed.values()])
                mark = " (held out)" if PROBLEMS[problem].held_out else ""
                lines.append(
                    f"| {problem}{mark} | {method} | {early:.3g} | {late:.3g} | {low:.3g} .. {high:.3g} "
                    f"| {len(last)} | {_compared(found['kopt'], by_seed) if method != 'kopt' else ''} | {cpu:.1f} |"
                )
    return "\n".join(lines)


def _compared(ours: dict[int, Run], theirs: dict[int, Run]) -> str:
    seeds = sorted(set(ours) & set(theirs))
    pairs = np.array([[ours[s]["curve"][-1], theirs[s]["curve"][-1]] for s in seeds])
    if len(seeds) < 2 or np.all(pairs[:, 0] == pairs[:, 1]):
        return ""
    wins = int(np.sum(pairs[:, 0] < pairs[:, 1]))
    return f"{wins}/{len(seeds)}, {wilcoxon(pairs[:, 0], pairs[:, 1]).pvalue:.2g}"


def main() -> None:
    """Runs what the results file lacks, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problem", nargs="+", default=list(PROBLEMS), choices=list(PROBLEMS))
    parser.add_argument("--method", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--seeds", type=int, default=20, help="seeds 0, 1, ...")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--pending", type=int, default=1, help="trials that run at once")
    parser.add_argument("--results", type=Path, default=Path("search_quality.jsonl"), help="kept, and gone on with")
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    lines = arguments.results.read_text().splitlines() if arguments.results.exists() else []
    runs = [run for run in map(json.loads, lines) if len(run["curve"]) == arguments.trials]
    runs = [run for run in runs if run["pending"] == arguments.pending]
    done = {(run["problem"], run["method"], run["seed"]) for run in runs}
    methods = [m for m in arguments.method if m != "hyperopt_tpe" or importlib.util.find_spec("hyperopt")]
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
        for problem in arguments.problem:
            for method in methods:
                if (problem, method, seed) not in done:
                    runs.append(searched(problem, method, seed, arguments.trials, arguments.pending))
                    with arguments.results.open("a") as file:
                        file.write(json.dumps(runs[-1]) + "\n")
    print(table(runs, arguments.pending))


if __name__ == "__main__":
    main()

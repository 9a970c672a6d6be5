"""Two objectives: how much of the best known front has a sampler found after 20, 50 and 100 trials?"""

import argparse
import math
from collections.abc import Callable, Sequence

import numpy as np
import optuna
from search_methods import OptunaSearch
from search_problems import PROBLEMS
from search_space import Problem, Values, real

from kopt.tuning.algorithms import sampler_maker

SHOWN = (20, 50, 100)
SAMPLERS = ("random", "nsga2", "tpe")


def _digits_size(v: Values) -> float:
    """Returns the decimal logarithm of the perceptron's number of parameters."""
    units, layers = int(v["units"]), int(v["layers"])
    return math.log10(65 * units + (layers - 1) * units * (units + 1) + 10 * (units + 1))


def _mixed_size(v: Values) -> float:
    return math.log10(v["depth"] * v["units"] ** 2)


def _zdt1(v: Values) -> float:
    spread = 1 + 9 * float(np.mean([v[f"x{i}"] for i in range(1, 6)]))
    return spread * (1 - math.sqrt(v["x0"] / spread))


ZDT1 = Problem(tuple(real(f"x{i}", 0, 1) for i in range(6)), _zdt1)
# By name: the problem, the second objective, and what neither objective is worse than on a front worth having.
CASES: dict[str, tuple[Problem, Callable[[Values], float], tuple[float, float]]] = {
    "digits + log size": (PROBLEMS["digits"], _digits_size, (2.3, 5.0)),
    "mixed7 + log size": (PROBLEMS["mixed7"], _mixed_size, (4.0, 7.0)),
    "zdt1": (ZDT1, lambda v: v["x0"], (6.0, 1.0)),
}


def hypervolume(points: Sequence[tuple[float, float]], corner: tuple[float, float]) -> float:
    """Returns the area between the points and a corner that is worse than they are; both objectives are minimised."""
    area, low = 0.0, corner[1]
    for first, second in sorted(points):
        if first < corner[0] and second < low:
            area += (corner[0] - first) * (low - second)
            low = second
    return area


def searched(case: str, sampler: str, seed: int, trials: int) -> list[tuple[float, float]]:
    """Returns both objectives of each trial of a search."""
    problem, second, _ = CASES[case]
    search = OptunaSearch(problem, optuna.samplers.RandomSampler())
    search.study = optuna.create_study(directions=["minimize", "minimize"])
    make, found = sampler_maker(sampler, seed, 2), []
    for number in range(trials):
        search.study.sampler = make(number, None)  # type: ignore[arg-type]  # These samplers do not look at the tree.
        handle, values = search.ask()
        found.append((problem.truth(values), second(values)))
        search.study.tell(handle, found[-1])
    return found


def main() -> None:
    """Prints the medians over seeds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES))
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    print("| problem | sampler |" + "".join(f" after {n} |" for n in SHOWN))
    print("|---|---|" + "---|" * len(SHOWN))
    for case in options.only:
        corner = CASES[case][2]
        runs = {s: [searched(case, s, seed, max(SHOWN)) for seed in range(options.seeds)] for s in SAMPLERS}
        whole = hypervolume([point for found in runs.values() for run in found for point in run], corner)
        for sampler, found in runs.items():
            shares = [[hypervolume(run[:n], corner) / whole for n in SHOWN] for run in found]
            print(f"| {case} | {sampler} |" + "".join(f" {share:.3f} |" for share in np.median(shares, axis=0)))


if __name__ == "__main__":
    main()

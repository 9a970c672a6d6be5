"""The problems of the search benchmarks, by name."""

import csv
import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from search_held_out import HELD_OUT
from search_space import NO_YES, Problem, Values, choice, real, whole

log10 = math.log10


def _branin(v: Values) -> float:
    x, y = v["x"], v["y"]
    bowl = (y - 5.1 * x * x / (4 * math.pi**2) + 5 * x / math.pi - 6) ** 2
    return bowl + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10 - 0.397887


HARTMANN_A = np.array(
    [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]]
)
HARTMANN_P = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)


def _hartmann6(v: Values) -> float:
    x = np.array([v[f"x{i}"] for i in range(6)])
    return 3.32237 - float(np.array([1, 1.2, 3, 3.2]) @ np.exp(-(HARTMANN_A * (x - HARTMANN_P) ** 2).sum(1)))


def _mixed7(v: Values) -> float:
    loss = {"relu": 0, "gelu": 0.05, "tanh": 0.3, "sigmoid": 0.8}[v["act"]] + {"he": 0, "glorot": 0.1, "zeros": 1}[
        v["init"]
    ]
    loss += 0.6 * (log10(v["lr"]) - (-2.5 - 0.3 * (v["depth"] - 3))) ** 2 + 0.15 * (log10(v["wd"]) + 4) ** 2
    return (
        loss + 0.05 * (v["depth"] - 4) ** 2 + 0.3 * ((math.log2(v["units"]) - 7) / 2) ** 2 + 2 * (v["drop"] - 0.2) ** 2
    )


def _cond14(v: Values) -> float:
    loss = {
        "sgd": lambda: (
            0.25
            + 0.5 * (log10(v["sgd_lr"]) - log10(1 - v["momentum"]) + 0.3) ** 2
            + (v["momentum"] - 0.9) ** 2
            + (0 if v["nesterov"] else 0.03)
        ),
        "adam": lambda: (
            0.15
            + 0.6 * (log10(v["adam_lr"]) + 3) ** 2
            + 10 * (v["beta1"] - 0.9) ** 2
            + 0.1 * (log10(1 - v["beta2"]) + 2.5) ** 2
        ),
        "lion": lambda: 0.10 + 0.9 * (log10(v["lion_lr"]) + 4) ** 2 + 3 * (v["lion_beta1"] - 0.92) ** 2,
        "rmsprop": lambda: 0.45 + 0.4 * (log10(v["rmsprop_lr"]) + 3.2) ** 2,
    }[v["opt"]]()
    loss += {
        "cosine": lambda: 10 * (v["warmup"] - 0.06) ** 2,
        "step": lambda: 0.1 + 0.3 * (v["gamma"] - 0.3) ** 2,
        "const": lambda: 0.2,
    }[v["sched"]]()
    return loss + 0.1 * (log10(v["wd"]) + 3.5) ** 2


COND14 = (
    choice("opt", "sgd", "adam", "lion", "rmsprop"),
    choice("sched", "const", "cosine", "step"),
    real("wd", 1e-6, 1e-1, log=True),
    real("sgd_lr", 1e-4, 1, ("opt", ("sgd",)), log=True),
    real("momentum", 0, 0.99, ("opt", ("sgd",))),
    choice("nesterov", *NO_YES, under=("opt", ("sgd",))),
    real("adam_lr", 1e-5, 1e-1, ("opt", ("adam",)), log=True),
    real("beta1", 0.5, 0.99, ("opt", ("adam",))),
    real("beta2", 0.9, 0.9999, ("opt", ("adam",))),
    real("lion_lr", 1e-6, 1e-2, ("opt", ("lion",)), log=True),
    real("lion_beta1", 0.5, 0.99, ("opt", ("lion",))),
    real("rmsprop_lr", 1e-5, 1e-1, ("opt", ("rmsprop",)), log=True),
    real("warmup", 0, 0.3, ("sched", ("cosine",))),
    real("gamma", 0.05, 0.9, ("sched", ("step",))),
)

DIGITS = (
    choice("solver", "sgd", "adam"),
    real("lr_sgd", 1e-4, 1, ("solver", ("sgd",)), log=True),
    real("mom", 0, 0.99, ("solver", ("sgd",))),
    choice("nest", *NO_YES, under=("solver", ("sgd",))),
    real("lr_adam", 1e-5, 1e-1, ("solver", ("adam",)), log=True),
    real("b1", 0.5, 0.99, ("solver", ("adam",))),
    real("alpha", 1e-7, 1e-1, log=True),
    choice("batch", 16, 32, 64, 128, 256),
    whole("layers", 1, 3),
    whole("units", 8, 128, log=True),
    choice("act", "relu", "tanh", "logistic"),
)


def _encoded(v: Values) -> list[float]:
    found: list[float] = []
    for row in DIGITS:
        value = v.get(row.name)
        if row.kind == "choice" and row.name != "batch":
            found.extend(float(str(value) == str(option)) for option in row.choices)
        elif value is None:
            found.append(-99.0)
        else:
            found.append(log10(value) if row.log or row.name == "batch" else float(value))
    return found


@functools.cache
def _forest() -> Any:
    """Returns the surrogate of 826 real trainings of a perceptron on scikit-learn's digits."""
    from sklearn.ensemble import ExtraTreesRegressor

    with (Path(__file__).parent / "digits_mlp_trials.csv").open() as file:
        table = list(csv.DictReader(file))
    kinds: dict[str, Callable[[str], Any]] = {"choice": str, "float": float, "int": float}
    rows = []
    for line in table:
        known = {row.name: row for row in DIGITS if line[row.name] not in ("", None)}
        v = {n: float(line[n]) if n == "batch" else kinds[row.kind](line[n]) for n, row in known.items()}
        rows.append(_encoded(v))
    losses = [math.log(float(line["val_log_loss"])) for line in table]
    return ExtraTreesRegressor(60, min_samples_leaf=2, random_state=0).fit(rows, losses)


def _digits(v: Values) -> float:
    return math.exp(float(_forest().predict([_encoded(v)])[0]))


MIXED7 = (
    choice("act", "relu", "gelu", "tanh", "sigmoid"),
    choice("init", "he", "glorot", "zeros"),
    real("lr", 1e-5, 1, log=True),
    real("wd", 1e-7, 1e-1, log=True),
    whole("depth", 1, 8),
    whole("units", 16, 1024, log=True),
    real("drop", 0, 0.7),
)

PROBLEMS = {
    "branin": Problem((real("x", -5, 10), real("y", 0, 15)), _branin),
    "hartmann6": Problem(tuple(real(f"x{i}", 0, 1) for i in range(6)), _hartmann6),
    "mixed7": Problem(MIXED7, _mixed7),
    "cond14": Problem(COND14, _cond14),
    "digits": Problem(DIGITS, _digits),
    **HELD_OUT,
}

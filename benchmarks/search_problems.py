"""Problems for the search benchmarks: spaces with conditions, and what is to be minimised over them.

The first five were known while the sampler was made. `nested15`, `noisy8`, `wide20`, `trap10` and `cancer12` are held
out: they were written after the settings of `ConditionalGPSampler` had been chosen, on branin, hartmann6 and cond14,
and not run before these were frozen (wide20 for its CPU time only). Whoever changes settings after looking at their results writes new problems.
"""

import csv
import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Values = Mapping[str, Any]
Under = tuple[str, tuple[Any, ...]] | None
log10 = math.log10
NO_YES = (False, True)


@dataclass(frozen=True)
class Row:
    """One parameter.

    Attributes:
        name: Unique in its problem.
        kind: "float", "int" or "choice".
        low: Lower end of a range.
        high: Upper end of a range, inclusive.
        log: Whether the range is logarithmic.
        choices: Of a "choice".
        under: The parent and its values under which the parameter exists.
    """

    name: str
    kind: str
    low: float = 0.0
    high: float = 1.0
    log: bool = False
    choices: tuple[Any, ...] = ()
    under: Under = None


@dataclass(frozen=True)
class Problem:
    """What is minimised over what.

    Attributes:
        rows: Parameters, parents first.
        truth: Values of the active parameters to the number that counts.
        noise: Standard deviation of what is added to it when a trial is told.
        held_out: Whether the sampler's settings were frozen before the first run on it.
    """

    rows: tuple[Row, ...]
    truth: Callable[[Values], float]
    noise: float = 0.0
    held_out: bool = False


def real(name: str, low: float, high: float, under: Under = None, *, log: bool = False) -> Row:
    """Returns a real parameter."""
    return Row(name, "float", low, high, log, under=under)


def whole(name: str, low: int, high: int, under: Under = None, *, log: bool = False) -> Row:
    """Returns a whole parameter."""
    return Row(name, "int", low, high, log, under=under)


def choice(name: str, *choices: Any, under: Under = None) -> Row:
    """Returns a categorical parameter."""
    return Row(name, "choice", choices=choices, under=under)


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


# Held out.


def _nested15(v: Values) -> float:
    """Families of models with parts of their own, three levels deep; what is best in a part depends on the rate."""
    rate = log10(v["rate"])
    loss = 0.3 * math.tanh((rate + 2.5 + 0.4 * (v["batch"] - 6)) ** 2) + 0.05 * (v["batch"] - 5) ** 2
    if v["family"] == "linear":
        return loss + 0.55 + 0.1 * (log10(v["penalty"]) + 2) ** 2
    if v["family"] == "trees":
        return loss + 0.3 + 0.02 * (v["leaves"] - 31) ** 2 / 31 + 0.3 * (v["fraction"] - 0.7) ** 2
    loss += 0.05 * (v["depth"] - 3) ** 2 + 0.1 * (math.log2(v["width"]) - 8 + 0.5 * v["depth"]) ** 2
    if v["norm"] == "batch":
        loss += 0.1 + 5 * (v["norm_momentum"] - 0.9) ** 2
    elif v["norm"] == "layer":
        loss += 0.05
    else:
        loss += 0.2
    if v["noise"] == "dropout":
        loss += (v["drop"] - 0.1 * v["depth"]) ** 2
    elif v["noise"] == "mixup":
        loss += 0.02 + 0.2 * (v["mixup"] - 0.2) ** 2
        loss += {"beta": 0.1, "fixed": 0.3 * abs(v.get("ratio", 0.5) - 0.5)}[v["mixing"]]
    else:
        loss += 0.15
    return loss


NET, MIXUP = ("family", ("net",)), ("noise", ("mixup",))
NESTED15 = (
    real("rate", 1e-5, 1, log=True),
    whole("batch", 3, 9),
    choice("family", "linear", "trees", "net"),
    real("penalty", 1e-6, 1e2, ("family", ("linear",)), log=True),
    whole("leaves", 4, 256, ("family", ("trees",)), log=True),
    real("fraction", 0.3, 1, ("family", ("trees",))),
    whole("depth", 1, 6, NET),
    whole("width", 16, 1024, NET, log=True),
    choice("norm", "none", "batch", "layer", under=NET),
    real("norm_momentum", 0.5, 0.999, ("norm", ("batch",))),
    choice("noise", "none", "dropout", "mixup", under=NET),
    real("drop", 0, 0.8, ("noise", ("dropout",))),
    real("mixup", 0, 1, MIXUP),
    choice("mixing", "beta", "fixed", under=MIXUP),
    real("ratio", 0, 1, ("mixing", ("fixed",))),
)


def _noisy8(v: Values) -> float:
    loss = 0.5 * (log10(v["lr"]) + 3 - 0.3 * (log10(v["wd"]) + 3)) ** 2 + 0.1 * (log10(v["wd"]) + 4) ** 2
    loss += sum(w * (v[n] - at) ** 2 for n, at, w in (("drop", 0.3, 1), ("smooth", 0.1, 3), ("ema", 0.6, 0.2)))
    loss += 0.1 * (v["layers"] - 4) ** 2 + {"relu": 0.1, "gelu": 0.0, "silu": 0.03}[v["act"]]
    return loss + 0.05 * math.sin(12 * v["mix"]) ** 2


NOISY8 = (
    real("lr", 1e-6, 1, log=True),
    real("wd", 1e-7, 1e-1, log=True),
    real("drop", 0, 0.9),
    real("smooth", 0, 0.5),
    real("ema", 0, 1),
    whole("layers", 1, 10),
    choice("act", "relu", "gelu", "silu"),
    real("mix", 0, 1),
)


def _wide20(v: Values) -> float:
    """Twenty parameters, of which eight matter, two of these together only."""
    x = [v[f"x{i}"] for i in range(12)]
    loss = (
        2 * (x[0] - 0.3) ** 2
        + 3 * (x[1] * x[2] - 0.35) ** 2
        + (x[3] - x[4]) ** 2
        + 0.01 * sum((a - 0.5) ** 2 for a in x[5:])
    )
    loss += 0.3 * (log10(v["lr"]) + 2.5) ** 2 + 0.05 * abs(math.log2(v["units"]) - 6)
    loss += {"a": 0.0, "b": 0.1, "c": 0.4}[v["c0"]] + {"a": 0.02, "b": 0.0}[v["c1"]] + 0.01 * (v["c2"] != "a")
    return loss + 0.02 * abs(v["n0"] - 3) + 0.001 * v["n1"] + 0.01 * (log10(v["wd"]) + 4) ** 2


WIDE20 = (
    *(real(f"x{i}", 0, 1) for i in range(12)),
    real("lr", 1e-6, 1, log=True),
    real("wd", 1e-7, 1e-1, log=True),
    whole("units", 8, 1024, log=True),
    choice("c0", "a", "b", "c"),
    choice("c1", "a", "b"),
    choice("c2", "a", "b", "c", "d"),
    whole("n0", 1, 8),
    whole("n1", 0, 20),
)


def _trap10(v: Values) -> float:
    """The branch whose middle is worst has the lowest, narrow minimum."""
    if v["branch"] == "wide":
        return 0.4 + 0.3 * ((v["w0"] - 0.4) ** 2 + (v["w1"] - 0.6) ** 2) + 0.02 * (v["w2"] - 3) ** 2
    if v["branch"] == "middle":
        return 0.3 + (v["m0"] - 0.7) ** 2 + 0.5 * (log10(v["m1"]) + 2) ** 2 / 4
    narrow = (v["n0"] - 0.25) ** 2 + (v["n1"] - 0.65) ** 2 + (0.0 if v["n2"] else 0.05)
    return 1 - math.exp(-12 * narrow) + 0.05 * (log10(v["shared"]) + 3) ** 2


TRAP10 = (
    choice("branch", "wide", "middle", "narrow"),
    real("shared", 1e-5, 1e-1, log=True),
    real("w0", 0, 1, ("branch", ("wide",))),
    real("w1", 0, 1, ("branch", ("wide",))),
    whole("w2", 1, 8, ("branch", ("wide",))),
    real("m0", 0, 1, ("branch", ("middle",))),
    real("m1", 1e-4, 1, ("branch", ("middle",)), log=True),
    real("n0", 0, 1, ("branch", ("narrow",))),
    real("n1", 0, 1, ("branch", ("narrow",))),
    choice("n2", *NO_YES, under=("branch", ("narrow",))),
)


@functools.cache
def _cancer_data() -> Any:
    from sklearn.datasets import load_breast_cancer
    from sklearn.model_selection import StratifiedKFold

    x, y = load_breast_cancer(return_X_y=True)
    return x, y, list(StratifiedKFold(3, shuffle=True, random_state=0).split(x, y))


def _classifier(v: Values) -> Any:
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from sklearn.svm import SVC

    if v["model"] == "logistic":
        return LogisticRegression(C=v["C"], max_iter=200)
    if v["model"] == "svm":
        gamma = v["gamma"] if v["kernel"] == "rbf" else "scale"
        return SVC(C=v["svm_C"], kernel=v["kernel"], gamma=gamma, degree=v.get("degree", 3), random_state=0)
    if v["model"] == "trees":
        return ExtraTreesClassifier(30, max_depth=v["max_depth"], max_features=v["features"], random_state=0)
    return MLPClassifier(
        (v["hidden"],), alpha=v["decay"], learning_rate_init=v["mlp_lr"], max_iter=40, random_state=0, batch_size=64
    )


def _cancer12(v: Values) -> float:
    """Cross-validated classifiers on scikit-learn's breast cancer data: 100 (1 - area under the curve)."""
    import warnings

    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler, StandardScaler

    x, y, folds = _cancer_data()
    losses = []
    for train, test in folds:
        model = make_pipeline(StandardScaler() if v["scaler"] == "standard" else MinMaxScaler(), _classifier(v))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # That few iterations do not converge is part of the problem.
            model.fit(x[train], y[train])
        score = (
            model.decision_function(x[test])
            if hasattr(model, "decision_function")
            else model.predict_proba(x[test])[:, 1]
        )
        losses.append(100 * (1 - roc_auc_score(y[test], score)))
    return float(np.mean(losses))


SVM = ("model", ("svm",))
CANCER12 = (
    choice("scaler", "standard", "minmax"),
    choice("model", "logistic", "svm", "trees", "mlp"),
    real("C", 1e-4, 1e3, ("model", ("logistic",)), log=True),
    real("svm_C", 1e-3, 1e3, SVM, log=True),
    choice("kernel", "linear", "rbf", "poly", under=SVM),
    real("gamma", 1e-5, 1, ("kernel", ("rbf",)), log=True),
    whole("degree", 2, 5, ("kernel", ("poly",))),
    whole("max_depth", 2, 20, ("model", ("trees",))),
    real("features", 0.1, 1, ("model", ("trees",))),
    whole("hidden", 4, 128, ("model", ("mlp",)), log=True),
    real("decay", 1e-6, 1e1, ("model", ("mlp",)), log=True),
    real("mlp_lr", 1e-5, 1e-1, ("model", ("mlp",)), log=True),
)

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
    "nested15": Problem(NESTED15, _nested15, held_out=True),
    "noisy8": Problem(NOISY8, _noisy8, noise=0.15, held_out=True),
    "wide20": Problem(WIDE20, _wide20, held_out=True),
    "trap10": Problem(TRAP10, _trap10, held_out=True),
    "cancer12": Problem(CANCER12, _cancer12, held_out=True),
}

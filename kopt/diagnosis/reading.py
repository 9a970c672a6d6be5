"""What several rules ask of statistics: kinds of losses, kernels' ratios, the loss of a constant, whether it learns."""

import math
from collections.abc import Iterable
from statistics import median
from typing import Any

from kopt.diagnosis.statistics import Look, Statistics

CATEGORICAL = ("sparse_categorical_crossentropy", "categorical_crossentropy", "categorical_focal_crossentropy")
BINARY = ("binary_crossentropy", "binary_focal_crossentropy")
SQUARED = ("mse", "mean_squared_error")
REGRESSION = (
    *SQUARED, "mae", "mean_absolute_error", "huber", "log_cosh", "mean_squared_logarithmic_error", "msle",
    "mean_absolute_percentage_error", "mape",
)  # fmt: skip
LEARNT = 0.9
"""A loss below this fraction of that of a constant prediction counts as something learnt."""
LEAST_STEPS = 40
"""Optimizer steps that a run must have taken before it is said to learn nothing."""
_TINY = 1e-12


def family_of(loss: str | None) -> str:
    """Returns `"categorical"`, `"binary"`, `"regression"` or `"other"` for the name of a loss."""
    for family, names in (("categorical", CATEGORICAL), ("binary", BINARY), ("regression", REGRESSION)):
        if loss in names:
            return family
    return "other"


def outputs(stats: Statistics) -> list[dict[str, Any]]:
    """Returns the facts of the outputs; several go by the names under which steps or targets have them."""
    known = list(stats.model.get("outputs", []))
    if len(known) < 2:
        return known
    names = list(stats.looks[0].family("predictions_mean")) if stats.looks else sorted(stats.data.get("targets", {}))
    if len(names) != len(known):
        return known
    return [{**output, "seen_as": name} for output, name in zip(known, names, strict=True)]


def finite(values: Iterable[float]) -> list[float]:
    """Returns those of the values that are numbers."""
    return [value for value in values if math.isfinite(value)]


def middle(values: Iterable[float]) -> float | None:
    """Returns the median of the finite values; None if there are none."""
    kept = finite(values)
    return median(kept) if kept else None


def seen(stats: Statistics, tag: str, looks: Iterable[Look] | None = None) -> list[float]:
    """Returns the values of a tag in all steps that were looked at, or in some."""
    return [look.numbers[tag] for look in (stats.looks if looks is None else looks) if tag in look.numbers]


def hidden_kernels(stats: Statistics, look: Look) -> list[str]:
    """Returns the paths of matrices that a step has updated and that are not those of an output."""
    known = stats.model.get("kernels")
    if known:
        return [
            path for path, facts in known.items() if not facts["is_output"] and f"weights_norm/{path}" in look.numbers
        ]
    paths = [path for path in look.family("weights_norm") if path.endswith("kernel")]
    return paths[:-1] or paths


def update_ratios(stats: Statistics, look: Look) -> list[float]:
    """Returns update / weight of the hidden kernels; of all kernels if there is only that of the output."""
    paths = hidden_kernels(stats, look) or list(stats.model.get("kernels", {}))
    return finite(look.numbers.get(f"update_to_weight/{path}", math.nan) for path in paths)


def update_ratio(stats: Statistics, look: Look) -> float | None:
    """Returns their median."""
    return middle(update_ratios(stats, look))


def gradient_ratios(stats: Statistics, look: Look) -> dict[str, float]:
    """Returns gradient / weight of the hidden kernels by path, where the weights are not 0."""
    found = {}
    for path in hidden_kernels(stats, look):
        weight = look.numbers[f"weights_norm/{path}"]
        gradient = look.numbers.get(f"gradients_norm/{path}", math.nan)
        if weight > 0 and math.isfinite(weight) and math.isfinite(gradient):
            found[path] = gradient / weight
    return found


def shares(stats: Statistics, family: str, output: str, looks: Iterable[Look] | None = None) -> list[float]:
    """Returns the share of each class in `targets` or `predictions`, as a mean over steps."""
    rows: dict[int, list[float]] = {}
    for look in stats.looks if looks is None else looks:
        for key, value in look.family(f"{family}_share/{output}").items():
            rows.setdefault(int(key), []).append(value)
    return [sum(rows[k]) / len(rows[k]) for k in sorted(rows)]


def constant_loss(stats: Statistics) -> float | None:
    """Returns the loss of the best constant prediction; None where there are several outputs or it is not known."""
    known = outputs(stats)
    if len(known) != 1:
        return None
    loss, name = known[0]["loss"], known[0]["seen_as"]
    family = family_of(loss)
    if family == "categorical":
        classes = _array_shares(stats) or shares(stats, "targets", name)
        return _entropy(classes) if classes else None
    if family == "binary":
        several = shares(stats, "targets", name)
        means = several or [value for value in [_target(stats, "mean")] if value is not None]
        return sum(_entropy([p, 1 - p]) for p in means) / len(means) if means else None
    if loss in SQUARED:
        deviation = _target(stats, "std")
        return None if deviation is None or known[0].get("units") not in (1, None) else deviation**2
    return None


def best_loss(stats: Statistics) -> float | None:
    """Returns the lowest training loss of an epoch."""
    kept = finite(stats.metric("loss"))
    return min(kept) if kept else None


def first_loss(stats: Statistics) -> float | None:
    """Returns the loss of the first step, or of the first epoch if no step was seen."""
    kept = finite(seen(stats, "loss/total")[:1]) or finite(stats.metric("loss")[:1])
    return kept[0] if kept else None


def figures_of(stats: Statistics, kind: str) -> dict[str, dict[str, float]]:
    """Returns mean, std, rms, min and max by name, from the arrays, or else from the steps."""
    found: dict[str, dict[str, float]] = {}
    for name, facts in stats.data.get(kind, {}).items():
        if "mean" in facts:
            means = {"mean": facts["mean"], "std": facts["std"]}
            if kind == "inputs" and "feature_mean_max" in facts:
                means = {"mean": facts["feature_mean_max"], "std": facts["feature_std_max"]}
            found[name] = means | {key: facts[key] for key in ("rms", "min", "max")}
    if stats.data.get(kind):
        return found
    for name in {key for look in stats.looks for key in look.family(f"{kind}_mean")}:
        averages, deviations = (finite(seen(stats, f"{kind}_{figure}/{name}")) for figure in ("mean", "std"))
        if averages and deviations:
            mean, deviation = max(averages, key=abs), max(deviations)
            lows, highs = (finite(seen(stats, f"{kind}_{figure}/{name}")) for figure in ("min", "max"))
            found[name] = {"mean": mean, "std": deviation, "rms": (mean**2 + deviation**2) ** 0.5}
            if lows and highs:
                found[name] |= {"min": min(lows), "max": max(highs)}
    return found


def learns(stats: Statistics) -> bool:
    """Returns whether some epoch's loss is well below that of a constant, or else well below that of the first step."""
    best = best_loss(stats)
    if best is None:
        return False
    start = constant_loss(stats)
    if start is None:
        # What an earlier `fit` has learnt is not seen in a loss that begins low.
        start = None if stats.model.get("steps_done") else first_loss(stats)
    return start is None or best < LEARNT * start


def ended(stats: Statistics) -> int:
    """Returns how many epochs have ended."""
    return len(stats.epochs)


def steps(stats: Statistics) -> int:
    """Returns how many optimizer steps the run has taken, as far as was seen."""
    return stats.looks[-1].step - stats.looks[0].step + 1 if stats.looks else 0


def is_worse(stats: Statistics) -> bool:
    """Returns whether the last epoch's loss is well above that of the first step and of a constant, or no number."""
    last = stats.metric("loss")[-1:]
    starts = finite(start for start in (first_loss(stats), constant_loss(stats)) if start is not None)
    return bool(last) and (not math.isfinite(last[0]) or (bool(starts) and last[0] > 1.15 * max(starts)))


def stands_still(stats: Statistics) -> bool:
    """Returns whether nothing is learnt, and the loss of the last epoch is no better than that of the first.

    At the end of a run it is enough that nothing was learnt.
    """
    losses = stats.metric("loss")
    if ended(stats) < 3 or steps(stats) < LEAST_STEPS or learns(stats):
        return False
    return stats.is_over or not losses[-1] < 0.99 * losses[0]


def _array_shares(stats: Statistics) -> list[float]:
    facts = list(stats.data.get("targets", {}).values())
    return list(facts[0].get("classes", {}).values()) if len(facts) == 1 else []


def _target(stats: Statistics, figure: str) -> float | None:
    facts = list(stats.data.get("targets", {}).values())
    if len(facts) == 1 and figure in facts[0]:
        return facts[0][figure]
    return middle(seen(stats, f"targets_{figure}/all"))


def _entropy(probabilities: Iterable[float]) -> float:
    return -sum(p * math.log(p) for p in probabilities if p > _TINY)

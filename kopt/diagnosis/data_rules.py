"""Rules about the data: broken values, scale, labels that leak, rows that repeat, rare classes, impossible targets."""

from collections.abc import Iterator
from typing import Any

from kopt.diagnosis.finding import Finding, listed, shown
from kopt.diagnosis.reading import family_of, figures_of, outputs, shares
from kopt.diagnosis.statistics import Statistics

LARGE_INPUT = 20.0
"""Mean or standard deviation of a feature above which inputs count as not scaled."""
SMALL_INPUT = 1e-3
"""Root mean square below which inputs count as not scaled."""
LARGE_TARGET = 20.0
"""Root mean square above which a regression's targets count as not scaled."""
SAME_ROWS = 0.01
"""Share of the validation rows that are in the training data too, from which that is told."""
RARE = 0.1
"""Share of the rarest class, as a fraction of an even share, below which classes count as imbalanced."""


def broken_values(stats: Statistics) -> Iterator[Finding]:
    """NaN or infinity in inputs and targets."""
    for kind, code in (("inputs", "NONFINITE_INPUT"), ("targets", "NONFINITE_TARGET")):
        for name, facts in stats.data.get(kind, {}).items():
            rows = facts.get("nonfinite_rows", 0)
            if rows:
                first = facts["first_nonfinite_row"]
                some = "1 row" if rows == 1 else f"{rows} rows"
                sentence = f"NaN or infinity in {some} of the {kind}{_of(name)}; the first is row {first}."
                advice = "Mend or drop them: `keep = np.isfinite(a.reshape(len(a), -1)).all(axis=1)`."
                yield Finding(code, "error", sentence, advice, name, {"rows": rows, "first_row": first})
        if stats.data.get(kind):
            continue
        for look in stats.looks:
            broken = {key: share for key, share in look.family(f"{kind}_nonfinite_fraction").items() if share > 0}
            for name, share in broken.items():
                sentence = (
                    f"{shown(100 * share)} % of the {kind}{_of(name)} in the batch of step {look.step} are NaN or "
                    "infinity."
                )
                advice = "Pass the arrays, `Diagnose(x, y)`, to learn in which rows; mend or drop them."
                yield Finding(code, "error", sentence, advice, name, {"share": share}, look.step)
            if broken:
                break


def input_scale(stats: Statistics) -> Iterator[Finding]:
    """Inputs far from mean 0 and standard deviation 1, which no layer scales."""
    embeds = any(layer["kind"] == "Embedding" for layer in stats.model.get("layers", []))
    if stats.model.get("inputs_are_scaled") or not stats.model:
        return
    for name, facts in figures_of(stats, "inputs").items():
        is_whole = stats.data.get("inputs", {}).get(name, {}).get("dtype", "").startswith(("int", "uint"))
        if is_whole and embeds:
            continue
        mean, deviation = facts["mean"], facts["std"]
        if max(abs(mean), deviation) > LARGE_INPUT:
            sentence = (
                f"The inputs{_of(name)} are not scaled: the largest mean of a feature is {shown(mean)}, the largest "
                f"standard deviation {shown(deviation)}."
            )
        elif 0 < facts["rms"] < SMALL_INPUT:
            sentence = f"The inputs{_of(name)} are tiny: their root mean square is {shown(facts['rms'])}."
        else:
            continue
        advice = (
            "Scale them: `keras.layers.Normalization()` with `adapt(x)` in front of the model, `Rescaling(1 / 255)` "
            "for pixels."
        )
        yield Finding("INPUT_SCALE", "warning", sentence, advice, name, facts)


def target_scale(stats: Statistics) -> Iterator[Finding]:
    """Targets of a regression that a network's first outputs are far from."""
    figures = figures_of(stats, "targets")
    for output in outputs(stats):
        facts = figures.get(output["seen_as"])
        if facts is None or family_of(output["loss"]) != "regression" or output["activation"] not in ("linear", None):
            continue
        if facts["rms"] > LARGE_TARGET:
            sentence = (
                f"The targets{_of(output['seen_as'])} are not scaled: mean {shown(facts['mean'])}, standard deviation "
                f"{shown(facts['std'])}."
            )
            advice = "Train on `(y - y.mean()) / y.std()`, and scale the predictions back."
            yield Finding("TARGET_SCALE", "warning", sentence, advice, output["seen_as"], facts)


def impossible_targets(stats: Statistics) -> Iterator[Finding]:
    """Targets for which the loss is not defined."""
    figures = figures_of(stats, "targets")
    for output in outputs(stats):
        facts = figures.get(output["seen_as"])
        if facts is None or "min" not in facts:
            continue
        low, high, units = facts["min"], facts["max"], output.get("units")
        if family_of(output["loss"]) == "binary" and (low < 0 or high > 1):
            rule = "between 0 and 1"
        elif output["loss"] == "sparse_categorical_crossentropy" and (low < 0 or (units and 1 < units <= high)):
            rule = f"classes from 0 to {units - 1}" if units else "classes from 0"
        elif output["loss"] == "poisson" and low < 0:
            rule = "counts of 0 or more"
        else:
            continue
        sentence = (
            f"The targets of {output['loss']} must be {rule}, and here they are from {shown(low)} to {shown(high)}."
        )
        yield Finding("TARGET_RANGE", "error", sentence, "Number the classes anew, or take the loss that fits.",
                      output["seen_as"], {"min": low, "max": high})  # fmt: skip


def label_leak(stats: Statistics) -> Iterator[Finding]:
    """Features that alone tell the target."""
    leaks = stats.data.get("leaks", [])
    by_place: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for leak in leaks:
        by_place.setdefault((leak["input"], leak["target"]), []).append(leak)
    for (name, _), found in by_place.items():
        features = [", ".join(map(str, leak["feature"])) for leak in found]
        sentence = f"Feature {listed(features)} of the inputs{_of(name)} alone tells the target."
        advice = "If it is not known when the model is used, drop it: `np.delete(x, feature, axis=-1)`."
        yield Finding("LABEL_LEAK", "warning", sentence, advice, name, {"features": features})


def duplicates(stats: Statistics) -> Iterator[Finding]:
    """Rows that are in training and validation data."""
    found = stats.data.get("duplicates", {})
    if found and found["in_both"] > SAME_ROWS * found["rows"]:
        share = found["in_both"] / found["rows"]
        sentence = (
            f"{found['in_both']} of {found['rows']} validation rows ({shown(100 * share)} %) are in the training data "
            "too."
        )
        advice = "Split again, after `np.unique(x, axis=0)` or by groups: what validation says is too good."
        yield Finding("DUPLICATES", "warning", sentence, advice, "", dict(found))


def imbalance(stats: Statistics) -> Iterator[Finding]:
    """A class that hardly occurs."""
    for output in outputs(stats):
        if family_of(output["loss"]) not in ("categorical", "binary"):
            continue
        name = output["seen_as"]
        classes = stats.data.get("targets", {}).get(name, {}).get("classes")
        if classes is None and not stats.data and family_of(output["loss"]) == "categorical" and len(stats.looks) >= 16:
            classes = {str(k): share for k, share in enumerate(shares(stats, "targets", name)) if share > 0}
        if not classes or len(classes) < 2:
            continue
        rarest = min(classes, key=lambda key: classes[key])
        if classes[rarest] * len(classes) < RARE:
            sentence = (
                f"Class {rarest} has {shown(100 * classes[rarest])} % of the examples, of {len(classes)} classes."
            )
            advice = (
                "Look at recall or PR-AUC in place of accuracy, and weigh: `model.fit(..., class_weight={...})`, "
                "`keras.losses.BinaryFocalCrossentropy(apply_class_balancing=True)`."
            )
            yield Finding("IMBALANCE", "warning", sentence, advice, name, {"share": classes[rarest]})


def _of(name: str) -> str:
    return "" if name == "all" else f" `{name}`"


RULES = (
    broken_values, impossible_targets, label_leak, target_scale, input_scale, duplicates, imbalance,
)  # fmt: skip

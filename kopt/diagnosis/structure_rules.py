"""Rules about the model: output and loss that do not fit, what cannot learn, and how it is initialised."""

from collections.abc import Iterator
from typing import Any

from kopt.diagnosis.finding import Finding, listed, shown
from kopt.diagnosis.reading import family_of, figures_of, finite, outputs, seen, shares
from kopt.diagnosis.statistics import Statistics

LARGE_GAIN, SMALL_GAIN = 4.0, 0.1
"""Root mean square of a kernel times the root of its inputs, beyond which that is told; usual is 0.3 to 1.5."""
_PROBABILITIES = ("softmax", "sigmoid", "hard_sigmoid")
_BOUNDS = {
    "relu": (0.0, None), "relu6": (0.0, 6.0), "softplus": (0.0, None), "exponential": (0.0, None), "tanh": (-1.0, 1.0),
    "sigmoid": (0.0, 1.0), "hard_sigmoid": (0.0, 1.0), "softmax": (0.0, 1.0), "log_sigmoid": (None, 0.0),
    "softsign": (-1.0, 1.0),
}  # fmt: skip
_LEAST_LOOKS = 3


def outputs_and_losses(stats: Statistics) -> Iterator[Finding]:
    """Softmax twice, logits taken for probabilities, functions that cannot reach the targets."""
    for output in outputs(stats):
        finding = _of_probabilities(stats, output) or _of_range(stats, output)
        if finding is not None:
            yield finding


def _of_probabilities(stats: Statistics, output: dict[str, Any]) -> Finding | None:
    family, activation = family_of(output["loss"]), output["activation"]
    name = output["seen_as"]
    where = output["layer"] or name
    if activation == "softmax" and output.get("units") == 1 and output["loss"]:
        sentence = "The output is a softmax over one unit: it is 1 for every input."
        return Finding(
            "OUTPUT_ACTIVATION", "error", sentence, 'Use `Dense(1, "sigmoid")` with `binary_crossentropy`.', where
        )
    if family not in ("categorical", "binary"):
        return None
    loss = output["loss"]
    seem = _seem_probabilities(stats, name, family) if activation is None else None
    if output.get("softmax_twice") or (output["from_logits"] and (activation in _PROBABILITIES or seem)):
        twice = f"ends in a `{activation}`" if activation else "gives probabilities"
        sentence = (
            f"The loss `{loss}` applies a softmax or sigmoid by itself (`from_logits=True`), and the output is "
            f"{twice} already."
        )
        if output.get("softmax_twice"):
            sentence = "A softmax layer stands behind a layer that ends in a softmax."
        advice = "Drop one of them: `Dense(units)` with `from_logits=True` is the more exact."
        return Finding(
            "DOUBLE_SOFTMAX", "error", sentence, advice, where, {"activation": activation or "probabilities"}
        )
    if not output["from_logits"] and (activation == "linear" or seem is False):
        kind = "SparseCategorical" if loss == "sparse_categorical_crossentropy" else family.capitalize()
        sentence = f"The loss `{loss}` expects probabilities, and the output is linear."
        advice = f"Pass `keras.losses.{kind}Crossentropy(from_logits=True)`."
        return Finding(
            "LOGITS_AS_PROBABILITIES", "error", sentence, advice, where, {"activation": activation or "logits"}
        )
    return _wrong_kind(stats, output, family, where)


def _wrong_kind(stats: Statistics, output: dict[str, Any], family: str, where: str) -> Finding | None:
    activation, loss, name = output["activation"], output["loss"], output["seen_as"]
    labels = stats.data.get("targets", {}).get(name, {}).get("several")
    if labels is None and not stats.data:
        found = shares(stats, "targets", name)
        labels = sum(found) if len(found) > 1 else None
    several = labels is not None and abs(labels - 1) > 0.02
    if activation == "softmax" and several:
        sentence = (
            f"An example has {shown(labels)} labels on average, and the softmax of the output shares 1 among them."
        )
        advice = 'End in `Dense(units, "sigmoid")` with `binary_crossentropy`.'
    elif activation is not None and activation not in (*_PROBABILITIES, "linear", "log_softmax"):
        sentence = f"The loss `{loss}` expects probabilities, and the output ends in `{activation}`."
        right = "softmax" if family == "categorical" else "sigmoid"
        advice = f'End in `Dense(units, "{right}")`, or in a linear layer with `from_logits=True`.'
    elif activation == "sigmoid" and family == "categorical" and (output.get("units") or 0) > 1:
        sentence = f"The loss `{loss}` is one of classes that exclude each other, and the output ends in a sigmoid."
        advice = "End in a softmax, or in a linear layer with `from_logits=True`."
    else:
        return None
    return Finding("OUTPUT_ACTIVATION", "error", sentence, advice, where, {"activation": activation})


def _of_range(stats: Statistics, output: dict[str, Any]) -> Finding | None:
    """Returns a finding where the targets of a regression lie where the output cannot go."""
    bounds = _BOUNDS.get(output["activation"] or "")
    facts = figures_of(stats, "targets").get(output["seen_as"])
    if family_of(output["loss"]) != "regression" or bounds is None or facts is None or "min" not in facts:
        return None
    low, high = bounds
    width = max(facts["max"] - facts["min"], 1e-12)
    misses = max(0.0 if low is None else low - facts["min"], 0.0 if high is None else facts["max"] - high)
    if misses <= 0.02 * width:
        return None
    reach = f"{'-inf' if low is None else shown(low)} to {'inf' if high is None else shown(high)}"
    sentence = (
        f"The output ends in `{output['activation']}` and reaches {reach}; the targets go from {shown(facts['min'])} "
        f"to {shown(facts['max'])}."
    )
    advice = "End in a linear layer, `Dense(units)`, or scale the targets."
    evidence = {"targets_min": facts["min"], "targets_max": facts["max"]}
    return Finding("OUTPUT_ACTIVATION", "error", sentence, advice, output["layer"] or output["seen_as"], evidence)


def _seem_probabilities(stats: Statistics, name: str, family: str) -> bool | None:
    """Returns whether what a model of unknown structure puts out are probabilities; None where that cannot be told."""
    lows, highs = (finite(seen(stats, f"predictions_{end}/{name}")) for end in ("min", "max"))
    if len(lows) < _LEAST_LOOKS or not highs:
        return None
    if min(lows) < -1e-3 or max(highs) > 1 + 1e-3:
        return False
    if family == "binary":
        return True
    errors = finite(seen(stats, f"predictions_sum_error/{name}"))
    return max(errors) < 0.02 if errors else None


def nothing_trainable(stats: Statistics) -> Iterator[Finding]:
    """A model, or an output, whose weights are all frozen."""
    if not stats.model.get("weights"):
        return
    if not stats.model.get("trainable_weights"):
        sentence = f"None of the {stats.model['weights']:,} weights is trainable."
        advice = "Set `layer.trainable = True` where it is to learn, and compile again."
        yield Finding("NOT_TRAINABLE", "error", sentence, advice, "", {"weights": stats.model["weights"]})
        return
    frozen = [output["layer"] for output in outputs(stats) if output.get("trainable") is False and output["layer"]]
    if frozen:
        sentence = f"The output {listed(frozen)} is frozen, and layers below it are not."
        yield Finding(
            "NOT_TRAINABLE", "warning", sentence, "Set `layer.trainable = True` there, and compile again.", frozen[0]
        )


def symmetric_units(stats: Statistics) -> Iterator[Finding]:
    """Kernels all of whose units are equal, before training and after the first epoch."""
    found = [
        path for path, facts in stats.model.get("kernels", {}).items()
        if facts["units_are_equal"] and facts.get("units_stay_equal") and not facts["is_output"]
    ]  # fmt: skip
    if found and stats.epochs:
        sentence = f"All units of {listed(found)} began equal and stayed so: they are one unit, many times."
        advice = 'Begin with random kernels: `kernel_initializer="glorot_uniform"` (or `"he_normal"` for ReLU).'
        yield Finding("SYMMETRIC_INIT", "error", sentence, advice, found[0], {"kernels": len(found)})


def initial_scale(stats: Statistics) -> Iterator[Finding]:
    """Hidden kernels that begin far too large or far too small; not where layers are normalised anyway."""
    kernels = stats.model.get("kernels", {})
    if stats.model.get("is_normalized") or stats.model.get("steps_done"):
        return
    hidden = {
        path: facts for path, facts in kernels.items()
        if not any(facts[name] for name in ("is_output", "is_recurrent", "has_other_shape", "units_are_equal"))
    }  # fmt: skip
    large = [path for path, facts in hidden.items() if facts["gain"] > LARGE_GAIN]
    small = [path for path, facts in hidden.items() if max(facts["gain"], facts["gain_backward"]) < SMALL_GAIN]
    for paths, word, effect in ((large, "large", "outputs and gradients explode, or saturate"),
                                (small, "small", "signals and gradients vanish")):  # fmt: skip
        if paths:
            gain = hidden[paths[0]]["gain"]
            sentence = (
                f"The kernels of {listed(paths)} begin too {word}: root mean square times the root of the inputs is "
                f"{shown(gain)}, where about 1 keeps signals as they are; {effect}."
            )
            advice = (
                'Use `kernel_initializer="he_normal"` for ReLU and its like, `"glorot_uniform"` for tanh and sigmoid.'
            )
            yield Finding("INIT_SCALE", "warning", sentence, advice, paths[0], {"gain": gain, "kernels": len(paths)})


RULES = (outputs_and_losses, nothing_trainable, symmetric_units, initial_scale)

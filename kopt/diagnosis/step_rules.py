"""Rules about steps: a learning rate that does not fit, layers that get no gradient, that are dead or saturated."""

from collections.abc import Iterator

from kopt.diagnosis.finding import Finding, listed, shown
from kopt.diagnosis.reading import (
    LEAST_STEPS,
    best_loss,
    ended,
    finite,
    first_loss,
    gradient_ratios,
    is_worse,
    learns,
    middle,
    stands_still,
    steps,
    update_ratio,
)  # fmt: skip
from kopt.diagnosis.statistics import Look, Statistics

HIGH_EARLY, HIGH_STEADY = 0.25, 0.08
"""Update / weight, as the median of the hidden kernels: of one of the first steps, and in an epoch."""
LOW = 3e-4
"""Update / weight below which a rate is too low, if nothing is learnt."""
VANISHING = 2e-4
"""Gradient / weight of a hidden kernel, as a median over the first two epochs, below which it vanishes."""
DEAD, ALIVE = 0.9, 0.5
"""Share of units that put out 0 for all of a batch: from where a layer is dead, and up to where it is alive."""
SATURATED = 0.6
"""Share of a hidden layer's outputs at the ends of its range, from which it is saturated."""
_EARLY = 8


def rate_high(stats: Statistics) -> Iterator[Finding]:
    """Updates as large as the weights, after which the loss is no better; units that the updates have killed."""
    # A hard task may stand still at first; only a loss that became worse is told at once.
    if ended(stats) < 1 or learns(stats) or not (is_worse(stats) or stands_still(stats)):
        return
    ratios = [(look.step, ratio) for look in stats.looks[:_EARLY] if (ratio := update_ratio(stats, look)) is not None]
    step, largest = max(ratios, key=lambda pair: pair[1], default=(0, 0.0))
    if largest > HIGH_EARLY:
        sentence = (
            f"At step {step} the update was {shown(largest)} of the weights (usual: 1e-3 to 1e-2), and the loss "
            f"has not become better since: it began at {_loss(first_loss(stats))}, and its best epoch has "
            f"{_loss(best_loss(stats))}."
        )
        yield _too_high(sentence, "", {"update_to_weight": largest}, step)
        return
    steady = []
    for epoch in stats.epochs:
        found = [update_ratio(stats, look) for look in stats.of_epoch(int(epoch["epoch"]))]
        steady += [ratio for ratio in [middle(r for r in found if r is not None)] if ratio is not None]
    usual = middle(steady) or 0.0
    if len(steady) >= 2 and usual > HIGH_STEADY:
        sentence = (
            f"Updates are {shown(usual)} of the weights at each step (usual: 1e-3 to 1e-2), and nothing is learnt."
        )
        yield _too_high(sentence, "", {"update_to_weight": usual}, None)
        return
    killed = [path for path, (first, last) in _dead(stats).items() if first < ALIVE and last >= DEAD]
    if killed:
        sentence = f"The units of {listed(killed)} were alive at the first step, and now put out 0 for every example."
        yield _too_high(sentence, killed[0], {"layers": len(killed)}, None)


def _too_high(sentence: str, where: str, evidence: dict[str, float | None], step: int | None) -> Finding:
    advice = (
        "The learning rate is too high: divide it by 10, or begin with `kopt.schedules.Warmup(rate, steps)`; "
        "`kopt.callbacks.LearningRateFinder` looks for one."
    )
    return Finding("LEARNING_RATE_HIGH", "error", sentence, advice, where, evidence, step)


def rate_low(stats: Statistics) -> Iterator[Finding]:
    """Updates so small that nothing is learnt."""
    if ended(stats) < 3 or steps(stats) < LEAST_STEPS or learns(stats):
        return
    looks = _at_full_rate(stats)
    ratio = middle(finite(r for look in looks if (r := update_ratio(stats, look)) is not None))
    # Where gradients vanish, a higher rate would not help.
    if ratio is None or not 0 < ratio < LOW or min(_gradients_of_layers(stats).values(), default=1.0) < VANISHING:
        return
    sentence = f"Updates are {shown(ratio)} of the weights at each step (usual: 1e-3 to 1e-2), and nothing is learnt."
    advice = (
        "The learning rate is too low: multiply it by 10 or 100; `kopt.callbacks.LearningRateFinder` looks for one."
    )
    yield Finding("LEARNING_RATE_LOW", "warning", sentence, advice, "", {"update_to_weight": ratio})


def _at_full_rate(stats: Statistics) -> list[Look]:
    """Returns the steps that are not in a warm-up, nor at the end of a schedule."""
    rates = [look.numbers.get("learning_rate", 0.0) for look in stats.looks]
    highest = max(rates, default=0.0)
    return [look for look, rate in zip(stats.looks, rates, strict=True) if rate >= 0.5 * highest]


def vanishing(stats: Statistics) -> Iterator[Finding]:
    """Gradients that are lost on the way to the first layers."""
    if not stands_still(stats):
        return
    medians = _gradients_of_layers(stats)
    small = [path for path, ratio in medians.items() if ratio < VANISHING]
    if small and len(small) < len(stats.model.get("kernels", medians)):
        least = min(medians, key=lambda path: medians[path])
        sentence = (
            f"The gradient of {listed(small)} vanishes: at `{least}` it is {shown(medians[least])} of the weights."
        )
        advice = (
            'Use `"relu"` or `"gelu"` with `kernel_initializer="he_normal"`, normalise layers, or let inputs pass by: '
            "`keras.layers.Add()([x, block(x)])`."
        )
        yield Finding("VANISHING", "warning", sentence, advice, least, {"gradient_to_weight": medians[least]})


def _gradients_of_layers(stats: Statistics) -> dict[str, float]:
    """Returns gradient / weight of the hidden kernels, as medians over the first two epochs."""
    by_path: dict[str, list[float]] = {}
    for look in stats.looks:
        if look.epoch <= stats.epochs[1]["epoch"]:
            for path, ratio in gradient_ratios(stats, look).items():
                by_path.setdefault(path, []).append(ratio)
    # Queries and keys get hardly any gradient while attention is even, as it is in the beginning.
    attended = {path for path in by_path if any(f"/{part}/" in path for part in ("query", "key"))}
    return {path: middle(ratios) or 0.0 for path, ratios in by_path.items() if path not in attended}


def no_gradient(stats: Statistics) -> Iterator[Finding]:
    """Layers whose weights never get a gradient, while others do."""
    looks = [look for look in stats.looks if look.family("gradients_norm")]
    if len(looks) < 4 or not stats.model.get("trainable"):
        return
    largest = {path: max((look.family("gradients_norm").get(path, 0.0) for look in looks), key=abs)
               for path in stats.model["trainable"]}  # fmt: skip
    if not any(largest.values()):
        sentence = "No weight has got a gradient other than 0 at any step."
        advice = (
            "Look for what has no derivative between weights and loss: argmax, rounding, `ops.stop_gradient`, a "
            "constant output."
        )
        yield Finding("NO_GRADIENT", "error", sentence, advice, "", {"variables": len(largest)})
        return
    by_layer: dict[str, list[float]] = {}
    for path, norm in largest.items():
        by_layer.setdefault(path.rpartition("/")[0], []).append(norm)
    cut = [layer for layer, norms in by_layer.items() if not any(norms)]
    if cut:
        sentence = f"The weights of {listed(cut)} have never got a gradient other than 0: nothing in them is learnt."
        advice = (
            "Connect them to the loss (`ops.stop_gradient`, argmax and rounding cut them off), or freeze them on "
            "purpose: `layer.trainable = False`."
        )
        yield Finding("NO_GRADIENT", "warning", sentence, advice, cut[0], {"layers": len(cut)})


def dead_units(stats: Statistics) -> Iterator[Finding]:
    """Rectifiers that put out 0 for every example, from the start."""
    if ended(stats) < 1:
        return
    dead = [path for path, (first, last) in _dead(stats).items() if first >= ALIVE and last >= DEAD]
    if dead and not learns(stats):
        sentence = (
            f"The units of {listed(dead)} put out 0 for every example, and did so at the first step: no gradient "
            "passes them."
        )
        advice = (
            'Begin with `bias_initializer="zeros"`, `kernel_initializer="he_normal"`, or use `"leaky_relu"`, `"gelu"`.'
        )
        yield Finding("DEAD_UNITS", "warning", sentence, advice, dead[0], {"layers": len(dead)})


def _dead(stats: Statistics) -> dict[str, tuple[float, float]]:
    """Returns the dead share of each layer at the first step, and in the last epoch."""
    if not stats.looks:
        return {}
    first = stats.looks[0].family("activations_dead_fraction")
    last = stats.of_epoch(stats.looks[-1].epoch)
    found = {}
    for path, share in first.items():
        now = middle(look.family("activations_dead_fraction").get(path, 0.0) for look in last)
        found[path] = (share, now or 0.0)
    return found


def saturated(stats: Statistics) -> Iterator[Finding]:
    """Hidden tanh and sigmoid units at the ends of their range, from the start."""
    if ended(stats) < 1:
        return
    ends = {layer["path"] for layer in stats.model.get("layers", []) if layer["is_output"]}
    by_path: dict[str, list[float]] = {}
    for look in stats.of_epoch(stats.looks[0].epoch if stats.looks else 0):
        for path, share in look.family("activations_saturated_fraction").items():
            by_path.setdefault(path, []).append(share)
    medians = {path: middle(shares) or 0.0 for path, shares in by_path.items() if path not in ends}
    found = [path for path, share in medians.items() if share > SATURATED]
    if found:
        share = medians[found[0]]
        sentence = (
            f"{shown(100 * share)} % of the outputs of {listed(found)} are at the ends of their range, where "
            "gradients are 0."
        )
        advice = (
            'Scale the inputs, begin with smaller kernels (`"glorot_uniform"`), or put a `LayerNormalization` in front.'
        )
        yield Finding("SATURATED", "warning", sentence, advice, found[0], {"share": share})


def _loss(value: float | None) -> str:
    return "no number" if value is None else shown(value)


RULES = (rate_high, dead_units, saturated, vanishing, no_gradient, rate_low)

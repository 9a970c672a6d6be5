"""Rules about curves: labels that nothing explains, over-fitting, one class for all, a plateau, nothing learnt."""

from collections.abc import Iterator

from kopt.diagnosis.finding import Finding, shown
from kopt.diagnosis.reading import (
    best_loss,
    constant_loss,
    ended,
    family_of,
    finite,
    learns,
    middle,
    outputs,
    seen,
    shares,
    stands_still,
)  # fmt: skip
from kopt.diagnosis.statistics import Statistics

MEMORISED, UNEXPLAINED, RISEN = 0.96, 0.985, 1.02
"""As fractions of a constant's loss: training loss below, each validation loss above, the last one above: memorised."""
GAP_LEARNT, GAP_HELD = 0.03, 0.3
"""Training loss below and best validation loss above these fractions of the constant's loss: over-fitting."""
RISE = 1.2
"""Validation loss as a multiple of its best from which it rises."""
LEAST_CONSTANT = 0.35
"""A constant's loss below which one class has nearly all examples, and what is learnt of the others hardly shows."""
_PATIENCE = 3


def random_labels(stats: Statistics) -> Iterator[Finding]:
    """Training gets better than a constant prediction, and validation never does."""
    constant, train, held = constant_loss(stats), finite(stats.metric("loss")), finite(stats.metric("val_loss"))
    has_lag = any(layer["kind"] == "BatchNormalization" for layer in stats.model.get("layers", []))
    if (
        constant is None
        or constant < LEAST_CONSTANT
        or ended(stats) < 5
        or not train
        or not held
        or has_lag
        or not _is_classes(stats)
    ):
        return
    if train[-1] < MEMORISED * constant and min(held) > UNEXPLAINED * constant and held[-1] > RISEN * constant:
        sentence = (
            f"The training loss falls to {shown(train[-1])}, below the {shown(constant)} of always saying "
            f"the same, and the validation loss never does (best {shown(min(held))}): labels are learnt by heart."
        )
        advice = "See whether inputs and labels belong together (shuffled or sorted apart?), and look at some by eye."
        evidence = {"constant": constant, "loss": train[-1], "best_val_loss": min(held)}
        yield Finding("RANDOM_LABELS", "warning", sentence, advice, "", evidence)


def overfit(stats: Statistics) -> Iterator[Finding]:
    """Validation gets worse while training gets better, or stays far behind."""
    train, held = finite(stats.metric("loss")), finite(stats.metric("val_loss"))
    if len(held) < 2 * _PATIENCE or len(train) != len(held):
        return
    best = min(held)
    place = held.index(best)
    now = middle(held[-_PATIENCE:]) or 0.0
    is_rising = len(held) - 1 - place >= _PATIENCE and now > RISE * best and train[-1] < train[place]
    constant = constant_loss(stats)
    if constant is not None and held[-1] < 0.02 * constant:
        return
    is_behind = constant is not None and train[-1] < GAP_LEARNT * constant and best > GAP_HELD * constant
    if not is_rising and not is_behind:
        return
    epoch = stats.epochs[place]["epoch"]
    # A loss may rise because right answers get ever surer and wrong ones too, while as many are right.
    is_worse = is_behind or (train[-1] < 0.25 * held[-1] and _accuracy_fell(stats, place))
    sentence = (
        f"The validation loss was best in epoch {epoch:g} ({shown(best)}) and is {shown(held[-1])}, while the training "
        f"loss fell to {shown(train[-1])}."
    )
    advice = (
        "`keras.callbacks.EarlyStopping(restore_best_weights=True)`, more data or augmentation, "
        "`keras.layers.Dropout`, `kopt.optimizers.AdamW(weight_decay=...)`."
    )
    evidence = {"best_val_loss": best, "val_loss": held[-1], "loss": train[-1]}
    yield Finding("OVERFIT", "warning" if is_worse else "info", sentence, advice, "", evidence)


def _accuracy_fell(stats: Statistics, place: int) -> bool:
    accuracy = stats.metric("val_accuracy")
    return not accuracy or accuracy[-1] < accuracy[place] - 0.02


def collapse(stats: Statistics) -> Iterator[Finding]:
    """The same prediction for every example."""
    if not stands_still(stats):
        return
    looks = stats.of_epoch(stats.looks[-1].epoch)
    for output in outputs(stats):
        name = output["seen_as"]
        predicted, wanted = shares(stats, "predictions", name, looks), shares(stats, "targets", name)
        spread, deviation = (
            middle(seen(stats, f"predictions_spread/{name}", looks)),
            middle(seen(stats, f"targets_spread/{name}")),
        )
        if predicted and wanted and family_of(output["loss"]) == "categorical":
            if max(predicted) > 0.98 and max(wanted) < 0.9:
                k = predicted.index(max(predicted))
                sentence = (
                    f"Class {k} is predicted for {shown(100 * max(predicted))} % of the examples; "
                    f"{shown(100 * wanted[k])} % have it."
                )
                yield Finding(
                    "COLLAPSE", "warning", sentence, _CURE, output["layer"] or name, {"share": max(predicted)}
                )
        elif spread is not None and deviation and spread < 1e-3 * deviation:
            sentence = (
                f"All examples get the same prediction: it varies by {shown(spread)}, the targets by "
                f"{shown(deviation)}."
            )
            yield Finding("COLLAPSE", "warning", sentence, _CURE, output["layer"] or name, {"spread": spread})


_CURE = "See what the model is fed and whether gradients pass; begin again with a learning rate of a tenth."


def plateau(stats: Statistics) -> Iterator[Finding]:
    """A loss that stands still for half of a long run, well above 0."""
    losses = finite(stats.metric("loss"))
    half = len(losses) // 2
    if half < 5 or not learns(stats):
        return
    earlier, later = min(losses[:half]), min(losses[half:])
    constant = constant_loss(stats)
    if later > 0.99 * earlier and (constant is None or later > 0.1 * constant):
        sentence = f"The training loss has stood at about {shown(later)} since epoch {stats.epochs[half]['epoch']:g}."
        advice = (
            "Lower the rate there: `after=[kopt.transforms.ReduceOnPlateau()]`; or give the model more units, or "
            "stop earlier."
        )
        yield Finding("PLATEAU", "info", sentence, advice, "", {"loss": later})


def not_learning(stats: Statistics) -> Iterator[Finding]:
    """A loss that is no better than that of a constant prediction."""
    best, constant = best_loss(stats), constant_loss(stats)
    if best is None or not stands_still(stats):
        return
    than = (
        f"always saying the same has {shown(constant)}" if constant is not None else "no better than at the first step"
    )
    sentence = f"After {ended(stats)} epochs nothing is learnt: the best loss is {shown(best)}; {than}."
    advice = (
        "Try to learn 32 examples by heart: if that fails, the model or its loss is wrong; if not, the data or the "
        "rate."
    )
    yield Finding("NOT_LEARNING", "warning", sentence, advice, "", {"loss": best})


def batch_size(stats: Statistics) -> Iterator[Finding]:
    """A batch far below or far above the critical one."""
    critical = middle(seen(stats, "noise/critical_batch_size")[-5:])
    examples = middle(seen(stats, "batch_examples"))
    if critical is None or examples is None or len(seen(stats, "noise/critical_batch_size")) < 3:
        return
    if examples * 20 < critical or examples > 20 * critical:
        word = "small" if examples < critical else "large"
        effect = "doubling it would halve the steps" if word == "small" else "half of it would need hardly more steps"
        sentence = (
            f"A batch of {examples:g} is {word}: by its gradients' noise the critical batch size is about "
            f"{critical:.0f}; {effect}."
        )
        advice = "Change `batch_size`, and the learning rate with its square root (Adam) or with it (SGD)."
        yield Finding("BATCH_SIZE", "info", sentence, advice, "", {"critical": critical, "batch": examples})


def _is_classes(stats: Statistics) -> bool:
    known = outputs(stats)
    return len(known) == 1 and family_of(known[0]["loss"]) in ("categorical", "binary")


RULES = (random_labels, overfit, collapse, plateau, not_learning, batch_size)

"""Rules about numbers that break: where NaN came from, gradients that explode, a loss scale that collapses."""

import math
from collections.abc import Iterator

from kopt.diagnosis.finding import Finding, shown
from kopt.diagnosis.reading import finite, learns, middle, seen
from kopt.diagnosis.statistics import Look, Statistics

GROWTH = 100.0
"""Largest gradient norm, as a multiple of the first ones, from which it explodes if the loss rises with it."""
LOSS_GROWTH = 3.0
SCALE_FALL = 2.0**-8
"""Last loss scale as a fraction of the first below which it collapses."""


def origin_of_nan(stats: Statistics) -> Iterator[Finding]:
    """The first variable and step at which a number was not finite; the loss of an epoch where no step was seen."""
    before: Look | None = None
    for look in stats.looks:
        place = _broken(look)
        if place is None:
            before = look
            continue
        since = f"; at step {before.step} all was finite" if before else ""
        what = {"weights": "the weights of", "gradient": "the gradient of", "loss": "the loss"}[place[0]]
        named = f"{what} `{place[1]}`" if place[1] else what
        sentence = f"At step {look.step} {named} held NaN or infinity{since}."
        yield Finding("NAN", "error", sentence, _cure(place[0]), place[1], {"place": place[0]}, look.step)
        return
    for epoch in stats.epochs:
        if not math.isfinite(epoch.get("loss", 0.0)) and not seen(stats, "loss_scale"):
            sentence = (
                f"The loss of epoch {epoch['epoch']:g} is not finite, and no step that was looked at shows where."
            )
            advice = "Look at each step: `Diagnose(every=1)`."
            yield Finding("NAN", "error", sentence, advice, "", {"epoch": epoch["epoch"]})
            return


def _broken(look: Look) -> tuple[str, str] | None:
    for place, family in (("weights", "weights_norm"), ("gradient", "gradients_norm")):
        # With a loss scale, infinite gradients are how the scale is found.
        if family == "gradients_norm" and "loss_scale" in look.numbers:
            continue
        for path, norm in look.family(family).items():
            if not math.isfinite(norm):
                loss = look.numbers.get("loss/total", 0.0)
                return ("loss", "") if place == "gradient" and not math.isfinite(loss) else (place, path)
    loss = look.numbers.get("loss/total", 0.0)
    return ("loss", "") if not math.isfinite(loss) and "loss_scale" not in look.numbers else None


def _cure(place: str) -> str:
    if place == "loss":
        return (
            "Look for the logarithm, root or quotient of a number that may be 0 or less in loss and model, and keep it "
            "away from there: `ops.maximum(x, 1e-7)`; meanwhile `kopt.transforms.SkipNonFinite` leaves such steps out."
        )
    return (
        "Lower the learning rate, or clip: `global_clipnorm=1.0`; `before=[kopt.transforms.SkipNonFinite()]` leaves "
        "such steps out."
    )


def exploding(stats: Statistics) -> Iterator[Finding]:
    """Gradients that grow by orders of magnitude while the loss rises."""
    norms = [
        (look.step, look.numbers["gradients/global_norm"])
        for look in stats.looks
        if "gradients/global_norm" in look.numbers
    ]
    start = middle([norm for _, norm in norms[:3]])
    losses = finite(seen(stats, "loss/total"))
    if not start or len(norms) < 4 or not losses or learns(stats):
        return
    step, largest = max(norms, key=lambda pair: pair[1] if math.isfinite(pair[1]) else -1.0)
    if largest > GROWTH * start and max(losses) > LOSS_GROWTH * losses[0]:
        sentence = (
            f"The gradient's norm grew from {shown(start)} to {shown(largest)} at step {step}, and the loss with it."
        )
        advice = "Clip it: `global_clipnorm=1.0`; and lower the learning rate: `kopt.schedules.Warmup(rate, steps)`."
        yield Finding("EXPLODING", "error", sentence, advice, "", {"first": start, "largest": largest}, step)


def loss_scale(stats: Statistics) -> Iterator[Finding]:
    """A loss scale that falls and falls: steps are left out for ever."""
    scales = seen(stats, "loss_scale")
    if len(scales) >= 3 and (scales[-1] < 1 or scales[-1] <= SCALE_FALL * scales[0]):
        sentence = (
            f"The loss scale fell from {shown(scales[0])} to {shown(scales[-1])}: steps overflow whatever it is, and "
            "are left out."
        )
        advice = (
            "Something passes 65504 on the way forward: scale inputs, normalise layers, or train in "
            '`keras.config.set_dtype_policy("mixed_bfloat16")`.'
        )
        yield Finding(
            "LOSS_SCALE", "error", sentence, advice, "", {"first": scales[0], "last": scales[-1]}, stats.looks[-1].step
        )


RULES = (origin_of_nan, loss_scale, exploding)

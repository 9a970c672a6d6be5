"""Norms, statistics and histograms of gradients, weights and updates."""

import functools
import math
from collections.abc import Mapping
from typing import Any

from keras import ops

from kopt._backend import adapter_module
from kopt.monitoring.buckets import bucket_counts
from kopt.monitoring.quantity import Kept, Numbers, Quantity, SeenStep


class GlobalNorms(Quantity):
    """Norms over all variables: of the gradients before and after clipping, and of the update.

    Tags: `gradients/global_norm`, `gradients/global_norm_clipped`, `updates/global_norm`.

    Args:
        when: Rule or interval of its own; by default that of the monitor.
    """

    def in_step(self, seen: SeenStep) -> Numbers:
        clipped = seen.clipped()
        is_clipped = list(map(id, clipped)) != list(map(id, seen.step.gradients))
        squares = adapter_module.square_sums(clipped) if is_clipped else seen.gradient_squares
        return {
            f"gradients/global_norm{seen.suffix}": ops.sqrt(ops.sum(seen.gradient_squares)),
            f"gradients/global_norm_clipped{seen.suffix}": ops.sqrt(ops.sum(squares)),
            f"updates/global_norm{seen.suffix}": ops.sqrt(ops.sum(seen.update_squares)),
        }


class Norms(Quantity):
    """Of each variable the norms of gradient, weights (before the step) and update, and update / weights.

    Tags: `gradients_norm/<path>`, `weights_norm/<path>`, `updates_norm/<path>`, `update_to_weight/<path>`. The last is
    usually about 1e-3 in a run that learns.

    Args:
        when: Rule or interval of its own; by default that of the monitor.
    """

    def in_step(self, seen: SeenStep) -> Numbers:
        return {
            **seen.each("gradients_norm", ops.sqrt(seen.gradient_squares)),
            **seen.each("weights_norm", ops.sqrt(seen.weight_squares)),
            **seen.each("updates_norm", ops.sqrt(seen.update_squares)),
        }

    def after_step(self, numbers: Mapping[str, float], kept: Kept) -> dict[str, float]:
        return ratios(numbers)


def ratios(numbers: Mapping[str, float]) -> dict[str, float]:
    """Returns `update_to_weight/<path>` for each variable whose norms are there; NaN where weights of 0 are changed."""
    found = {}
    for tag, weight_tag, change_tag in _pairs_of_norms(tuple(numbers)):
        weight, change = numbers[weight_tag], numbers[change_tag]
        found[tag] = change / weight if weight else math.nan if change else 0.0
    return found


@functools.lru_cache(64)
def _pairs_of_norms(tags: tuple[str, ...]) -> list[tuple[str, str, str]]:
    split = [tag.partition("/") for tag in tags]
    return [
        (f"update_to_weight/{path}", f"weights_norm/{path}", f"updates_norm/{path}")
        for family, _, path in split
        if family == "weights_norm"
    ]


class GradientStatistics(Quantity):
    """Of each variable's gradient the mean, standard deviation, largest absolute value, zeros and non-finite elements.

    Tags: `gradients_mean|std|absmax|zero_fraction|nonfinite_fraction/<path>`, and the shares in all variables together
    as `gradients/zero_fraction` and `gradients/nonfinite_fraction`.

    Args:
        when: Rule or interval of its own; by default that of the monitor.
    """

    def in_step(self, seen: SeenStep) -> Numbers:
        gradients = [ops.cast(gradient, "float32") for gradient in seen.step.gradients]
        zeros = ops.stack([ops.mean(ops.cast(ops.equal(g, 0.0), "float32")) for g in gradients])
        broken = ops.stack([ops.mean(ops.cast(ops.logical_not(ops.isfinite(g)), "float32")) for g in gradients])
        means = [ops.mean(g) for g in gradients]
        variances = ops.stack([ops.mean(ops.square(g - mean)) for g, mean in zip(gradients, means, strict=True)])
        sizes = [math.prod(g.shape) for g in gradients]
        shares = ops.convert_to_tensor([size / max(sum(sizes), 1) for size in sizes], "float32")
        return {
            f"gradients/zero_fraction{seen.suffix}": ops.sum(zeros * shares),
            f"gradients/nonfinite_fraction{seen.suffix}": ops.sum(broken * shares),
            **seen.each("gradients_mean", ops.stack(means)),
            **seen.each("gradients_std", ops.sqrt(variances)),
            **seen.each("gradients_absmax", ops.stack([ops.max(ops.absolute(g)) for g in gradients])),
            **seen.each("gradients_zero_fraction", zeros),
            **seen.each("gradients_nonfinite_fraction", broken),
        }


class GradientHistograms(Quantity):
    """A histogram of each variable's gradient; buckets are quarter powers of two, the same at each step and run.

    Tags: `gradients/<path>`.

    Args:
        when: Rule or interval of its own; by default that of the monitor.
    """

    def counts_in_step(self, seen: SeenStep) -> dict[str, Any]:
        gradients = seen.step.gradients
        return {f"gradients/{seen.paths[i]}": bucket_counts(ops.cast(gradients[i], "float32")) for i in seen.chosen}

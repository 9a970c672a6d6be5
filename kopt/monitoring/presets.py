"""Named sets of quantities; what each costs is measured in `benchmarks/monitoring.py`."""

from collections.abc import Sequence
from typing import Any

from kopt._core import checks
from kopt.monitoring.activations import Activations
from kopt.monitoring.curvature import HessianEigenvalue, HessianTrace
from kopt.monitoring.direction import Alpha, Cosines, Distance
from kopt.monitoring.gradients import GlobalNorms, GradientHistograms, GradientStatistics, Norms
from kopt.monitoring.noise import NoiseScale
from kopt.monitoring.quantity import Quantity
from kopt.monitoring.resources import Memory, Throughput
from kopt.monitoring.run import Losses, Rates
from kopt.monitoring.trouble import FirstNonFinite

PRESETS = ("economy", "business", "full")


def economy() -> list[Quantity]:
    """Returns rates, losses and norms, the first NaN, time and memory.

    A look costs 5 to 26 % of a step of a CNN with 1M parameters on a CPU, 17 to 39 % of one of 3 ms, and 0.3 ms where
    a step takes 0.4 ms (JAX).
    """
    return [Rates(), Losses(), GlobalNorms(), Norms(), FirstNonFinite(), Throughput(), Memory()]


def business() -> list[Quantity]:
    """Returns `economy` with statistics and histograms of gradients, activations, noise, angles and distance.

    A look costs 2.3 to 4.6 steps of a CNN with 1M parameters on a CPU: one more pass for the noise, and gradients and
    weights that are kept. At an interval the step before each look is looked at too.
    """
    more = [GradientStatistics(), GradientHistograms(), Activations(), Distance(), Cosines(), NoiseScale()]
    return [*economy(), *more]


def full() -> list[Quantity]:
    """Returns `business` with curvature and alpha.

    A look costs 17 (TensorFlow) to 54 steps (PyTorch) of a CNN with 1M parameters on a CPU: some twenty products with
    the Hessian. At an interval of 1,000 that is 2 to 5 %.
    """
    return [*business(), HessianEigenvalue(), HessianTrace(), Alpha()]


def chosen_quantities(monitor: Any, *, histograms: bool = False) -> list[Quantity]:
    """Returns the quantities that a callback's `monitor` names.

    Args:
        monitor: A preset's name, a list of quantities, or None for the usual ones.
        histograms: Whether histograms of gradients come with them, if they are not there.
    """
    if monitor is None:
        chosen: Sequence[Quantity] = [Rates(), Losses(), GlobalNorms(), Norms(), GradientStatistics()]
    elif isinstance(monitor, str):
        preset = checks.choice("monitor", monitor, PRESETS)
        chosen = {"economy": economy, "business": business, "full": full}[preset]()
    else:
        advice = f"Or one of the names {', '.join(map(repr, PRESETS))}."
        chosen = checks.instances("monitor", monitor, Quantity, advice)
    if histograms and not any(isinstance(quantity, GradientHistograms) for quantity in chosen):
        chosen = [*chosen, GradientHistograms()]
    return list(chosen)

"""What to see of a training run, and when: quantities, rules and presets for the callbacks that show them."""

from kopt.monitoring.activations import Activations
from kopt.monitoring.batches import Batches
from kopt.monitoring.curvature import HessianEigenvalue, HessianTrace
from kopt.monitoring.direction import Alpha, Cosines, Distance
from kopt.monitoring.evidence import Evidence
from kopt.monitoring.gradients import GlobalNorms, GradientHistograms, GradientStatistics, Norms
from kopt.monitoring.noise import NoiseScale
from kopt.monitoring.presets import business, economy, full
from kopt.monitoring.quantity import Quantity
from kopt.monitoring.resources import Memory, Throughput
from kopt.monitoring.run import Losses, Rates
from kopt.monitoring.trouble import FirstNonFinite
from kopt.monitoring.when import When, at, every, first, logarithmic

__all__ = [
    "Activations",
    "Alpha",
    "Batches",
    "Cosines",
    "Distance",
    "Evidence",
    "FirstNonFinite",
    "GlobalNorms",
    "GradientHistograms",
    "GradientStatistics",
    "HessianEigenvalue",
    "HessianTrace",
    "Losses",
    "Memory",
    "NoiseScale",
    "Norms",
    "Quantity",
    "Rates",
    "Throughput",
    "When",
    "at",
    "business",
    "economy",
    "every",
    "first",
    "full",
    "logarithmic",
]

"""Learning-rate schedules, for kopt's optimizers and for Keras' own."""

from kopt.schedules.decays import AdamStepSize, Constant, CosineDecay, ExponentialDecay, StepDecay
from kopt.schedules.preview import plot, preview
from kopt.schedules.schedule import Schedule
from kopt.schedules.warmup import Warmup

__all__ = [
    "AdamStepSize",
    "Constant",
    "CosineDecay",
    "ExponentialDecay",
    "Schedule",
    "StepDecay",
    "Warmup",
    "plot",
    "preview",
]

"""Learning-rate schedules, for kopt's optimizers and for Keras' own."""

from kopt.schedules.arithmetic import Combination, maximum, minimum
from kopt.schedules.cycles import CosineRestarts, Cyclic, OneCycle
from kopt.schedules.decays import AdamStepSize, Constant, CosineDecay, ExponentialDecay, StepDecay
from kopt.schedules.phases import Join, MultiStep, WarmupStableDecay
from kopt.schedules.preview import plot, preview
from kopt.schedules.resolve import resolve
from kopt.schedules.schedule import Schedule
from kopt.schedules.slopes import REX, InverseSqrt, InverseTime, Linear, Polynomial
from kopt.schedules.warmup import Warmup

__all__ = [
    "REX",
    "AdamStepSize",
    "Combination",
    "Constant",
    "CosineDecay",
    "CosineRestarts",
    "Cyclic",
    "ExponentialDecay",
    "InverseSqrt",
    "InverseTime",
    "Join",
    "Linear",
    "MultiStep",
    "OneCycle",
    "Polynomial",
    "Schedule",
    "StepDecay",
    "Warmup",
    "WarmupStableDecay",
    "maximum",
    "minimum",
    "plot",
    "preview",
    "resolve",
]

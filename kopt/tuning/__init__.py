"""Search for hyperparameters: what to try, in which order, and what came of it."""

from kopt.tuning.hypermodel import make_hypermodel
from kopt.tuning.oracle import OptunaOracle
from kopt.tuning.sampler import ConditionalGPSampler
from kopt.tuning.space import Choice, Float, Int, Maybe, OptimizerSpace, ScheduleSpace, SearchSpace

__all__ = [
    "Choice",
    "ConditionalGPSampler",
    "Float",
    "Int",
    "Maybe",
    "OptimizerSpace",
    "OptunaOracle",
    "ScheduleSpace",
    "SearchSpace",
    "make_hypermodel",
]

"""Search for hyperparameters: what to try, in which order, and what came of it."""

from kopt.tuning.hypermodel import make_hypermodel
from kopt.tuning.objectives import ModelObjective, ModelSize
from kopt.tuning.oracle import OptunaOracle
from kopt.tuning.sampler import ConditionalGPSampler
from kopt.tuning.scikit import scikit_search
from kopt.tuning.space import Choice, Float, Int, Maybe, OptimizerSpace, ScheduleSpace, SearchSpace
from kopt.tuning.tuner import Tuner

__all__ = [
    "Choice",
    "ConditionalGPSampler",
    "Float",
    "Int",
    "Maybe",
    "ModelObjective",
    "ModelSize",
    "OptimizerSpace",
    "OptunaOracle",
    "ScheduleSpace",
    "SearchSpace",
    "Tuner",
    "make_hypermodel",
    "scikit_search",
]

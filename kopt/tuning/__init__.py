"""Search for hyperparameters: what to try, in which order, and what came of it."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
_HOMES = {
    "ConditionalGPSampler": "sampler",
    "ModelObjective": "objectives",
    "ModelSize": "objectives",
    "OptunaOracle": "oracle",
    "Tuner": "tuner",
    "make_hypermodel": "hypermodel",
    "scikit_search": "scikit",
}  # All others are in `space`.


def __getattr__(name: str) -> object:
    # Showing what a search has found takes a fraction of a second; Keras, KerasTuner and Optuna take several.
    if name in __all__:
        return getattr(importlib.import_module(f"kopt.tuning.{_HOMES.get(name, 'space')}"), name)
    raise AttributeError(f"module 'kopt.tuning' has no attribute {name!r}")

"""Search for hyperparameters: what to try, in which order, and what came of it."""

from kopt.tuning.hypermodel import make_hypermodel
from kopt.tuning.space import Choice, Float, Int, Maybe, OptimizerSpace, ScheduleSpace, SearchSpace

__all__ = ["Choice", "Float", "Int", "Maybe", "OptimizerSpace", "ScheduleSpace", "SearchSpace", "make_hypermodel"]

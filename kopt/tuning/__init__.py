"""Search for hyperparameters: what to try, in which order, and what came of it."""

from kopt.tuning.scikit import scikit_search
from kopt.tuning.tuner import Tuner

__all__ = ["Tuner", "scikit_search"]

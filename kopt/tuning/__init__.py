"""Search for hyperparameters: what to try, in which order, and what came of it."""

from kopt.tuning.oracle import OptunaOracle
from kopt.tuning.sampler import ConditionalGPSampler

__all__ = ["ConditionalGPSampler", "OptunaOracle"]

"""A Gaussian process over conditional search spaces, as a sampler that any Optuna study can use."""

from kopt.tuning.sampler.sampler import ConditionalGPSampler

__all__ = ["ConditionalGPSampler"]

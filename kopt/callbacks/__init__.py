"""Callbacks that look at a training run and leave it as it is."""

from kopt.callbacks.tensorboard import TensorBoard

__all__ = ["TensorBoard"]

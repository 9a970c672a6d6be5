"""Callbacks that look at a training run and leave what it learns as it is."""

from kopt.callbacks.averaged_weights import AveragedWeights
from kopt.callbacks.report import Report
from kopt.callbacks.tensorboard import TensorBoard

__all__ = ["AveragedWeights", "Report", "TensorBoard"]

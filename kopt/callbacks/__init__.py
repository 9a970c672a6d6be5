"""Callbacks that look at a training run and leave what it learns as it is."""

from kopt.callbacks.averaged_weights import AveragedWeights
from kopt.callbacks.by_hand import monitor_step
from kopt.callbacks.diagnose import Diagnose
from kopt.callbacks.early_stopping import EarlyStopping
from kopt.callbacks.learning_rate_finder import LearningRateFinder
from kopt.callbacks.monitor import Monitor
from kopt.callbacks.read_statistics import read_statistics
from kopt.callbacks.report import Report
from kopt.callbacks.sinks import CSV, JSONLines, MLflow, Sink, WandB
from kopt.callbacks.tensorboard import TensorBoard

__all__ = [
    "CSV",
    "AveragedWeights",
    "Diagnose",
    "EarlyStopping",
    "JSONLines",
    "LearningRateFinder",
    "MLflow",
    "Monitor",
    "Report",
    "Sink",
    "TensorBoard",
    "WandB",
    "monitor_step",
    "read_statistics",
]

"""Where logged numbers go beside TensorBoard: files for pandas, MLflow, W&B, or a class of your own."""

from kopt.callbacks.sinks.csv_rows import CSV
from kopt.callbacks.sinks.fan_out import FanOut
from kopt.callbacks.sinks.json_lines import JSONLines
from kopt.callbacks.sinks.mlflow_run import MLflow
from kopt.callbacks.sinks.sink import Sink
from kopt.callbacks.sinks.wandb_run import WandB

__all__ = ["CSV", "FanOut", "JSONLines", "MLflow", "Sink", "WandB"]

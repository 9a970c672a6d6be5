"""How to run a training with and without a monitor, and what its row says; the rows are in `trainings.py`."""

import contextlib
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import event_files
import keras
import numpy as np
from keras import ops

from kopt import callbacks

BACKEND = keras.backend.backend()
INTERVAL, BATCH, BATCHES = 3, 4, 4
SCALARS = {
    "gradients/global_norm",
    "gradients/global_norm_clipped",
    "updates/global_norm",
    "gradients/zero_fraction",
    "gradients/nonfinite_fraction",
    "learning_rate",
    "loss/total",
    "loss/regularization",
}
FAMILIES = (
    "gradients_norm",
    "gradients_mean",
    "gradients_std",
    "gradients_absmax",
    "gradients_zero_fraction",
    "gradients_nonfinite_fraction",
    "weights_norm",
    "updates_norm",
    "update_to_weight",
)
NOT_OF_STEPS = ("epoch", "batch_", "guide/", "hyperparameters/")
"""How the tags begin of what is no number of a step: epochs, the page's, constants of the optimizer."""
Data = tuple[np.ndarray, np.ndarray]


def regression() -> Data:
    """Returns four batches of four features and one target."""
    rng = np.random.default_rng(4)
    x = rng.normal(size=(BATCH * BATCHES, 4)).astype("float32")
    return x, np.tanh(x.sum(1, keepdims=True))


def with_a_nan() -> Data:
    """Returns the same with a NaN in the third batch."""
    x, y = regression()
    x[2 * BATCH, 0] = np.nan
    return x, y


def words() -> Data:
    """Returns four batches of three word numbers, some of them twice in a batch, and one target."""
    rng = np.random.default_rng(6)
    x = rng.integers(0, 7, size=(BATCH * BATCHES, 3)).astype("int32")
    return x, (x.mean(1, keepdims=True) / 7).astype("float32")


def penalty() -> Any:
    """Returns the regularizer of the first kernel."""
    return keras.regularizers.L2(0.01)


def layers() -> list[Any]:
    """Returns two dense layers, `first` with a penalty."""
    first = keras.layers.Dense(3, "tanh", kernel_regularizer=penalty(), name="first")
    return [first, keras.layers.Dense(1, name="second")]


def mlp() -> keras.Model:
    """Returns a Sequential of two dense layers."""
    return keras.Sequential([keras.Input((4,)), *layers()])


def adam() -> Any:
    """Returns Keras' Adam."""
    return keras.optimizers.Adam(0.02)


@dataclass(frozen=True)
class Training:
    """One training.

    Attributes:
        id: Name of the row.
        optimizer: Makes the optimizer.
        model: Makes the model.
        data: Makes inputs and targets.
        compile: Keywords for `compile`.
        epochs: Of each call of `fit`.
        promised: The optimizer steps whose tags must be in the file, in order, at `gradients=3`.
        policy: Dtype policy.
        beside: Makes the user's other callbacks.
        between: Changes the model between two fits.
        freezes: How many of the promised steps come before `between` freezes the first layer.
        around: Makes a context for the whole training.
        new_callback: Whether each fit gets a new monitor; by default they share one.
        unwatched: How many fits go ahead without a monitor.
        tags: Tags beside the usual ones.
        missing: Usual tags that cannot be there.
        backends: Where the row makes sense.
        refused: Where Keras itself raises: its words, by backend.
        fast: Whether the row runs by default.
    """

    id: str
    optimizer: Callable[[], Any] = adam
    model: Callable[[], Any] = mlp
    data: Callable[[], Data] = regression
    compile: Mapping[str, Any] = field(default_factory=dict)
    epochs: tuple[int, ...] = (2,)
    promised: tuple[int, ...] = (1, 3, 6)
    policy: str = "float32"
    beside: Callable[[], list[Any]] = list
    between: Callable[[Any], None] = lambda model: None
    freezes: int = 0
    around: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext
    new_callback: bool = False
    unwatched: int = 0
    tags: frozenset[str] = frozenset()
    missing: frozenset[str] = frozenset()
    backends: tuple[str, ...] = ("tensorflow", "jax", "torch")
    refused: Mapping[str, str] = field(default_factory=dict)
    fast: bool = False


@dataclass
class Run:
    """What a training left behind.

    Attributes:
        state: Every variable of model and optimizer but the metrics, by path and position.
        losses: The loss of each epoch.
        paths: Of the trained variables, without the model's name.
        model: The model.
        plain: The train function of each watched fit, before and after it.
    """

    state: dict[str, np.ndarray]
    losses: list[float]
    paths: list[str]
    model: Any
    plain: list[tuple[Any, Any]]


class TrainFunction(keras.callbacks.Callback):
    """Keeps the train function that Keras made for a fit."""

    def on_train_begin(self, logs: Any = None) -> None:
        self.function = self._model.train_function


def run(training: Training, log_dir: Path | None = None, **options: Any) -> Run:
    """Trains, with a monitor if there is a directory for it; by default with the usual quantities and histograms."""
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(1)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(training.policy)
    try:
        with training.around(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Gradients do not exist")
            return _fitted(training, log_dir, options or {"gradient_histograms": True})
    finally:
        keras.config.set_dtype_policy(policy)


def _fitted(training: Training, log_dir: Path | None, options: dict[str, Any]) -> Run:
    model = training.model()
    model.compile(training.optimizer(), loss="mse", **training.compile)
    x, y = training.data()
    losses: list[float] = []
    plain: list[tuple[Any, Any]] = []
    monitor, paths = None, []
    for i, epochs in enumerate(training.epochs):
        if i:
            training.between(model)
        if log_dir is not None and i >= training.unwatched and (monitor is None or training.new_callback):
            monitor = callbacks.TensorBoard(log_dir, gradients=INTERVAL, **options)
        found = TrainFunction()
        watching = [] if monitor is None else [found, monitor]
        history = model.fit(
            x, y, batch_size=BATCH, epochs=epochs, shuffle=False, verbose=0, callbacks=[*training.beside(), *watching]
        )  # fmt: skip
        losses += history.history["loss"]
        paths = paths or [v.path.removeprefix(f"{model.name}/") for v in model.trainable_variables]
        if watching:
            plain.append((found.function, model.train_function))
    metrics = {id(variable) for variable in model.metrics_variables}
    variables = [v for v in [*model.variables, *model.optimizer.variables] if id(v) not in metrics]
    state = {f"{i}: {v.path}": _copies(v) for i, v in enumerate(variables)}
    return Run(state, losses, paths, model, plain)


def _copies(variable: Any) -> np.ndarray:
    """Returns the variable's value, once for each replica that has a copy of it."""
    mirrored = BACKEND == "tensorflow" and hasattr(variable.value, "values")
    copies = variable.value.values if mirrored else [variable.value]
    return np.array([ops.convert_to_numpy(copy) for copy in copies])


def promised_scalars(training: Training, paths: list[str]) -> set[str]:
    """Returns the tags of the scalars that the monitor promises for a training of these variables."""
    single = (SCALARS | training.tags) - training.missing
    return single | {f"{family}/{path}" for family in FAMILIES for path in paths}


def logged(log_dir: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns scalars of optimizer steps and histograms of gradients by tag; Keras' own and the page's left out."""
    scalars = event_files.scalars(log_dir / "train")
    own = {tag: points for tag, points in scalars.items() if not tag.startswith(NOT_OF_STEPS)}
    return own, event_files.histograms(log_dir / "train")

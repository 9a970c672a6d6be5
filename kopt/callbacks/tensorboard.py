"""TensorBoard logging of gradients, updates, learning rates and losses beside Keras' own scalars."""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import keras
import numpy as np
from keras import ops

from kopt._backend import watch
from kopt._core import checks
from kopt.callbacks.going_on import GoingOn
from kopt.callbacks.layout import GUIDE, GUIDE_VALUE
from kopt.callbacks.observing import Observing
from kopt.callbacks.page import Page
from kopt.callbacks.past import EPOCH
from kopt.callbacks.places import check_directory, claimed, is_remote
from kopt.callbacks.sinks import FanOut, Sink
from kopt.callbacks.writer import EventWriter, Summaries, histogram_value
from kopt.monitoring.buckets import BUCKET_EDGES
from kopt.monitoring.gradients import ratios
from kopt.monitoring.observer import Observer
from kopt.monitoring.quantity import Quantity
from kopt.schedules import Warmup


class TensorBoard(Observing, keras.callbacks.TensorBoard):
    """`keras.callbacks.TensorBoard`, with the gradients of real training steps, on three backends.

    Takes the arguments of Keras' callback and writes the same `epoch_*` and `batch_*` scalars into
    `<log_dir>/train` and `<log_dir>/validation`, without importing TensorFlow. At optimizer steps 1, n, 2n, ... it
    also logs, for any Keras optimizer, without a second backward pass and without changing what the step computes:

    * `gradients/global_norm`, `gradients/global_norm_clipped`, `gradients/zero_fraction`,
      `gradients/nonfinite_fraction`;
    * per variable: `gradients_norm|mean|std|absmax|zero_fraction|nonfinite_fraction/<path>`, `weights_norm/<path>`
      (before the step), `updates_norm/<path>`, `update_to_weight/<path>`, and with `gradient_histograms=True` the
      histogram `gradients/<path>`;
    * `learning_rate`, `learning_rate/<group>`, `hyperparameters/<name>` (such as `beta_1`, where it follows a
      schedule), `loss/total` (of the batch; `batch_loss` is the mean since the epoch began), `loss/regularization`
      (the weights' penalties), `loss_scale`;
    * `estimates/<name>`: what the optimizer estimates by itself, such as Prodigy's `distance` (after the step).

    * `epoch`: the number of the epoch, at its last step.

    Paths leave out the model's own name, so that the tags of two runs line up. The x-axis of these is the number of
    optimizer steps; it goes on in a second `fit`. The first logged step compiles a second train function; other steps
    run the model's own. Events are on disk within a second.

    Gradients are those that the optimizer acts on: divided by the loss scale, averaged over accumulated micro-batches,
    summed over replicas, before clipping. Under `tf.distribute` Keras' own optimizers clip on each replica before they
    sum; `global_norm_clipped` is the norm of the clipped sum, which is what kopt's optimizers use.

    A `fit` that goes on with a model, in this process or after loading or restoring it (`BackupAndRestore`), goes on in
    the files too: the events in `log_dir` are read back, a step that a tag has there is not written again, and epochs
    that begin at 0 again are counted on. An optimizer that has taken no steps begins a run; if `log_dir` holds another
    one already, a warning says so, and both stay.

    Beside the curves each run has a page (`page=True`): charts in groups ("Custom Scalars"), hyperparameters beside
    metrics ("HParams"), a card with model, optimizer, versions, devices, git commit and command line ("Text"), and its
    learning-rate schedule ("Images"). What cannot be had is left out, with a line in the card; it never ends a run.

    Where this differs from Keras' callback: `tf.summary` calls inside a model are not collected; `write_graph` is
    accepted and has no effect, as in Keras 3.

    Attributes:
        latest: The scalars of the last step whose gradients were written, by tag.

    Args:
        log_dir: Directory of the run: a path, or an address that fsspec knows, such as `s3://bucket/logs`, where files
            are uploaded every 30 seconds and at the end. Give each run its own.
        histogram_freq: Every how many epochs to log histograms of the weights; 0 for never.
        write_graph: No effect.
        write_images: Whether to log the weights as images too.
        write_steps_per_second: Whether to log training steps per second.
        update_freq: `"epoch"`, `"batch"`, or every how many batches to log `batch_*`.
        profile_batch: A batch or a pair (first, last) to profile; 0 for none. TensorFlow and JAX only.
        embeddings_freq: Every how many epochs to save embeddings; 0 for never.
        embeddings_metadata: Dict from layer name to metadata file.
        gradients: Interval n in optimizer steps; 0 turns gradient logging off.
        gradient_histograms: Whether to log histograms of the gradients as well. Buckets are quarter powers of two, the
            same at every step and in every run.
        monitor: What to look at: a list of `kopt.monitoring` quantities, or a preset, named by what a look costs with a
            CNN of 1M parameters: `"economy"` (0.05 to 0.3 steps), `"business"` (2 to 5 steps), `"full"` (17 to 54).
            None for rates, losses, norms and statistics of gradients (0.2 to 0.9 steps).
        every: When to look, in place of `gradients`: an interval in optimizer steps, or a rule such as
            `kopt.monitoring.logarithmic()`. A quantity with a rule of its own follows that.
        include: Regular expression: only variables and layers in whose paths it is found are shown one by one. Numbers
            over all variables are not changed by it.
        exclude: Regular expression of those that are not shown.
        sinks: Where else these numbers and each epoch's metrics go, as with `kopt.callbacks.Monitor`.
        name: Makes `<log_dir>/<name>-<YYYYmmdd-HHMMSS>` at once and logs there: a directory that no other run has. None
            logs into `log_dir` itself, as a run must that is to be resumed by another process.
        page: Whether to write layout, hyperparameters, card and schedule.
        hparams: Hyperparameters to show, by name: bool, int, finite float or str. None shows the optimizer, the numbers
            of its config, epochs, and steps per epoch. TensorBoard's columns are those of the first run.
        samples: A pair (x, y) of inputs and targets of a classifier, to be predicted after each epoch: shows
            `samples/confusion_matrix` and, of the first 16, `samples/predictions`, as pictures if the inputs are some.
            `y` holds classes, of shape (n,) or (n, 1), or one-hot rows. One output per sample means two classes, split
            at 0.5, or at 0 if the loss says `from_logits`. Nothing in the model changes. Needs matplotlib.
        class_names: A name for each class of `samples`; None shows their numbers.

    Raises:
        ValueError: An argument is out of its range, `log_dir` cannot be written, or `samples` do not fit the model (all
            known before the first step).
        ImportError: An address or `samples` needs a package that is not installed.

    Example:

    ```python
    model.fit(x, y, epochs=10, callbacks=[kopt.callbacks.TensorBoard("logs/first", gradients=100)])
    ```
    """

    log_dir: str
    embeddings_metadata: Any
    _has_begun = False
    latest: Mapping[str, float] = MappingProxyType({})

    def __init__(
        self,
        log_dir: str = "logs",
        histogram_freq: int = 0,
        write_graph: bool = True,  # noqa: FBT001, FBT002 - Keras' own signature
        write_images: bool = False,  # noqa: FBT001, FBT002
        write_steps_per_second: bool = False,  # noqa: FBT001, FBT002
        update_freq: str | int = "epoch",
        profile_batch: int | tuple[int, int] = 0,
        embeddings_freq: int = 0,
        embeddings_metadata: dict[str, str] | None = None,
        *,
        gradients: int = 100,
        gradient_histograms: bool = False,
        monitor: str | Sequence[Quantity] | None = None,
        every: Callable[[int], bool] | int | None = None,
        include: str | None = None,
        exclude: str | None = None,
        sinks: Iterable[Sink] = (),
        name: str | None = None,
        page: bool = True,
        hparams: Mapping[str, bool | int | float | str] | None = None,
        samples: tuple[Any, Any] | None = None,
        class_names: Sequence[str] | None = None,
    ) -> None:
        counts = {"histogram_freq": histogram_freq, "embeddings_freq": embeddings_freq}
        looks: dict[str, Any] = {"monitor": monitor, "every": every, "include": include, "exclude": exclude}
        self._going_on = GoingOn()
        self._page = Page(shown=page, hparams=hparams, samples=samples, class_names=class_names)
        super().__init__(
            _place(log_dir, name),
            write_graph=False,
            write_images=write_images,
            write_steps_per_second=write_steps_per_second,
            update_freq=_frequency(update_freq),
            profile_batch=profile_batch,
            embeddings_metadata=embeddings_metadata,
            **{key: checks.count(key, value, least=0) for key, value in counts.items()},
        )
        self.gradients = checks.count("gradients", gradients, 0, "It is an interval in optimizer steps; 0 is off.")
        self.gradient_histograms = checks.flag("gradient_histograms", gradient_histograms)
        # Keras may run `on_train_batch_end` in threads when it has nothing to do there, which keeps JAX asynchronous.
        self.async_safe = update_freq == "epoch" and not (write_steps_per_second or profile_batch)
        self._summary_module = Summaries(self._going_on.last_steps, self._going_on.past)
        looks |= {"gradients": self.gradients, "gradient_histograms": self.gradient_histograms}
        self._observer = Observer.of(self._deliver, **looks)
        self._sinks = FanOut(sinks, BUCKET_EDGES)
        if name is not None:
            self.log_dir = claimed(self.log_dir, name)

    def _configure_embeddings(self) -> None:
        if not is_remote(self.log_dir):
            # Keras relies on its writer of the graph to have made the directory.
            Path(self.log_dir).mkdir(parents=True, exist_ok=True)
        metadata = self.embeddings_metadata
        if isinstance(metadata, dict):
            self.embeddings_metadata = dict(metadata)  # Keras empties it, and a second fit would find nothing in it.
        super()._configure_embeddings()
        self.embeddings_metadata = metadata

    def set_model(self, model: Any) -> None:
        self._observer.finish()  # A fit that ended by an exception left something behind, and writers open.
        self._close_writers()
        super().set_model(model)
        self._going_on.look(self.log_dir, self._train_dir, self._val_dir)

    def _begin_fit(self) -> None:
        self._global_train_batch = watch.micro_steps(self._model.optimizer)
        self._warn_of_long_warmup()
        self._sinks.open(self.model, self.params)
        self._has_begun = False

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if not self._has_begun:
            self._begin(epoch)
        super().on_epoch_begin(epoch, logs)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self.async_safe:
            self._observer.end_batch()
        else:
            super().on_train_batch_end(batch, logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        epoch += self._going_on.shift
        super().on_epoch_end(epoch, logs)
        self._going_on.end_epoch(epoch)
        step = watch.steps_done(self._model)
        if step:
            self._train_writer.add_scalars({EPOCH: epoch}, step)
        self._page.end_epoch(self.model, self._train_writer, epoch, logs or {})
        self._sinks.epoch(epoch, self.model, logs)

    def on_train_end(self, logs: Any = None) -> None:
        self._observer.finish()
        self._page.end()
        super().on_train_end(logs)
        self._sinks.close()
        self._going_on.end()

    def write(self, numbers: Mapping[str, Any], step: int) -> None:
        """Logs numbers of a training loop by hand, such as those of `kopt.callbacks.monitor_step`.

        Args:
            numbers: Scalars by tag: tensors or numbers.
            step: Number of the optimizer step.
        """
        if not self._writers and not hasattr(self, "_train_dir"):
            self._train_dir = str(Path(self.log_dir) / "train")
        found = {tag: float(ops.convert_to_numpy(value)) for tag, value in numbers.items()}
        self._deliver(checks.count("step", step, least=0), found | ratios(found), {})

    def close(self) -> None:
        """Writes what is left to the disk; `fit` does this by itself."""
        self._close_writers()

    def _begin(self, epoch: int) -> None:
        """Begins the page, and goes on where the files end: once another callback has restored what it restores."""
        self._has_begun = True
        self._global_train_batch = watch.micro_steps(self._model.optimizer)
        step = watch.steps_done(self._model)
        self._going_on.begin(self._model.optimizer, step, epoch)
        root = self._summary_module.create_file_writer(self.log_dir)
        self._page.begin(
            self._model,
            self.params or {},
            (root, self._train_writer),
            step=step,
            batches=self._global_train_batch,
            epoch=epoch,
            logs_steps=self._observer.is_looking,
        )

    def _deliver(self, step: int, scalars: dict[str, float], counts: dict[str, np.ndarray]) -> None:
        self.latest = scalars
        writer: EventWriter = self._train_writer
        writer.add_scalars(scalars | {GUIDE: GUIDE_VALUE} if _has_ratios(tuple(scalars)) else scalars, step)
        if counts:
            writer.add([histogram_value(tag, BUCKET_EDGES, found) for tag, found in counts.items()], step)
        self._sinks.deliver(step, scalars, counts)

    def _warn_of_long_warmup(self) -> None:
        schedule = getattr(watch.innermost(self._model.optimizer), "_learning_rate", None)
        batches = (self.params or {}).get("steps")
        if isinstance(schedule, Warmup) and batches:
            length = batches * self.params["epochs"] // watch.accumulation(self._model.optimizer)
            schedule.warn_if_longer_than(length)


@functools.lru_cache(64)
def _has_ratios(tags: tuple[str, ...]) -> bool:
    return any(tag.startswith("update_to_weight/") for tag in tags)


def _place(log_dir: Any, name: str | None) -> str:
    """Returns `log_dir` as a string, or raises if nothing can be written there, or under that name."""
    check_directory(str(log_dir))
    checks.optional(checks.file_name, "name", name)
    return str(log_dir)


def _frequency(value: str | int) -> str | int:
    """Returns Keras' `update_freq`, or raises."""
    if value in ("epoch", "batch"):
        return value
    return checks.count("update_freq", value, advice='Or "epoch", or "batch".')

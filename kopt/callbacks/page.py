"""What a run shows beside its curves: a layout of charts, hyperparameters, a card, pictures."""

import atexit
from collections.abc import Mapping
from typing import Any

from kopt._core import checks
from kopt.callbacks import hparams as table
from kopt.callbacks.card import Card, describe
from kopt.callbacks.layout import layout_value
from kopt.callbacks.pictures import Curve, curves, schedule_picture
from kopt.callbacks.samples import Samples
from kopt.callbacks.writer import EventWriter, image_value, text_value


class Page:
    """Writes the page of each fit.

    Args:
        shown: Whether layout, hyperparameters, card and schedule are written.
        hparams: Hyperparameters by name; None for those that the fit tells by itself.
        samples: A pair of inputs and targets to predict after each epoch, or None.
        class_names: A name for each class, or None.
    """

    def __init__(self, *, shown: Any, hparams: Any, samples: Any, class_names: Any) -> None:
        self._shown = checks.flag("page", shown)
        self._hparams = None if hparams is None else table.checked(hparams)
        if samples is None and class_names is not None:
            raise checks.fail("class_names", "None without `samples`", class_names)
        self._samples = None if samples is None else Samples(samples, class_names)
        self._values: dict[str, table.Value] = {}
        self._root: EventWriter | None = None

    def begin(self, model: Any, params: dict[str, Any], writers: tuple[EventWriter, EventWriter], **where: Any) -> None:
        """To be called when a fit begins.

        Args:
            model: The model.
            params: The callback's: `epochs` and `steps`.
            writers: Of the run's directory, and of `train` in it.
            where: What `_write` takes.
        """
        self.leave()
        if self._samples is not None:
            self._samples.check(model)
        if self._shown:
            self._root, train = writers
            self._write(model, params, self._root, train, **where)

    def _write(
        self, model: Any, params: dict[str, Any], root: EventWriter, train: EventWriter,
        *, step: int, batches: int, epoch: int, logs_steps: bool,
    ) -> None:  # fmt: skip
        epochs, steps = params.get("epochs"), params.get("steps")
        card = Card()
        train.add([layout_value(steps=logs_steps)], 0)
        length = batches + (epochs - epoch) * steps if epochs and steps else None
        drawn = card.try_out("learning-rate schedule", lambda: _curves(model.optimizer, length)) or []
        picture = card.try_out("picture of the schedule", lambda: schedule_picture(drawn, step)) if drawn else None
        if picture is not None:
            train.add([image_value("learning_rate/schedule", picture[None])], step)
        peak = max((float(curve.rates.max()) for curve in drawn), default=None)
        own = card.try_out("hyperparameters", lambda: table.of_run(model.optimizer, epochs, steps, peak))
        self._values = (own or {}) if self._hparams is None else self._hparams
        root.add([table.start_value(self._values)], 0)
        describe(card, model, params)
        train.add([text_value("run", card.markdown())], step)
        # A fit that ends by an exception tells no callback: the end of the process does.
        atexit.register(self._fail)

    def end_epoch(self, model: Any, writer: EventWriter, epoch: int, logs: Mapping[str, Any]) -> None:
        """To be called when an epoch has ended, with its number on the page."""
        if self._root is not None:
            # What the metrics are called is known now.
            self._root.add([table.experiment_value(self._values, logs, chosen=self._hparams is not None)], 0)
        if self._samples is not None:
            writer.add(self._samples.values(model), epoch)

    def end(self) -> None:
        """To be called when a fit has ended as it should."""
        if self._root is not None:
            self._root.add([table.end_value(success=True)], 0)
        self.leave()

    def leave(self) -> None:
        """Closes the page of a fit, and says nothing about how it ended."""
        atexit.unregister(self._fail)
        if self._root is not None:
            self._root.close()
        self._root = None

    def _fail(self) -> None:
        if self._root is not None:
            self._root.add([table.end_value(success=False)], 0)
        self.leave()


def _curves(optimizer: Any, batches: int | None) -> list[Curve]:
    found = curves(optimizer, batches or 1)
    if found and batches is None:
        raise ValueError("the length of the run is not known")
    return found

"""Gives several sinks the same numbers, and lets none of them end training or take another's numbers along."""

import json
import logging
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np

from kopt._backend import watch
from kopt._core import checks
from kopt._core.warn import warn_user
from kopt.callbacks.sinks.sink import Setting, Sink

_logger = logging.getLogger(__name__)


class FanOut:
    """What a callback does with its sinks.

    Args:
        sinks: As the user gave them.
        edges: Of the histograms' buckets.
    """

    def __init__(self, sinks: Iterable[Sink], edges: tuple[float, ...]) -> None:
        advice = "Also a single one stands in a list."
        self._sinks = checks.instances("sinks", sinks, Sink, advice if isinstance(sinks, Sink) else "")
        self._edges = np.asarray(edges, "float64")
        self._open: list[int] = []
        self._failures: dict[int, int] = {}  # By position: a sink of the user's need not be hashable.

    def __bool__(self) -> bool:
        return bool(self._sinks)

    def open(self, model: Any, params: Mapping[str, Any] | None) -> None:
        """To be called when `fit` begins, with the callback's parameters."""
        self.close()  # A fit that ended by an exception left them open.
        if not self._sinks:
            return
        config = configuration(model, params or {})
        for place in range(len(self._sinks)):
            if self._told(place, "to open", "It is left out of this `fit`.", "open", config):
                self._open.append(place)
        if any(type(self._sinks[place]).text is not Sink.text for place in self._open):
            lines: list[str] = []
            model.summary(print_fn=lines.append)
            self._tell("at the model's summary", "text", "model_summary", "\n".join(lines))

    def deliver(self, step: int, scalars: Mapping[str, float], counts: Mapping[str, np.ndarray]) -> None:
        """Passes on what an `Observer` delivers."""
        if not self._open:
            return
        values = {tag: float(value) for tag, value in scalars.items()}
        self._tell(f"at step {step}", "scalars", values, step)
        for tag, found in counts.items():
            self._tell(f"at step {step}", "histogram", tag, *self._filled(found), step)

    def epoch(self, epoch: int, model: Any, logs: Mapping[str, Any] | None) -> None:
        """Passes on what an epoch gave, as `epoch_<name>`, at the optimizer step that it ended with, and its number."""
        if not self._open:
            return
        optimizer = model.optimizer
        rates = {} if optimizer is None else watch.current_rates(optimizer)
        named = {name: rate for name, rate in rates.items() if name.startswith("learning_rate")} | dict(logs or {})
        values = {f"epoch_{name}": float(keras.ops.convert_to_numpy(value)) for name, value in named.items()}
        self._tell(f"after epoch {epoch}", "scalars", {"epoch": float(epoch)} | values, watch.steps_done(model))
        self._tell(f"after epoch {epoch}", "flush")

    def close(self) -> None:
        """To be called when `fit` ends."""
        self._tell("at the end", "close")
        for place, number in self._failures.items():
            if number > 1:
                message = "%r failed %d times in this fit. What it was given then is missing there."
                _logger.warning(message, self._sinks[place], number)
        self._open, self._failures = [], {}

    def _filled(self, counts: np.ndarray) -> tuple[list[float], list[float]]:
        """Returns edges and counts without the empty buckets at the ends."""
        filled = np.flatnonzero(counts)
        first, last = (filled[0], filled[-1]) if filled.size else (0, 0)
        return self._edges[first : last + 2].tolist(), np.asarray(counts, "float64")[first : last + 1].tolist()

    def _tell(self, when: str, method: str, *arguments: Any) -> None:
        rest = "Numbers may be missing there. Later ones are tried again, without another warning."
        for place in self._open:
            self._told(place, when, rest, method, *arguments)

    def _told(self, place: int, when: str, consequence: str, method: str, *arguments: Any) -> bool:
        sink = self._sinks[place]
        try:
            getattr(sink, method)(*arguments)
        except OSError as error:
            self._failures[place] = self._failures.get(place, 0) + 1
            if self._failures[place] == 1:
                warn_user(f"The sink `{sink!r}` failed {when} ({error}). {consequence} Training goes on.")
            return False
        return True


def configuration(model: Any, params: Mapping[str, Any]) -> dict[str, Setting]:
    """Returns what a run is made of, flat, with nested parts as JSON."""
    found: dict[str, Setting] = {
        "backend": keras.backend.backend(),
        "keras": keras.__version__,
        "model": model.name,
        "parameters": model.count_params() if model.built else None,
        "epochs": params.get("epochs"),
        "steps_per_epoch": params.get("steps"),
    }
    optimizer = model.optimizer
    if optimizer is not None:
        found["optimizer"] = type(optimizer).__name__
        config = {name: value for name, value in optimizer.get_config().items() if name != "assignment"}  # Long.
        own = {f"optimizer.{name}": _flat(value) for name, value in config.items()}
        found |= {name: value for name, value in own.items() if value is not None}
    return {name: value for name, value in found.items() if value is not None}


def _flat(value: Any) -> Setting:
    if value is None or isinstance(value, Setting):
        return value
    try:
        return json.dumps(keras.saving.serialize_keras_object(value), default=str)
    except (TypeError, ValueError):
        return str(value)

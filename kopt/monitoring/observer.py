"""Decides at which steps of a `fit` to look at what, arms the instrument there, and delivers what it saw."""

import atexit
import functools
import re
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kopt._backend import adapter_module, watch
from kopt._core import checks
from kopt.monitoring.instrument import Instrument, Seen, Share, armed, unsupported
from kopt.monitoring.presets import chosen_quantities
from kopt.monitoring.quantity import HIDDEN, Quantity
from kopt.monitoring.when import as_when

Deliver = Callable[[int, dict[str, float], dict[str, np.ndarray]], None]


class Observer:
    """What a callback does with quantities, apart from where the numbers go.

    Args:
        deliver: Gets the optimizer step, numbers by tag, and bucket counts by tag.
        quantities: What to look at.
        every: When to look at those that have no rule of their own.
        include: Pattern of the paths of variables to see one by one; None for all.
        exclude: Pattern of those to leave out.
    """

    def __init__(
        self,
        deliver: Deliver,
        quantities: Sequence[Quantity],
        every: Callable[[int], bool],
        include: re.Pattern[str] | None = None,
        exclude: re.Pattern[str] | None = None,
    ) -> None:
        self._deliver = deliver
        self._rules = [(quantity, quantity.when or every) for quantity in quantities]
        self._include, self._exclude = include, exclude
        self._model: Any = None
        self._instrument: Instrument | None = None
        self._host: Instrument | None = None
        self._batches_in_fit: int | None = None
        self._accumulation = 1
        self._has_pairs = any(quantity.pairs for quantity in quantities)
        self._preparing: set[Quantity] = set()
        self._batches_before_epoch = 0
        self._steps_passed = 0
        self._is_first_epoch = True
        self._is_behind_files = False
        self._function_is_old = False
        self._ended_at: float | None = None

    @classmethod
    def of(
        cls,
        deliver: Deliver,
        *,
        gradients: int,
        gradient_histograms: bool,
        monitor: Any,
        every: Any,
        include: str | None,
        exclude: str | None,
    ) -> "Observer":
        """Returns an observer from the arguments of a callback, or raises `ValueError` about one of them."""
        quantities = chosen_quantities(monitor, histograms=gradient_histograms)
        return cls(
            deliver,
            quantities if gradients else [],
            as_when("every", gradients or 1 if every is None else every),
            checks.optional(checks.pattern, "include", include),
            checks.optional(checks.pattern, "exclude", exclude),
        )

    @property
    def is_looking(self) -> bool:
        """Whether there is anything to look at."""
        return bool(self._rules)

    @property
    def span_of_epoch(self) -> tuple[int, int]:
        """Optimizer steps before the epoch, and in it; 0 where that is not known."""
        return self._batches_before_epoch // self._accumulation, (self._batches_in_fit or 0) // self._accumulation

    def set_model(self, model: Any) -> None:
        """To be called before `fit` makes the train function of a newly compiled model."""
        self._model = model
        self._function_is_old = model.train_function is not None

    def begin(self, params: dict[str, Any] | None) -> None:
        """To be called when `fit` starts, with the callback's parameters."""
        self._batches_in_fit = (params or {}).get("steps")
        if self._instrument is not None:
            self._instrument.disarm()  # A fit that ended by an exception may have left it armed.
        self._is_first_epoch = True
        self._is_behind_files = False
        self._deliver_at_exit()
        reason = unsupported(self._model) if self._rules else None
        if reason is not None:
            self._give_up(reason)
        for quantity, _ in list(self._rules):
            quantity.begin(self._model)
            reason = quantity.unsupported(self._model)
            if reason is not None:
                warnings.warn(f"{type(quantity).__name__} is not measured: {reason} Training goes on.", stacklevel=3)
                self._rules = [rule for rule in self._rules if rule[0] is not quantity]

    def begin_epoch(self) -> None:
        """To be called when an epoch begins."""
        optimizer = watch.leading(watch.optimizers_of(self._model))
        if optimizer is not None:
            self._accumulation = watch.accumulation(optimizer)
            self._batches_before_epoch = watch.micro_steps(optimizer)
        done = self._batches_before_epoch // self._accumulation
        # Only here: another callback may have restored the optimizer when `fit` had begun.
        self._steps_passed = done if self._is_first_epoch else min(self._steps_passed, done)
        self._is_first_epoch = False
        for quantity, _ in self._rules:
            quantity.begin_epoch(done)
        self._ended_at = None

    def end_batch(self) -> None:
        """To be called where a batch ends; may be called in another thread."""
        self._ended_at = time.perf_counter()

    def begin_batch(self, batch: int) -> None:
        """To be called where a batch begins, after `collect`: arms the instrument if the batch ends in a due step."""
        due = self._due(batch) if self._rules else ()
        if not due:
            return
        share = Share(self, due, self._is_chosen)
        host = armed(self._model)
        if host is not None:  # Another callback of this fit looks at the same step.
            host.join(share)
            self._host = host
            return
        if self._instrument is None or not self._instrument.fits(self._model):
            if self._function_is_old and adapter_module.has_stale_trace(self._model):
                self._give_up("`trainable` has changed, and the model was not compiled after that.")
                return
            if self._model.train_function is None:  # `train_on_batch` makes it when it is called.
                self._model.make_train_function()
            self._instrument = Instrument(self._model, self._accumulation)
        waited = 0.0 if self._ended_at is None else time.perf_counter() - self._ended_at
        self._instrument.arm(share, waited)

    def collect(self, *, now: bool = False) -> None:
        """Delivers what instrumented steps saw; may leave the newest on the device for a quarter of a second.

        Args:
            now: Whether to wait for all of it.
        """
        instruments = [instrument for instrument in (self._instrument, self._host) if instrument is not None]
        seen: list[Seen] = [look for instrument in instruments for look in instrument.take(self, now=now)]
        for due, numbers, counts, kept in sorted(seen, key=lambda look: look[3].step):
            for quantity in due:
                more = quantity.after_step(numbers, kept)
                if quantity not in self._preparing:
                    numbers |= more
            hidden = _hidden(tuple(numbers))
            shown = {tag: number for tag, number in numbers.items() if tag not in hidden} if hidden else numbers
            if shown or counts:
                self._deliver(kept.step, shown, counts)
                if not self._is_behind_files:
                    # What is registered last runs first, and files register their end when they are opened.
                    self._deliver_at_exit()
                    self._is_behind_files = True
        if self._rules and any(instrument.is_blind for instrument in instruments):
            self._give_up("the model's `train_step` does not call its `optimizer`.")

    def finish(self) -> None:
        """To be called when `fit` ends."""
        if self._instrument is not None:
            self._instrument.disarm()
        self.collect(now=True)
        atexit.unregister(self._collect_all)

    def _collect_all(self) -> None:
        self.collect(now=True)

    def _deliver_at_exit(self) -> None:
        """Has a process that ends inside a `fit`, by an exception, deliver what is still on the device."""
        atexit.unregister(self._collect_all)
        atexit.register(self._collect_all)

    def _is_chosen(self, path: str) -> bool:
        is_included = self._include is None or self._include.search(path) is not None
        return is_included and (self._exclude is None or self._exclude.search(path) is None)

    def _due(self, batch: int) -> tuple[Quantity, ...]:
        """Returns what to look at in the call that begins at `batch`, if it ends with an optimizer step."""
        batches = self._model.steps_per_execution
        if self._batches_in_fit:
            batches = min(batches, self._batches_in_fit - batch)
        done = self._batches_before_epoch + batch + batches
        step, rest = divmod(done, self._accumulation)
        if rest:
            return ()
        first, self._steps_passed = self._steps_passed + 1, step
        whens = {id(when): when for _, when in self._rules}  # Most quantities share one.
        now = {key for key, when in whens.items() if any(map(when, range(first, step + 1)))}
        soon = {key for key, when in whens.items() if when(step + 1)} if self._has_pairs else now
        self._preparing = {q for q, when in self._rules if q.pairs and id(when) in soon - now}
        if not now and not self._preparing:
            return ()
        due = (quantity for quantity, when in self._rules if id(when) in now)
        return (*due, *(quantity for quantity, _ in self._rules if quantity in self._preparing))

    def _give_up(self, reason: str) -> None:
        warnings.warn(f"Gradients are not logged: {reason} Training goes on.", stacklevel=3)
        self._rules = []


@functools.lru_cache(64)
def _hidden(tags: tuple[str, ...]) -> frozenset[str]:
    return frozenset(tag for tag in tags if tag.startswith(HIDDEN))

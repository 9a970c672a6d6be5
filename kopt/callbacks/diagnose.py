"""Tells what is wrong with a training run in plain sentences, while it runs."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from kopt._core import checks
from kopt._core.warn import warn_user
from kopt.callbacks.card import FAILURES
from kopt.callbacks.observing import Observing
from kopt.callbacks.places import check_directory
from kopt.callbacks.read_statistics import place_of
from kopt.callbacks.writer import EventWriter, text_value
from kopt.diagnosis import Finding, Look, Statistics, diagnose
from kopt.diagnosis.arrays import data_facts, named
from kopt.diagnosis.model_facts import model_facts
from kopt.diagnosis.text import markdown
from kopt.monitoring import Activations, Batches, GlobalNorms, Losses, NoiseScale, Norms, Rates
from kopt.monitoring.observer import Observer
from kopt.monitoring.when import When, as_when

_FIRST_STEPS, _LOOKS_IN_EPOCH = 8, 8
_LOG = logging.getLogger("kopt")


class Diagnose(Observing):
    """Looks for what is wrong with a run, and says so in plain sentences with the evidence and what would mend it.

    Before the first step it looks at the model, its loss and the arrays that it was given; then at real steps, by
    `kopt.monitoring`: without a second forward pass, and without changing what the step computes. After each epoch it
    tells what is new. Causes come first: a symptom, such as a loss that does not fall, is told only where no cause of
    it was found. `docs/diagnosis.md` has the list of all findings, what each looks at, and their thresholds.

    Warnings and errors are told as Python warnings, remarks (`"info"`) by the logger `kopt`. `report()` has them all.

    Without arrays, what is wrong with the data is seen as far as single batches show it. Not seen are then: which
    feature gives the label away, rows that are in training and validation data, rare classes.

    Attributes:
        statistics: A `kopt.diagnosis.Statistics` of the last `fit`; `kopt.diagnose(statistics)` judges it anew.
        stopped_by: The `kopt.diagnosis.Finding` for which the run was stopped; None if it was not.

    Args:
        x_probe: Inputs to look at before training: an array, or a list or dict of arrays, as the model takes them. All
            training inputs are best; they are read once.
        y_probe: Their targets.
        every: When to look: `"epoch"` for the first 8 steps and 8 in each epoch, or an interval in optimizer steps, or
            a rule such as `kopt.monitoring.logarithmic()`.
        on_problem: `"warn"` tells; `"stop"` also ends training, and `"raise"` raises, at the first finding that is an
            error.
        validation_probe: A pair (x, y) of validation data: rows that are in `x_probe` too are told.
        log_dir: Directory of the run, such as that of `kopt.callbacks.TensorBoard`: gets a text card and
            (not at an address such as `s3://bucket/logs`) `diagnosis.json`, from which `kopt diagnose <log_dir>` finds
            the same. None writes nothing.
        noise: Whether to measure the gradient's noise once in an epoch, for advice on the batch size: costs one more
            pass forward and backward there.

    Raises:
        ValueError: An argument is out of its range (known at once); arrays differ in length.
        RuntimeError: Something is wrong, with `on_problem="raise"`.

    Example:

    ```python
    doctor = kopt.callbacks.Diagnose(x, y, validation_probe=(x_val, y_val))
    model.fit(x, y, epochs=10, validation_data=(x_val, y_val), callbacks=[doctor])
    for finding in doctor.report():
        print(finding)
    ```
    """

    def __init__(
        self,
        x_probe: Any = None,
        y_probe: Any = None,
        every: Callable[[int], bool] | int | str = "epoch",
        on_problem: str = "warn",
        *,
        validation_probe: Any = None,
        log_dir: str | Path | None = None,
        noise: bool = False,
    ) -> None:
        super().__init__()
        self.on_problem = checks.choice("on_problem", on_problem, ("warn", "stop", "raise"))
        self._when = self._of_epochs if every == "epoch" else as_when("every", every)
        self._data = _checked_data(x_probe, y_probe, validation_probe)
        self.log_dir = None if log_dir is None else str(log_dir)
        if self.log_dir is not None:
            check_directory(self.log_dir)
        quantities = [Rates(), Losses(), GlobalNorms(), Norms(), Activations(), Batches()]
        if checks.flag("noise", noise):
            quantities.append(NoiseScale(when=When(self._is_end_of_epoch, "the end of each epoch")))
        self._observer = Observer(self._see, quantities, self._when)
        self.statistics = Statistics()
        self.stopped_by: Finding | None = None
        self._epoch, self._first_step, self._steps_in_epoch = 0, 0, 0
        self._told: dict[tuple[str, str], Finding] = {}
        self._findings: list[Finding] = []
        self._suspects: set[str] = set()

    def report(self) -> list[Finding]:
        """Returns what is wrong as of now, the most likely cause first."""
        return list(self._findings)

    def _begin_fit(self) -> None:
        self._told, self._findings, self.stopped_by = {}, [], None
        self.statistics = Statistics(data=dict(self._data), model=self._facts())
        equal = self.statistics.model.get("kernels", {}).items()
        self._suspects = {path for path, facts in equal if facts["units_are_equal"]}

    def on_train_begin(self, logs: Any = None) -> None:
        super().on_train_begin(logs)
        self._judge()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch = epoch
        super().on_epoch_begin(epoch, logs)
        self._first_step, self._steps_in_epoch = self._observer.span_of_epoch

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        super().on_epoch_end(epoch, logs)
        numbers = {name: float(value) for name, value in (logs or {}).items() if np.ndim(value) == 0}
        self.statistics.epochs.append({**numbers, "epoch": epoch})
        if self._suspects:
            self._look_at_suspects()
        self._judge()

    def on_train_end(self, logs: Any = None) -> None:
        super().on_train_end(logs)
        self.statistics.is_over = True
        self._judge()
        self._keep()

    def _facts(self) -> dict[str, Any]:
        try:
            return model_facts(self.model)
        except FAILURES as error:  # A user's model may raise anything; the run must not end by that.
            _LOG.info("What the model is made of could not be seen: %s: %s", type(error).__name__, error)
            return {}

    def _look_at_suspects(self) -> None:
        """Sees whether units that were equal before training have become different."""
        facts = self._facts().get("kernels", {})
        for path in self._suspects:
            self.statistics.model["kernels"][path]["units_stay_equal"] = facts.get(path, {}).get("units_are_equal")
        self._suspects = set()

    def _see(self, step: int, numbers: dict[str, float], counts: Any) -> None:
        self.statistics.add(Look(step, self._epoch, dict(numbers)))

    def _of_epochs(self, step: int) -> bool:
        """The rule `"epoch"`: the first steps of all, and evenly spaced ones in each epoch."""
        place = step - self._first_step
        interval = max(1, self._steps_in_epoch // _LOOKS_IN_EPOCH)
        if not self._steps_in_epoch:
            return step <= _FIRST_STEPS or place <= 2 or (place & (place - 1)) == 0
        return step <= _FIRST_STEPS or place % interval == 0

    def _is_end_of_epoch(self, step: int) -> bool:
        return step - self._first_step == max(1, self._steps_in_epoch)

    def _judge(self) -> None:
        self._findings = diagnose(self.statistics)
        new = [finding for finding in self._findings if (finding.code, finding.where) not in self._told]
        for finding in new:
            self._told[finding.code, finding.where] = finding
            if finding.severity == "info":
                _LOG.info("%s", finding)
            else:
                warn_user(str(finding))
        errors = [finding for finding in new if finding.severity == "error"]
        if not errors or self.on_problem == "warn" or self.stopped_by is not None:
            return
        self.stopped_by = errors[0]
        if self.on_problem == "raise":
            self._keep()
            raise RuntimeError("\n".join(map(str, self._findings)))
        self.model.stop_training = True

    def _keep(self) -> None:
        if self.log_dir is None:
            return
        file = place_of(self.log_dir)
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            self.statistics.save(file)
        writer = EventWriter(self.log_dir)
        step = self.statistics.looks[-1].step if self.statistics.looks else 0
        writer.add([text_value("diagnosis", markdown(self._findings))], step)
        writer.close()


def _checked_data(x: Any, y: Any, validation: Any) -> dict[str, Any]:
    """Returns the facts of the arrays that the user gave, or raises."""
    if x is None:
        for name, value in (("y_probe", y), ("validation_probe", validation)):
            if value is not None:
                raise checks.fail(name, "None where there is no `x_probe`", type(value).__name__)
        return {}
    lengths = {len(value) if value.ndim else 0 for value in [*named(x).values(), *named(y).values()]}
    if len(lengths) != 1 or lengths == {0}:
        shapes = [value.shape for value in [*named(x).values(), *named(y).values()]]
        raise checks.fail(
            "x_probe", "arrays of at least one row, as many as `y_probe` has", shapes, "These are shapes."
        )
    if validation is not None and (not isinstance(validation, tuple | list) or len(validation) < 2):
        raise checks.fail("validation_probe", "a pair (x, y)", type(validation).__name__)
    return data_facts(x, y, validation)

"""How a run goes on in its own event files: behind what is there, never over it."""

from typing import Any

from kopt._core.warn import warn_user
from kopt.callbacks.past import EPOCH, Past, Written

_NO_CURVES = {"custom_scalars__config__", "run", "learning_rate/schedule"}
_OF_STEPS = (EPOCH, "loss/total", "gradients/global_norm")


class GoingOn:
    """Which steps the writers of a fit leave out, and by how much its epochs are shifted.

    Attributes:
        last_steps: For each directory the last step of each tag that is in it: the writers leave out what is not
            behind it. Empty for a run that begins.
        shift: To be added to the number of each epoch of the fit.
        past: What the files hold.
    """

    def __init__(self) -> None:
        self.last_steps: dict[str, dict[str, int]] = {}
        self.shift = 0
        self.past = Past()
        self._directories: list[str] = []
        self._optimizer: Any = None
        self._next_epoch = 0

    def look(self, log_dir: str, train: str, validation: str) -> None:
        """To be called before any writer of the fit opens a file."""
        if [log_dir, train, validation] != self._directories:
            self._optimizer = None
        self._directories = [log_dir, train, validation]
        self.past.look(self._directories)
        self.end()

    def begin(self, optimizer: Any, step: int, epoch: int) -> None:
        """To be called at the first epoch of a fit, when other callbacks have restored what they restore.

        Args:
            optimizer: The model's.
            step: Optimizer steps taken so far.
            epoch: The number of the epoch that begins.
        """
        written = {directory: self.past.written(directory) for directory in self._directories}
        log_dir, train, validation = self._directories
        self.shift = 0
        if not any(_has_curves(written[directory]) for directory in (train, validation)):
            pass
        elif step == 0 and (optimizer is not self._optimizer or written[train].epochs):
            warn_user(
                f"`log_dir` {log_dir!r} already holds the events of another run. They stay, and TensorBoard will draw "
                'both runs as one. Give each run a directory of its own: `TensorBoard(log_dir, name="...")`.'
            )
        else:
            for directory, found in written.items():
                self.last_steps.setdefault(directory, {}).update(found.last)
            self.shift = max(0, self._coming_epoch(written[train], step) - epoch)
            _warn_of_redone(log_dir, written[train], step)
        self._optimizer = optimizer

    def end_epoch(self, epoch: int) -> None:
        """To be called with the shifted number of an epoch that has ended."""
        self._next_epoch = epoch + 1

    def end(self) -> None:
        """To be called when the fit ends: from now on nothing is left out."""
        for steps in self.last_steps.values():
            steps.clear()
        self.shift = 0

    def _coming_epoch(self, written: Written, step: int) -> int:
        if step == 0:  # The model's own optimizer takes no steps, as in many a GAN.
            return self._next_epoch
        return 1 + max((epoch for at, epoch in written.epochs if at <= step), default=-1)


def _has_curves(written: Written) -> bool:
    return any(tag not in _NO_CURVES and not tag.startswith("evaluation_") for tag in written.last)


def _warn_of_redone(log_dir: str, written: Written, step: int) -> None:
    last = max((written.last[tag] for tag in _OF_STEPS if tag in written.last), default=0)
    if step < last:
        warn_user(
            f"`log_dir` {log_dir!r} already holds the run up to step {last}, and training goes on from step {step}. "
            f"What is there stays, and steps up to {last} are not written again. If this is another run, give it a "
            'directory of its own: `TensorBoard(log_dir, name="...")`.'
        )

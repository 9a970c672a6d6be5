"""The card of a run on TensorBoard's "Text" page: what was trained, with what, from which code, on which machine."""

import json
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from kopt._backend import adapter_module, watch

# What a user's `get_config`, a summary of a model or a drawing may raise: the page must not end the training.
FAILURES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
_GIT_SECONDS = 2.0


class Card:
    """Markdown, written part by part; what could not be had is said at its end."""

    def __init__(self) -> None:
        self._rows: list[str] = []
        self._blocks: list[str] = []
        self._missing: list[str] = []

    def leave_out(self, what: str, why: object) -> None:
        """Says that something is not on the page."""
        self._missing.append(f"* {what}: {_in_one_line(str(why))}")

    def try_out(self, what: str, make: Callable[[], Any]) -> Any:
        """Returns what `make` returns, or None and a line about why there is none."""
        try:
            return make()
        except FAILURES as error:
            self.leave_out(what, f"{type(error).__name__}: {error}")
            return None

    def row(self, name: str, make: Callable[[], str]) -> None:
        """Adds a row to the table at the top."""
        value = self.try_out(name, make)
        if value is not None:
            self._rows.append(f"| {name} | {_in_one_line(value).replace('|', chr(92) + '|')} |")

    def block(self, title: str, make: Callable[[], str], language: str = "") -> None:
        """Adds a part in type of one width."""
        value = self.try_out(title, make)
        if value is not None:
            self._blocks.append(f"### {title}\n\n```{language}\n{value.rstrip()}\n```\n")

    def markdown(self) -> str:
        """Returns the card."""
        table = "\n".join(["| | |", "|---|---|", *self._rows])
        missing = ["### Left out\n\n" + "\n".join(self._missing)] if self._missing else []
        return "\n\n".join([table, *self._blocks, *missing])


def describe(card: Card, model: Any, params: dict[str, Any]) -> None:
    """Fills the card of a fit."""
    optimizer = model.optimizer
    card.row("model", lambda: f"`{model.name}`, {model.count_params():,} weights")
    if optimizer is not None:
        card.row("optimizer", lambda: " + ".join(type(part).__name__ for part in watch.inner_optimizers(optimizer)))
    epochs, steps = params.get("epochs"), params.get("steps")
    card.row("run", lambda: f"{epochs} epochs of {steps or 'an unknown number of'} batches")
    card.row("date", lambda: time.strftime("%Y-%m-%d %H:%M:%S %z"))
    card.row("versions", versions)
    card.row("devices", lambda: ", ".join(adapter_module.devices()))
    card.row("git commit", lambda: commit(os.getcwd()))
    card.row("command line", lambda: f"`{shlex.join([*sys.orig_argv])}`")
    card.block("Model", lambda: summary(model))
    if optimizer is not None:
        card.block("Optimizer and schedule", lambda: config(optimizer), "json")


def versions() -> str:
    """Returns the versions of what trains."""
    backend = keras.backend.backend()
    found = {
        "kopt": sys.modules["kopt"].__version__,
        "keras": keras.__version__,
        backend: sys.modules[backend].__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
    }
    return ", ".join(f"{name} {version}" for name, version in found.items())


def summary(model: Any) -> str:
    """Returns the model's layers as a table."""
    lines: list[str] = []
    model.summary(line_length=76, print_fn=lambda text, **_: lines.append(text), expand_nested=True)
    return "\n".join(lines)


def config(optimizer: Any) -> str:
    """Returns the optimizer's config, its schedules included, as JSON."""
    with watch.without_tensorflow():
        return json.dumps(keras.saving.serialize_keras_object(optimizer), indent=2, default=str)


def commit(directory: str) -> str:
    """Returns the commit that is checked out in a directory, with "+changes" if tracked files differ from it.

    Raises:
        ValueError: There is none, or git did not answer in two seconds.
        OSError: There is no git.
    """
    found = _git(directory, "rev-parse", "--short=12", "HEAD")
    try:
        changed = _git(directory, "status", "--porcelain", "--untracked-files=no")
    except ValueError:
        return f"`{found}`, changes unknown"
    return f"`{found}`{' +changes' if changed else ''}"


def _git(directory: str, *arguments: str) -> str:
    environment = os.environ | {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=directory, env=environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, errors="replace", timeout=_GIT_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise ValueError(f"git did not answer in {_GIT_SECONDS:g} seconds") from error
    if done.returncode:
        raise ValueError(done.stderr or "git failed")
    return done.stdout.strip()


def _in_one_line(text: str) -> str:
    return " ".join(text.split())

"""Trials in processes of their own: their memory is given back, and what kills them does not kill the search."""

import copy
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import traceback
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any

import cloudpickle
import keras
import keras_tuner

from kopt._core import checks


class Isolation:
    """Runs the trainings of each trial in a process that it starts for it.

    Build function, data and callbacks are written once to a temporary file, which each process reads. POSIX only.

    Args:
        tuner: What runs the trials.
        args: Positional arguments of `fit`.
        kwargs: Those by name.

    Raises:
        ValueError: Something cannot be pickled.
    """

    def __init__(self, tuner: Any, args: Any, kwargs: dict[str, Any]) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="kopt-")
        self._path = Path(self._directory.name) / "search.pickle"
        alone = copy.copy(tuner)
        alone.oracle = _Far(tuner.oracle.objective, getattr(tuner.oracle, "max_epochs", None))
        settings = keras.config.floatx(), keras.config.dtype_policy().name
        try:
            self._path.write_bytes(cloudpickle.dumps((settings, alone, args, kwargs)))
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            advice = f"What `search` is given, or the build function refers to, cannot be pickled: {error}."
            raise checks.fail("isolate", "None for this search", "process", advice) from error

    def leave(self) -> None:
        """Deletes the temporary file; the search has ended."""
        self._directory.cleanup()

    def run(self, trial: Any, report: Any, trainings: list[Any], suffix: str = "") -> None:
        """Runs a trial.

        Args:
            trial: The trial, whose hyperparameters may gain some.
            report: Is asked after each epoch whether to stop; None asks nobody.
            trainings: Is given the trainings, also of a trial that fails.
            suffix: Of the names of its files.

        Raises:
            RuntimeError: The process has died.
            Exception: Whatever the training raises.
        """
        here, there = Pipe()
        # Not by `-m`: Python would warn that the package has imported the module before. A terminal sends Ctrl-C to all
        # processes, but this one is ended by the search.
        code = f"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); from {__name__} import main; main()"
        command = [sys.executable, "-c", code, str(there.fileno()), str(self._path)]
        paths = os.pathsep.join(path or "." for path in sys.path)
        own = {"KERAS_BACKEND": keras.backend.backend(), "PYTHONPATH": paths}
        process = subprocess.Popen(command, env=os.environ | own, pass_fds=[there.fileno()])
        there.close()
        try:
            here.send((trial.get_state(), report is not None, suffix))
            kind, content = pickle.loads(here.recv_bytes())
            while kind == "report":
                here.send(report(*content))
                kind, content = pickle.loads(here.recv_bytes())
        except (EOFError, ConnectionError):
            raise RuntimeError(f"The process of the trial {_death(process.wait())}.") from None
        finally:
            process.kill()
            process.wait()
            here.close()
        trial.hyperparameters = keras_tuner.HyperParameters.from_config(content["hyperparameters"])
        trainings.extend(content["trainings"])
        if kind == "error":
            raise content["error"] from _RemoteError(content["traceback"])


class _RemoteError(Exception):
    """The traceback of another process."""


class _Far:
    """What stands for the oracle in the process of a trial."""

    def __init__(self, objective: Any, max_epochs: int | None) -> None:
        self.objective = objective
        self.max_epochs = max_epochs
        self.suffix = ""

    def suffix_of(self, _: str) -> str:
        return self.suffix


def _death(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    return f"was ended by the signal {signal.Signals(-code).name}"


def main() -> None:
    """Is the process of a trial; its arguments are the descriptor of the connection and the file of the search."""
    link, path = Connection(int(sys.argv[1])), Path(sys.argv[2])
    (floatx, policy), tuner, args, kwargs = pickle.loads(path.read_bytes())
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(policy)
    state, is_asked, tuner.oracle.suffix = link.recv()
    trial = keras_tuner.engine.trial.Trial.from_state(state)

    def report(value: float, epoch: int) -> bool:
        link.send_bytes(pickle.dumps(("report", (value, epoch))))
        return bool(link.recv())

    kind, content = "done", {}
    try:
        tuner.run_here(trial, report if is_asked else None, *args, **kwargs)
    except Exception as error:  # noqa: BLE001 - it is sent to the search, which tells it
        kind, content = "error", {"error": _portable(error), "traceback": f"\n{traceback.format_exc()}"}
    content["trainings"] = tuner.trainings
    content["hyperparameters"] = trial.hyperparameters.get_config()
    link.send_bytes(pickle.dumps((kind, content)))


def _portable(error: Exception) -> Exception:
    """Returns an exception that can be sent: itself, or its text."""
    try:
        pickle.loads(pickle.dumps(error))
    except (pickle.PicklingError, AttributeError, TypeError, ValueError):
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error

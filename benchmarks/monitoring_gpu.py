"""Measures what it costs to look at a training on a GPU, in milliseconds of a step, and counts waits for the device.

    KERAS_BACKEND=jax python benchmarks/monitoring_gpu.py --model transformer-gpu transformer-100m --json gpu.json

For JAX and PyTorch. The settings train in turns in one process; a turn is one `fit`, timed by the wall until the device
is done. Afterwards it is checked that a step which is not looked at makes Python wait for the device no more often than
it does without a monitor: with JAX by forbidding transfers to the host, with PyTorch by its own count of them.
"""

import argparse
import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import pinned
from keras import ops
from monitored_models import MODELS
from monitoring import watching
from rich.console import Console
from rich.table import Table

SETTINGS = {
    "none": ("none", 1),
    "economy every 100": ("economy", 100),
    "economy every step": ("economy", 1),
    "business every 100": ("business", 100),
}


def main() -> None:
    """Measures the models that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", nargs="+", default=["transformer-gpu"], help="transformer-gpu, transformer-100m")
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--steps", type=int, default=100, help="of a turn")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--json", metavar="PATH", help="also write every single measurement there")
    options = parser.parse_args()
    table = Table("device", "backend", "model", "setting", "ms a step", "min", "ms more", "first fit s")
    records = []
    for name in options.model:
        with tempfile.TemporaryDirectory() as folder:
            first, turns = _measured(name, options, folder)
        for setting, found in turns.items():
            more = statistics.median(a - b for a, b in zip(found, turns["none"], strict=True))
            times = [statistics.median(found), min(found), more]
            table.add_row(
                device(),
                keras.backend.backend(),
                name,
                setting,
                *(f"{1e3 * seconds:.3f}" for seconds in times),
                f"{first[setting]:.1f}",
            )
        records.append({"model": name, "first": first, "turns": turns})
    Console(width=150).print(table)
    waits = {setting: _waits(options, setting) for setting in ("none", "economy every 100")}
    print("waits for the device on steps that are not looked at:", waits)
    if options.json:
        report = {
            "versions": pinned.versions(),
            "device": device(),
            "unit": "seconds",
            "cases": records,
            "waits": waits,
        }
        Path(options.json).write_text(json.dumps(report, indent=1) + "\n")


def device() -> str:
    """Returns the name of the device."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.devices()[0].device_kind
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def _fit(name: str, setting: str, steps: int, folder: str, beside: list[Any]) -> Callable[[], None]:
    make, make_data, batch = MODELS[name]
    keras.utils.set_random_seed(0)
    model = make()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.AdamW(1e-4), loss, jit_compile=keras.backend.backend() == "jax")
    x, y = make_data(steps * batch)
    preset, every = SETTINGS[setting]
    board = watching(preset, str(Path(folder, setting.replace(" ", "_"))), None, every)

    def fit() -> None:
        model.fit(x, y, batch_size=batch, shuffle=False, verbose=0, callbacks=[*board, *beside])
        ops.convert_to_numpy(model.trainable_variables[-1])

    return fit


def _measured(name: str, options: argparse.Namespace, folder: str) -> tuple[dict[str, float], dict[str, list[float]]]:
    fits = {setting: _fit(name, setting, options.steps, folder, []) for setting in options.settings}
    first = {setting: _seconds(fit) for setting, fit in fits.items()}
    turns: dict[str, list[float]] = {setting: [] for setting in fits}
    order = list(fits)
    for _ in range(options.turns):
        order.append(order.pop(0))
        for setting in order:
            turns[setting].append(_seconds(fits[setting]) / options.steps)
    return first, turns


def _seconds(call: Callable[[], None]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


class Counting(keras.callbacks.Callback):
    """Counts the waits for the device between two steps that are not looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.waits = 0
        self.guard: Any = None

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if device() == "cpu":
            return
        if batch == 2:  # The first looks are behind; the next is at step 100.
            self.guard = forbidding() if keras.backend.backend() == "jax" else counting(self)
            self.guard.__enter__()
        if batch == 90:
            self.guard.__exit__(None, None, None)


def forbidding() -> Any:
    """Returns the context in which JAX raises where Python would wait for numbers of the device."""
    import jax

    return jax.transfer_guard_device_to_host("disallow")


class counting:  # noqa: N801
    """The context in which PyTorch counts where Python waits for the device."""

    def __init__(self, owner: Counting) -> None:
        self.owner = owner

    def __enter__(self) -> None:
        import torch

        self.caught = warnings.catch_warnings(record=True)
        self.found = self.caught.__enter__()
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")

    def __exit__(self, *error: Any) -> None:
        import torch

        torch.cuda.set_sync_debug_mode("default")
        self.owner.waits = sum("synchroniz" in str(warning.message) for warning in self.found)
        self.caught.__exit__(None, None, None)


def _waits(options: argparse.Namespace, setting: str) -> int | str:
    counter = Counting()
    with tempfile.TemporaryDirectory() as folder:
        fit = _fit(options.model[0], setting, 95, folder, [counter])
        try:
            fit()
        except Exception as error:  # noqa: BLE001 - whatever JAX raises is the answer
            return f"{type(error).__name__}: {str(error)[:200]}"
    return counter.waits


if __name__ == "__main__":
    main()

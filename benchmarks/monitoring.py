"""Measures what it costs to look at a training: fits with and without a monitor, in CPU time on one core.

    python benchmarks/monitoring.py --backend all --model mlp cnn transformer --json monitoring.json

A case is a backend, a mode and a model. All settings of a case train in one process, in turns of a few steps each, so
that what else the machine does meets all of them. A price at an interval is (every step - none) / interval: readings at
an interval of 100 cannot be told from none. The first fit of each setting, which compiles, is told apart.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pinned
from rich.console import Console
from rich.table import Table

MODES = {"tensorflow": ("graph", "xla"), "jax": ("jit",), "torch": ("eager",)}
SETTINGS = ("none", "norms", "usual", "histograms", "economy", "business", "full", "second backward", "keras batch")
DEFAULT = [name for name in SETTINGS if name != "full"]

Record = dict[str, Any]


def main() -> None:
    """Runs the cases that the command line asks for, or the one that the parent process asks for."""
    options = _parser().parse_args()
    if options.case:
        measured = _measure(*options.case, options)
        Path(options.json).write_text(json.dumps(measured))
        return
    pinned.pin(options.core)
    records = []
    for backend, modes in MODES.items():
        for mode in modes:
            for model in options.model:
                if options.backend in (backend, "all") and options.mode in (mode, "all"):
                    records.append(_in_child(backend, mode, model, options))
                    print(backend, mode, model, "measured", file=sys.stderr)
    _show(records)
    if options.json:
        report = {"versions": pinned.versions(), "unit": "CPU seconds", "cases": records}
        Path(options.json).write_text(json.dumps(report, indent=1) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", choices=[*MODES, "all"], default="all")
    parser.add_argument("--mode", choices=["graph", "xla", "jit", "eager", "all"], default="all")
    parser.add_argument("--model", nargs="+", default=["mlp"], help="mlp, cnn, transformer")
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=DEFAULT)
    parser.add_argument("--steps", type=int, default=600, help="of each setting")
    parser.add_argument("--turns", type=int, default=12)
    parser.add_argument("--core", type=int, help="by default the last one")
    parser.add_argument("--json", metavar="PATH", help="also write every single measurement there")
    parser.add_argument("--case", nargs=3, help=argparse.SUPPRESS)
    return parser


def _in_child(backend: str, mode: str, model: str, options: argparse.Namespace) -> Record:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "measured.json")
        numbers = ["--steps", str(options.steps), "--turns", str(options.turns), "--settings", *options.settings]
        command = [sys.executable, __file__, *numbers, "--json", str(path), "--case", backend, mode, model]
        subprocess.run(command, env=pinned.environment(backend), check=True)
        return json.loads(path.read_text())


def _measure(backend: str, mode: str, name: str, options: argparse.Namespace) -> Record:
    from monitored_models import MODELS

    _, make_data, batch = MODELS[name]
    steps = max(options.steps // options.turns, 2)
    data = make_data(steps * batch)
    with tempfile.TemporaryDirectory() as folder:
        fits = {
            setting: _fit(setting, name, mode, data, str(Path(folder, setting.replace(" ", "_"))))
            for setting in options.settings
        }
        first = {setting: _cpu_seconds(fit) for setting, fit in fits.items()}
        for fit in fits.values():
            fit()
        turns: dict[str, list[float]] = {setting: [] for setting in fits}
        order = list(fits)
        for _ in range(options.turns):
            order.append(order.pop(0))
            for setting in order:
                turns[setting].append(_cpu_seconds(fits[setting]) / steps)
    return {"backend": backend, "mode": mode, "model": name, "steps": steps, "first": first, "turns": turns}


def _fit(setting: str, name: str, mode: str, data: Any, log_dir: str) -> Callable[[], Any]:
    """Returns a function that trains one model for a turn, with one way to look at it."""
    import keras
    from monitored_models import MODELS

    make, _, batch = MODELS[name]
    keras.utils.set_random_seed(0)
    model = make()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.AdamW(1e-4), loss, jit_compile=mode in ("xla", "jit"))
    callbacks = watching(setting, log_dir, [array[:batch] for array in data])
    return lambda: model.fit(*data, batch_size=batch, shuffle=False, verbose=0, callbacks=callbacks)


def watching(setting: str, log_dir: str, batch: Any, every: int = 1) -> list[Any]:
    """Returns the callbacks of a setting."""
    import keras

    from kopt import callbacks, monitoring

    norms = [monitoring.Rates(), monitoring.Losses(), monitoring.GlobalNorms(), monitoring.Norms()]
    if setting == "none":
        return []
    if setting == "keras batch":
        return [keras.callbacks.TensorBoard(log_dir, update_freq=every)]
    if setting == "second backward":
        return [second_backward(batch)]
    chosen: Any = {"norms": norms, "histograms": [*norms, monitoring.GradientHistograms()], "usual": None}
    return [callbacks.TensorBoard(log_dir, monitor=chosen.get(setting, setting), every=every, page=False)]


def second_backward(batch: Any) -> Any:
    """Returns what users write: a callback that takes a held batch's gradient once more at each step, and its norms."""
    import keras
    from keras import ops

    from kopt._backend import adapter_module, derivatives
    from kopt.monitoring.batch_loss import LossFunctions

    class Second(keras.callbacks.Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            if not hasattr(self, "squares"):
                self.gradient = LossFunctions(self.model).of((0, 0))[1]
                self.squares = derivatives.compiled(adapter_module.square_sums)

        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            weights = [ops.convert_to_tensor(variable) for variable in self.model.trainable_variables]
            state = [ops.convert_to_tensor(variable) for variable in self.model.non_trainable_variables]
            ops.convert_to_numpy(self.squares(self.gradient(weights, state, held)[1]))

    held = [ops.convert_to_tensor(array) for array in batch]
    return Second()


def _cpu_seconds(call: Callable[[], Any]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def _show(records: list[Record]) -> None:
    table = Table("backend", "mode", "model", "setting", "step ms", "/ none", "quartiles", "every 100", "first fit s")
    for column in table.columns[4:]:
        column.justify = "right"
    for record in records:
        plain = record["turns"]["none"]
        for setting, turns in record["turns"].items():
            low, middle, high = statistics.quantiles([a / b for a, b in zip(turns, plain, strict=True)], n=4)
            table.add_row(
                *(record[key] for key in ("backend", "mode", "model")),
                setting,
                f"{1e3 * statistics.median(turns):.2f}",
                f"{middle:.2f}",
                f"{low:.2f} .. {high:.2f}",
                f"{1 + (middle - 1) / 100:.4f}",
                f"{record['first'][setting]:.2f}",
            )
        table.add_section()
    Console(width=None if sys.stdout.isatty() else 140).print(table)


if __name__ == "__main__":
    main()

"""Measures one step of the optimizers that treat kernels as matrices, against AdamW, in CPU time on one core.

    python benchmarks/matrix_methods.py --backend all --size 512 --json matrices.json

A method that renews decompositions every so many steps stands twice in the table: with a step that renews none, and
with one that does ("renewing"). In one process of one thread, all take turns, so that what else the machine does meets
all.
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
from step_competitors import MODES, driven

NEVER = 10**6
WARM_UP_STEPS = 2
COLUMNS = ("backend", "mode", "kernels", "optimizer", "step ms", "min", "/ AdamW", "quartiles")

Record = dict[str, Any]


def main() -> None:
    """Runs the cases that the command line asks for, or the one that the parent process asks for."""
    options = _parser().parse_args()
    if options.part:
        _measure(*options.part, options)
        return
    pinned.pin(options.core)
    records = [
        _in_child(backend, mode, options)
        for backend, modes in MODES.items()
        for mode in modes
        if options.backend in (backend, "all") and options.mode in (mode, "all")
    ]
    _show(records)
    if options.json:
        report = {"versions": pinned.versions(), "unit": "CPU seconds", "cases": records}
        Path(options.json).write_text(json.dumps(report, indent=1) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    modes = [mode for of_backend in MODES.values() for mode in of_backend]
    parser.add_argument("--backend", choices=[*MODES, "all"], default="all")
    parser.add_argument("--mode", choices=[*modes, "all"], default="all", help="graph and xla are TensorFlow's")
    parser.add_argument("--size", type=int, default=512, help="rows and columns of each kernel")
    parser.add_argument("--kernels", type=int, default=1, help="kernels of that size")
    parser.add_argument("--repetitions", type=int, default=25)
    parser.add_argument("--core", type=int, help="by default the last one")
    parser.add_argument("--json", metavar="PATH", help="also write every single measurement there")
    parser.add_argument("--part", nargs=2, help=argparse.SUPPRESS)
    return parser


def contestants() -> dict[str, Callable[[], Any]]:
    """Returns functions that make the optimizers, by name; methods that this version of kopt has not are left out."""
    from kopt import optimizers

    made: dict[str, Callable[[], Any]] = {"AdamW": lambda: optimizers.AdamW(1e-3)}
    if hasattr(optimizers, "Muon"):
        made["Muon"] = lambda: optimizers.Muon(1e-3)
    for name, others in (("SOAP", {}), ("Shampoo", {"start_preconditioning_step": 1})):
        kind = getattr(optimizers, name)
        for often, words in ((NEVER, name), (1, f"{name}, renewing")):
            made[words] = lambda kind=kind, often=often, others=others: kind(
                1e-3, precondition_frequency=often, **others
            )
    if hasattr(optimizers, "Kron"):
        made["Kron"] = lambda: optimizers.Kron(1e-3)
    return made


def _in_child(backend: str, mode: str, options: argparse.Namespace) -> Record:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "measured.json")
        numbers = [f"--{name}={getattr(options, name)}" for name in ("repetitions", "size", "kernels")]
        command = [sys.executable, __file__, *numbers, "--json", str(path), "--part", backend, mode]
        code = subprocess.run(command, env=pinned.environment(backend), check=False).returncode
        steps = json.loads(path.read_text()) if code == 0 else {}
    kernels = f"{options.kernels} of {options.size} x {options.size}"
    return {"backend": backend, "mode": mode, "kernels": kernels, "failed": code, "steps": steps}


def _measure(backend: str, mode: str, options: argparse.Namespace) -> None:
    # The head is none of the matrices to methods that leave the last kernel out.
    shapes = [(options.size, options.size)] * options.kernels + [(options.size, 2)]
    running = {name: make() for name, make in driven(mode, shapes, contestants()).items()}
    for name, competitor in running.items():
        competitor.build()
        for _ in range(WARM_UP_STEPS):
            competitor.step()
        print(backend, mode, name, "compiled", file=sys.stderr)
    steps: dict[str, list[float]] = {name: [] for name in running}
    order = list(running)
    for _ in range(options.repetitions):
        order.append(order.pop(0))
        for name in order:
            start = time.process_time()
            running[name].step()
            steps[name].append(time.process_time() - start)
    Path(options.json).write_text(json.dumps(steps))


def _show(records: list[Record]) -> None:
    table = Table(*COLUMNS, title="One step, CPU time of one core")
    for column in table.columns[4:]:
        column.justify = "right"
    for record in records:
        case = [record["backend"], record["mode"], record["kernels"]]
        for name, seconds in record["steps"].items():
            ratios = [mine / plain for mine, plain in zip(seconds, record["steps"]["AdamW"], strict=True)]
            low, middle, high = statistics.quantiles(ratios, n=4)
            times = f"{1e3 * statistics.median(seconds):.2f}", f"{1e3 * min(seconds):.2f}"
            table.add_row(*case, name, *times, f"{middle:.1f}", f"{low:.1f} .. {high:.1f}")
        if record["failed"]:
            table.add_row(*case, f"failed (exit code {record['failed']})")
        table.add_section()
    Console(width=None if sys.stdout.isatty() else 140).print(table)


if __name__ == "__main__":
    main()

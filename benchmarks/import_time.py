"""Measures what `import kopt` costs beyond `import keras`, and which other packages it loads.

    python benchmarks/import_time.py --json imports.json

The CPU time of whole processes, of which each imports once; those with kopt and those without take turns. `import
keras` varies by more than kopt costs, so the time between the two imports of one process is shown too.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pinned
from rich.console import Console
from rich.table import Table

WATCHED = ("tensorflow", "jax", "torch", "tensorboard", "tensorboardX", "keras_tuner", "optuna")
COLUMNS = (
    "backend",
    "import keras s",
    "import kopt s",
    "difference s",
    "in one process s",
    "loads besides",
)

PROGRAM = """
import json, sys, time
import keras
before = time.process_time()
{statement}
now = time.process_time()
print(json.dumps({{"whole": now, "after_keras": now - before, "modules": [m for m in {watched} if m in sys.modules]}}))
"""

Record = dict[str, Any]


def main() -> None:
    """Measures the backends that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", choices=[*pinned.BACKENDS, "all"], default="all")
    parser.add_argument("--repetitions", type=int, default=9, help="processes with kopt, and as many without")
    parser.add_argument("--core", type=int, help="by default the last one")
    parser.add_argument("--json", metavar="PATH", help="also write every single measurement there")
    options = parser.parse_args()
    pinned.pin(options.core)
    backends = pinned.BACKENDS if options.backend == "all" else (options.backend,)
    records = {backend: _measure(backend, options.repetitions) for backend in backends}
    _show(records)
    if options.json:
        report = {"versions": pinned.versions(), "unit": "CPU seconds", "backends": records}
        Path(options.json).write_text(json.dumps(report, indent=1) + "\n")


def _measure(backend: str, repetitions: int) -> Record:
    statements = {"keras": "pass", "kopt": "import kopt"}
    for statement in statements.values():
        # The first import of all writes bytecode.
        _run(backend, statement)
    runs: dict[str, list[Record]] = {name: [] for name in statements}
    for _ in range(repetitions):
        for name, statement in statements.items():
            runs[name].append(_run(backend, statement))
    with_kopt, without = runs["kopt"][0]["modules"], runs["keras"][0]["modules"]
    return {
        **{name: [run["whole"] for run in of_name] for name, of_name in runs.items()},
        "after_keras": [run["after_keras"] for run in runs["kopt"]],
        "loaded_by_keras": without,
        "loaded_besides": [module for module in with_kopt if module not in without],
    }


def _run(backend: str, statement: str) -> Record:
    program = PROGRAM.format(statement=statement, watched=WATCHED)
    command = [sys.executable, "-P", "-c", program]
    done = subprocess.run(command, env=pinned.environment(backend), check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def _show(records: dict[str, Record]) -> None:
    table = Table(*COLUMNS, title="Imports, CPU time of one core (medians)")
    for backend, record in records.items():
        keras, kopt = record["keras"], record["kopt"]
        numbers = (
            statistics.median(keras),
            statistics.median(kopt),
            statistics.median(kopt) - statistics.median(keras),
            statistics.median(record["after_keras"]),
        )
        table.add_row(backend, *(f"{number:.2f}" for number in numbers), ", ".join(record["loaded_besides"]) or "none")
    Console(width=None if sys.stdout.isatty() else 140).print(table)


if __name__ == "__main__":
    main()

"""Measures one step of AdamW, kopt's against Keras', in CPU time on one core.

    python benchmarks/optimizer_step.py --backend all --set all --json steps.json

A case is a backend, a mode and a set of parameters; its processes have one thread. The first step (build, trace,
compile) of each optimizer is taken in a process of its own, since what one compiles may serve the next. All other steps
are taken in one process, in which the optimizers take turns, so that what else the machine does meets all of them.
"""

import argparse
import gc
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
from parameter_sets import SETS
from rich.console import Console
from rich.table import Table
from step_competitors import MODES, Competitor, Make, competitors, rivals

WARM_UP_STEPS = 3
COLUMNS = (
    "backend",
    "mode",
    "set",
    "optimizer",
    "step ms",
    "min",
    "/ keras",
    "quartiles",
    "build + first step s",
    "/ keras",
)

Record = dict[str, Any]
Case = tuple[str, str, str]
Part = tuple[str, str, str, str]


def main() -> None:
    """Runs the cases that the command line asks for, or the part of one that the parent process asks for."""
    options = _parser().parse_args()
    if options.part:
        _measure(*options.part, options, Path(options.json))
        return
    pinned.pin(options.core)
    records = []
    for case in _cases(options):
        records.append(_run(case, options))
        print(*case, records[-1]["note"] or "measured", file=sys.stderr)
    _show(records)
    if options.json:
        report = {"versions": pinned.versions(), "unit": "CPU seconds", "cases": records}
        Path(options.json).write_text(json.dumps(report, indent=1) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    modes = [mode for of_backend in MODES.values() for mode in of_backend]
    parser.add_argument("--backend", choices=[*MODES, "all"], default="all")
    parser.add_argument("--mode", choices=[*modes, "all"], default="all", help="graph and xla are TensorFlow's")
    parser.add_argument("--set", choices=[*SETS, "all"], default="all", dest="parameter_set")
    parser.add_argument("--repetitions", type=int, default=25)
    parser.add_argument("--cpu-limit", type=int, default=600, help="CPU seconds after which first steps are given up")
    parser.add_argument("--core", type=int, help="by default the last one")
    parser.add_argument("--json", metavar="PATH", help="also write every single measurement there")
    parser.add_argument("--part", nargs=4, help=argparse.SUPPRESS)
    return parser


def _cases(options: argparse.Namespace) -> list[Case]:
    return [
        (backend, mode, name)
        for name in SETS
        for backend, modes in MODES.items()
        for mode in modes
        if options.backend in (backend, "all")
        and options.mode in (mode, "all")
        and options.parameter_set in (name, "all")
    ]


def _run(case: Case, options: argparse.Namespace) -> Record:
    backend, mode, name = case
    record: Record = {"backend": backend, "mode": mode, "set": name, "note": "", "optimizers": {}}
    for rival in rivals(backend):
        measured, record["note"] = _in_child((*case, rival), options)
        if record["note"]:
            return record
        record["optimizers"][rival] = {**measured, "steps": []}
    steps, record["note"] = _in_child((*case, "steps"), options)
    for rival, seconds in steps.items():
        record["optimizers"][rival]["steps"] = seconds
    return record


def _in_child(part: Part, options: argparse.Namespace) -> tuple[Record, str]:
    """Measures a part of a case in a new process; returns what it measured, and what went wrong."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "measured.json")
        numbers = ["--repetitions", str(options.repetitions), "--cpu-limit", str(options.cpu_limit)]
        command = [sys.executable, __file__, *numbers, "--json", str(path), "--part", *part]
        code = subprocess.run(command, env=pinned.environment(part[0]), check=False).returncode
        if code == 0:
            return json.loads(path.read_text()), ""
    failure = f"given up after {options.cpu_limit} CPU s" if code == pinned.GIVEN_UP else f"failed (exit code {code})"
    return {}, f"{part[3]} {failure}"


def _measure(backend: str, mode: str, name: str, part: str, options: argparse.Namespace, path: Path) -> None:
    """Measures one part in this process, `"steps"` or the first step of an optimizer, and writes it to `path`."""
    within_limit = pinned.end_after(options.cpu_limit)
    for make in competitors(backend, mode, [(4, 4), (4,)]).values():
        # Whatever a backend sets up once per process is in nobody's first step.
        _first(make)
    contest = competitors(backend, mode, SETS[name]())
    if part != "steps":
        path.write_text(json.dumps(_first(contest[part])[1]))
        return
    running = {rival: _first(make)[0] for rival, make in contest.items()}
    within_limit.set()
    for _ in range(WARM_UP_STEPS):
        for competitor in running.values():
            competitor.step()
    steps: dict[str, list[float]] = {rival: [] for rival in running}
    order = list(running)
    for _ in range(options.repetitions):
        order.append(order.pop(0))
        for rival in order:
            steps[rival].append(_cpu_seconds(running[rival].step))
    path.write_text(json.dumps(steps))


def _first(make: Make) -> tuple[Competitor, Record]:
    competitor = make()
    gc.collect()
    build, first = _cpu_seconds(competitor.build), _cpu_seconds(competitor.step)
    return competitor, {"build": build, "first_step": first}


def _cpu_seconds(call: Callable[[], None]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def _show(records: list[Record]) -> None:
    table = Table(*COLUMNS, title="One step of AdamW, CPU time of one core")
    for column in table.columns[4:]:
        column.justify = "right"
    for record in records:
        case = [record["backend"], record["mode"], record["set"]]
        keras = record["optimizers"].get("keras")
        for rival in rivals(record["backend"]):
            table.add_row(*case, rival, *_row(record["optimizers"].get(rival), keras))
        if record["note"]:
            table.add_row("", "", "", record["note"])
        table.add_section()
    Console(width=None if sys.stdout.isatty() else 140).print(table)


def _row(own: Record | None, keras: Record | None) -> list[str]:
    if own is None:
        return ["-", "-", "-", "-", "not reached", "-"]
    first = own["build"] + own["first_step"]
    row = ["-", "-", "-", "-", f"{own['build']:.2f} + {own['first_step']:.2f}", "-"]
    if own["steps"]:
        row[:2] = f"{1e3 * statistics.median(own['steps']):.1f}", f"{1e3 * min(own['steps']):.1f}"
    if keras and keras["steps"]:
        ratios = [mine / theirs for mine, theirs in zip(own["steps"], keras["steps"], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        row[2:4] = f"{middle:.2f}", f"{low:.2f} .. {high:.2f}"
    if keras:
        row[5] = f"{first / (keras['build'] + keras['first_step']):.2f}"
    return row


if __name__ == "__main__":
    main()

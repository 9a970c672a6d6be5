"""`kopt diagnose logs/run`: what is wrong with a run that is over, or still runs, from what it has logged."""

import argparse
import json
import sys
from pathlib import Path


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the command to the others."""
    parser = commands.add_parser(
        "diagnose",
        help="say what is wrong with a training run",
        description="Says what is wrong with a run, the most likely cause first, from what `kopt.callbacks.Diagnose` "
        "or `kopt.callbacks.TensorBoard` have written into its directory.",
        epilog="exit codes: 0 nothing is wrong; 1 something is; 2 there is no such run",
    )
    parser.add_argument("log_dir", help="directory of the run")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Prints what is wrong; returns 0 if nothing is, else 1.

    Args:
        arguments: With `log_dir` and `json`.

    Raises:
        ValueError: There is no run in the directory.
    """
    # Only here: the command line is read without Keras.
    from kopt.callbacks.read_statistics import FILE, read_statistics
    from kopt.diagnosis import diagnose
    from kopt.diagnosis.statistics import encoded

    statistics = read_statistics(arguments.log_dir)
    findings = diagnose(statistics)
    if arguments.json:
        sys.stdout.write(json.dumps(encoded([finding.to_dict() for finding in findings]), indent=2) + "\n")
        return int(bool(findings))
    for finding in findings:
        where = f", {finding.where}" if finding.where else ""
        sys.stdout.write(f"{finding.code} ({finding.severity}{where})\n  {finding.sentence}\n  {finding.advice}\n\n")
    if not findings:
        sys.stdout.write("Nothing wrong was found.\n")
    seen = f"{len(statistics.epochs)} epochs, {len(statistics.looks)} steps looked at"
    sys.stdout.write(f"From {seen}.\n")
    if not (Path(arguments.log_dir) / FILE).exists():
        sys.stdout.write(
            "Data and model were not seen: `kopt.callbacks.Diagnose(x, y, log_dir=...)` in the run looks at them too.\n"
        )
    return int(bool(findings))

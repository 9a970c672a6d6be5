"""What recipes read from the command line and print on it."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any


def command_line(description: str | None) -> argparse.ArgumentParser:
    """Returns a parser with the arguments that all recipes share."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", choices=["tensorflow", "jax", "torch"], help="default: Keras' own setting")
    parser.add_argument("--log-dir", default="logs", help="where the run's directory is made (default logs)")
    return parser


def parsed(parser: argparse.ArgumentParser, argv: Sequence[str] | None, **least: int) -> argparse.Namespace:
    """Reads the command line and chooses the backend, before Keras is imported.

    Args:
        parser: From `command_line`.
        argv: The arguments; None for those of the process.
        least: Arguments that are numbers, each with the least that it may be.
    """
    options = parser.parse_args(argv)
    for name, bound in least.items():
        if getattr(options, name) < bound:
            parser.error(f"--{name.replace('_', '-')} must be at least {bound}. Received: {getattr(options, name)}.")
    if options.backend:
        os.environ["KERAS_BACKEND"] = options.backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    return options


def named_optimizers() -> dict[str, Any]:
    """Returns the optimizers of `kopt.optimizers` by their names in small letters."""
    import kopt

    base = kopt.optimizers.ComposedOptimizer
    return {
        key.lower(): value
        for key, value in vars(kopt.optimizers).items()
        if isinstance(value, type) and issubclass(value, base) and value not in (base, kopt.optimizers.Composed)
    }


def optimizer_class(name: str, argument: str) -> Any:
    """Returns `kopt.optimizers.<name>`; a wrong name ends the program with a list of the right ones."""
    named = named_optimizers()
    if name.lower() not in named:
        right = ", ".join(sorted((kind.__name__ for kind in named.values()), key=str.lower))
        sys.exit(f"{argument} must be one of: {right}. Received: {name}.")
    return named[name.lower()]


def chosen(names: Sequence[str] | None, everything: dict[str, Any]) -> dict[str, Any]:
    """Returns those that `--only` named, or all; a wrong name ends the program with a list of the right ones."""
    known = {name.lower(): name for name in everything}
    for name in names or []:
        if name.lower() not in known:
            sys.exit(f"--only must be one of: {', '.join(everything)}. Received: {name}.")
    return {known[name.lower()]: everything[known[name.lower()]] for name in names or everything}


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns, title=title)
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def say_where(run_dir: object, log_dir: object) -> None:
    """Prints where a run was logged and how to look at it."""
    sys.stdout.write(f"Logged to {run_dir}\nLook at it with:\n\n    tensorboard --logdir {log_dir}\n\n")

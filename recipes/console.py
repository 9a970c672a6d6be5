"""What recipes read from the command line and print on it."""

import sys
from collections.abc import Sequence
from typing import Any


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

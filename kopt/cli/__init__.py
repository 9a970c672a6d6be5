"""The command `kopt`: starts the workers of a search on one machine, and shows what its directory holds."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from kopt.cli.shown import complain

# Each is a module here with `add_to(commands)`, which names the function that runs it. All are imported to say what
# there is, so none of them imports Keras, or what takes as long, before it runs.
COMMANDS = (
    "launch",
    "status",
    "best",
    "table",
    "report",
    "diagnose",
)
_EPILOG = """exit codes: 0 all is well; 1 a worker was given up on, or there is nothing to show yet;
2 the arguments are wrong, or there is no search; 130 and 143 ended by SIGINT and SIGTERM"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command that the arguments name, and returns its exit code.

    Args:
        argv: The arguments; None for those of the process.
    """
    parser = argparse.ArgumentParser(
        prog="kopt",
        description="Starts the workers of a search, and looks at a search that runs or has run.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name in COMMANDS:
        importlib.import_module(f"kopt.cli.{name}").add_to(commands)
    arguments = parser.parse_args(argv)
    try:
        code = int(arguments.run(arguments))
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read has seen enough; without this, Python complains once more when it closes the pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ValueError, OSError, ImportError) as error:
        complain(str(error))
        return 2
    except KeyboardInterrupt:
        return 130
    return code

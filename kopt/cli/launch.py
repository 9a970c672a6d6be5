"""`kopt launch`: several equal processes of one script on this machine, started again when they die."""

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kopt.cli import shown
from kopt.cli.shown import at_least

# NPROC is what XLA on a CPU, and so JAX, reads the size of its pool of threads from.
_THREADS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "NPROC",
)
# One process takes most of a GPU's memory at its first step otherwise, and leaves none to the next.
_SHARED_GPU = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "TF_FORCE_GPU_ALLOW_GROWTH": "true"}
_DESCRIPTION = """Runs N equal processes of a script, each with KOPT_WORKER (0 to N - 1) and KOPT_WORKERS (N) in its
environment. One that ends with 0 is done; one that dies is started again, unless it has died at once too often."""


def add_to(commands: Any) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "launch", help="runs a script in several processes, and restarts them", description=_DESCRIPTION
    )
    seconds, count = at_least(0, whole=False), at_least(1)
    parser.add_argument("-n", "--workers", type=count, required=True, metavar="N", help="how many processes")
    parser.add_argument(
        "--max-restarts", type=at_least(0), default=3, metavar="K",
        help="gives up on a worker that dies once more after K quick deaths in a row (default 3)",
    )  # fmt: skip
    parser.add_argument(
        "--healthy-after", type=seconds, default=60.0, metavar="SECONDS",
        help="a worker that has lived so long has not died quickly (default 60)",
    )  # fmt: skip
    parser.add_argument(
        "--backoff", type=seconds, default=1.0, metavar="SECONDS",
        help="before a new start; doubled after each quick death, up to 30 (default 1)",
    )  # fmt: skip
    parser.add_argument(
        "--grace", type=seconds, default=10.0, metavar="SECONDS",
        help="between SIGINT or SIGTERM, which are passed on, and SIGKILL (default 10)",
    )  # fmt: skip
    parser.add_argument(
        "--log-dir", type=Path, metavar="DIR", help="writes the output into worker_<k>.log there, not to the console"
    )
    parser.add_argument("--gpus", metavar="LIST", help="such as 0,1: workers get them in turn (CUDA_VISIBLE_DEVICES)")
    parser.add_argument("script", type=Path, help="a Python script")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="its arguments")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Runs the workers, and returns the exit code of the command."""
    if os.name != "posix":
        raise OSError("`kopt launch` needs a POSIX system: processes are ended as groups, by signals.")
    from kopt.cli.supervision import Policy, Supervisor
    from kopt.cli.worker import Worker

    if not arguments.script.is_file():
        raise ValueError(f"`script` must be a Python script. Received: {arguments.script}, which is no file.")
    gpus = None if arguments.gpus is None else [name.strip() for name in arguments.gpus.split(",")]
    if gpus is not None and not all(gpus):
        raise ValueError(f"`--gpus` must be a list such as 0,1. Received: {arguments.gpus}.")
    command, logs = [sys.executable, str(arguments.script), *arguments.arguments], arguments.log_dir
    if logs is not None:
        logs.mkdir(parents=True, exist_ok=True)
    workers = [
        Worker(
            number,
            command,
            {**os.environ, **added(os.environ, number, arguments.workers, cores(), gpus)},
            None if logs is None else logs / f"worker_{number}.log",
        )
        for number in range(arguments.workers)
    ]
    policy = Policy(arguments.max_restarts, arguments.healthy_after, arguments.backoff, arguments.grace)
    code = Supervisor(workers, policy, shown.complain).run()
    done = sum(worker.outcome == "done" for worker in workers)
    shown.complain(f"{done} of {len(workers)} workers ended well")
    return code


def cores() -> int:
    """Returns how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def added(
    environment: Mapping[str, str], number: int, count: int, cores: int, gpus: list[str] | None
) -> dict[str, str]:
    """Returns what a worker has in its environment that the launcher has not.

    Args:
        environment: The launcher's; what the user has set stays.
        number: Of the worker.
        count: How many there are.
        cores: Of the machine, which they share.
        gpus: Names of GPUs, which they get in turn; None for no choice.
    """
    wanted = dict.fromkeys(_THREADS, str(max(1, cores // count))) | {"PYTHONUNBUFFERED": "1"}
    if gpus is not None and count > len(gpus):
        wanted |= _SHARED_GPU
    found = {name: value for name, value in wanted.items() if name not in environment}
    if gpus is not None:
        found["CUDA_VISIBLE_DEVICES"] = gpus[number % len(gpus)]
    return found | {"KOPT_WORKER": str(number), "KOPT_WORKERS": str(count)}

"""Who runs a trial: what tells a worker from all others, and whether it is known to be dead."""

import os
import platform
import secrets
from pathlib import Path
from typing import Any


def identity(directory: str | os.PathLike[str]) -> dict[str, Any]:
    """Returns what a worker writes into the trials that it runs.

    Args:
        directory: Where it keeps weights.
    """
    return {
        "key": secrets.token_hex(8),
        "host": platform.node(),
        "pid": os.getpid(),
        "where": _where(),
        "start": _start(os.getpid()),
        "directory": str(Path(directory).resolve()),
    }


def name_of(worker: dict[str, Any]) -> str:
    """Returns how messages call a worker."""
    return f"{worker['host']}:{worker['pid']}"


def is_dead(worker: dict[str, Any]) -> bool:
    """Returns whether a worker is known to have ended; False for those that cannot be looked for from here."""
    if worker["start"] is None or worker["where"] is None or worker["where"] != _where():
        return False
    return _start(worker["pid"]) != worker["start"]


def _where() -> str | None:
    """Returns what processes have in common that see each other: machine, boot, space of process ids, user."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{platform.node()} {boot} {os.readlink('/proc/self/ns/pid')} {os.getuid()}"
    except OSError:  # There is no /proc.
        return None


def _start(pid: int) -> int | None:
    """Returns when a process has begun, in clock ticks since the system has; None if it has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # The name, in brackets, may hold anything.
    return None if fields[0] in "ZX" else int(fields[19])

"""Ends what a launcher has started if the launcher is killed: a script of its own, which knows nothing of kopt.

It reads the process groups of the workers from standard input, `+<group>` for one that begins and `-<group>` for one
that has ended. The input ends with the launcher, whatever has ended that; the groups that are left are killed then.
"""

import contextlib
import os
import signal
import sys


def main() -> None:
    """Waits for the end of the launcher."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        (groups.add if line.startswith("+") else groups.discard)(int(line[1:]))
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main()

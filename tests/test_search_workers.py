"""KerasTuner's chief and workers, as processes: they end, whatever becomes of a worker."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from search_spaces import once

pytestmark = [once, pytest.mark.slow]


def ended(folder, *flags):
    """Runs a chief and a worker for each of `flags`; returns their exit codes and what the chief printed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    script = str(Path(__file__).with_name("search_worker.py"))
    processes = []
    for name, flag in [("chief", flags[0]), *((f"worker{i}", flag) for i, flag in enumerate(flags))]:
        flag = "" if name == "chief" and flag == "--die" else flag
        environment = {**os.environ, "KERASTUNER_TUNER_ID": name, "KERASTUNER_ORACLE_IP": "127.0.0.1"}
        processes.append(
            subprocess.Popen(
                [sys.executable, script, str(folder), *([flag] if flag else [])],
                env={**environment, "KERASTUNER_ORACLE_PORT": port},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
        if flag == "--die":  # While it begins, the others would run all trials.
            processes[-1].wait(timeout=60)
        if name == "chief":  # It is to be there first: a worker waits for it with pauses that grow.
            time.sleep(5)
    try:
        printed = [process.communicate(timeout=150)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [process.returncode for process in processes], printed[0]


def test_a_worker_that_dies_is_replaced(tmp_path):
    codes, printed = ended(tmp_path, "--die", "", "")
    assert codes == [0, 1, 0, 0], printed
    assert f"statuses {['COMPLETED'] * 10} pruned" in printed
    assert not printed.rstrip().endswith("pruned 0")


def test_failures_in_a_row_end_the_search_in_every_process(tmp_path):
    codes, printed = ended(tmp_path, "--fail", "--fail")
    assert codes == [0, 0, 0], printed
    assert "3 trials failed in a row" in printed

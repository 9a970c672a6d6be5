"""`kopt launch` with real workers: that crash, are killed, never start, will not end, and whose launcher is killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import pytest

from kopt.cli.launch import added

ROOT = Path(__file__).parents[1]
pytestmark = [
    pytest.mark.skipif(keras.backend.backend() != "torch", reason="no backend is involved: once is enough"),
    pytest.mark.skipif(os.name != "posix", reason="the command says that it needs POSIX"),
]
QUICK = ("--backoff", "0.05")
# Each start of worker k makes one file, `<k>.<number of the start>`, which holds the number of its process.
BEGIN = """
import os, pathlib, signal, subprocess, sys, time
number, here = os.environ["KOPT_WORKER"], pathlib.Path(__file__).parent
start = len(list(here.glob(f"{number}.*")))
def begin():
    beside = here / f"tmp-{number}"
    beside.write_text(str(os.getpid()))
    beside.rename(here / f"{number}.{start}")
"""


@pytest.fixture
def script(tmp_path):
    def write(body):
        path = tmp_path / "script.py"
        path.write_text(BEGIN + body)
        return path

    return write


def launcher(*arguments, environment=None, **options):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})}
    command = [sys.executable, "-m", "kopt", "launch", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
    return subprocess.Popen(command, env=environment, **pipes)


def launched(*arguments, code=0, **options):
    process = launcher(*arguments, **options)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == code, (process.returncode, out, errors)
    assert "supervision.py" not in errors
    return out, errors


def starts(directory, number):
    return len(list(directory.glob(f"{number}.*")))


def eventually(condition):
    """Waits until a condition holds, and fails if it never does."""
    for _ in range(600):
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("This never came to be.")


def process_in(path):
    return eventually(lambda: path.exists() and path.read_text()) and int(path.read_text())


def is_gone(process):
    """Returns whether a process has ended; one that nobody has waited for yet has ended, too."""
    try:
        os.kill(process, 0)
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except ProcessLookupError:
        return True
    except FileNotFoundError:  # It has gone in between, or the system has no such files.
        return Path("/proc/self").exists()


def test_equal_workers_end_well(script):
    path = script("begin(); print(number, os.environ['KOPT_WORKERS'], sys.argv[1:]); print('end', end='')")
    out, errors = launched("-n", "3", path, "--epochs", "5", "-n", "7")
    lines = out.splitlines()
    for number in range(3):
        assert f"[{number}] {number} 3 ['--epochs', '5', '-n', '7']" in lines
        assert f"[{number}] end" in lines
    assert len(lines) == 6
    assert "3 of 3 workers ended well" in errors


def test_threads_and_gpus_are_shared():
    first = added({}, 1, 3, 7, None)
    assert first["KOPT_WORKER"] == "1"
    assert {first[name] for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "NPROC")} == {"2"}
    assert "CUDA_VISIBLE_DEVICES" not in first
    assert added({}, 0, 5, 4, None)["OMP_NUM_THREADS"] == "1"
    assert "OMP_NUM_THREADS" not in added({"OMP_NUM_THREADS": "8"}, 0, 5, 4, None)
    found = [added({"CUDA_VISIBLE_DEVICES": "0,1"}, number, 3, 4, ["0", "1"]) for number in range(3)]
    assert [one["CUDA_VISIBLE_DEVICES"] for one in found] == ["0", "1", "0"]
    assert {one["XLA_PYTHON_CLIENT_PREALLOCATE"] for one in found} == {"false"}
    assert "TF_FORCE_GPU_ALLOW_GROWTH" not in added({}, 0, 2, 4, ["0", "1"])


def test_what_crashes_or_is_killed_is_started_again(script):
    path = script("""
begin()
if start == 0 and number == "0":
    raise ArithmeticError("diverged")
if start == 0 and number == "1":
    os.kill(os.getpid(), signal.SIGKILL)
if start == 0 and number == "2":
    subprocess.Popen(["sleep", "100"])  # Holds the pipe open.
    os._exit(3)
""")
    _, errors = launched("-n", "3", *QUICK, path)
    assert [starts(path.parent, number) for number in range(3)] == [2, 2, 2]
    assert "worker 0 ended with exit code 1 after" in errors
    assert "worker 1 was ended by SIGKILL after" in errors
    assert "worker 2 ended with exit code 3 after" in errors
    assert "3 of 3 workers ended well" in errors


def test_what_never_starts_is_given_up_on_with_its_last_words(script):
    path = script("""
begin()
if number == "1":
    print("x" * 200_000)
    import no_such_module
""")
    out, errors = launched("-n", "2", "--max-restarts", "2", *QUICK, path, code=1)
    assert starts(path.parent, 0) == 1
    assert starts(path.parent, 1) == 3
    assert "worker 1 ended with exit code 1" in errors
    assert "for the third time in a row: given up. It said last:" in errors
    assert errors.index("given up") < errors.rindex("ModuleNotFoundError: No module named 'no_such_module'")
    assert "1 of 2 workers ended well" in errors
    assert out.count("x" * 1000) >= 3


def test_who_has_lived_long_enough_may_die_again_and_again(script):
    path = script("begin(); sys.exit(start < 3)")
    launched("-n", "1", "--healthy-after", "0", "--max-restarts", "0", *QUICK, path)
    assert starts(path.parent, 0) == 4
    launched("-n", "1", "--max-restarts", "0", script("begin(); sys.exit(4)"), code=1)
    assert starts(path.parent, 0) == 5


def test_output_goes_to_files(script):
    path = script("begin(); print('worker', number); sys.exit('failed' if start < 1 else 0)")
    logs = path.parent / "logs" / "today"
    out, _ = launched("-n", "2", "--log-dir", logs, *QUICK, path)
    assert out == ""
    for number in range(2):
        lines = (logs / f"worker_{number}.log").read_text().splitlines()
        said = [line for line in lines if not line.startswith("---")]
        assert said == [f"worker {number}", "failed", f"worker {number}"]
        assert lines[0].startswith(f"--- worker {number}, start 1, ")
    _, errors = launched("-n", "1", "--log-dir", logs, "--max-restarts", "0", script("print('a'); 1 / 0"), code=1)
    assert "ZeroDivisionError" in errors
    assert "failed" not in errors, "That was said by an earlier start."


STAYS = """
child = subprocess.Popen(["sleep", "1000"])
(here / f"child-{number}").write_text(str(child.pid))
def polite(*_):
    (here / f"asked-{number}").touch()
    if number == "0":
        sys.exit(0)
for one in (signal.SIGINT, signal.SIGTERM):
    signal.signal(one, polite)
begin()
while True:
    time.sleep(1)
"""


def everyone(directory, count=2):
    names = [f"{name}{number}{end}" for number in range(count) for name, end in (("child-", ""), ("", ".0"))]
    return [process_in(directory / name) for name in names]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_are_passed_on_and_then_there_is_no_mercy(script, number):
    path = script(STAYS)
    under_nohup = {"preexec_fn": lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)}
    process = launcher("-n", "2", "--grace", "1", path, **under_nohup)
    started = everyone(path.parent)
    process.send_signal(signal.SIGHUP)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number, errors
    assert all((path.parent / f"asked-{k}").exists() for k in range(2))
    assert f"{number.name}: it is passed on to 2 workers" in errors
    eventually(lambda: all(map(is_gone, started)))
    assert "1 of 2 workers ended well" in errors


def interrupted(process):
    process.send_signal(signal.SIGINT)
    return process.stderr.readline()


def test_a_second_interrupt_ends_the_grace_and_nobody_is_started_again(script):
    path = script("begin()\nif number == '0': sys.exit(1)\n" + STAYS.replace("begin()", ""))
    process = launcher("-n", "2", "--grace", "1000", "--backoff", "1000", path)
    assert "it is started again in 30 s" in process.stderr.readline()
    started = [process_in(path.parent / name) for name in ("child-1", "1.0")]
    assert "SIGINT: it is passed on to 1 workers" in interrupted(process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert starts(path.parent, 0) == 1
    eventually(lambda: all(map(is_gone, started)))


def test_nothing_outlives_a_launcher_that_is_killed(script):
    path = script(STAYS)
    process = launcher("-n", "2", path)
    started = everyone(path.parent)
    process.kill()
    process.communicate(timeout=60)
    eventually(lambda: all(map(is_gone, started)))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel does it on Linux")
def test_workers_end_with_the_launcher_though_its_guard_was_killed(script):
    path = script("begin()\nwhile True: time.sleep(1)")
    process = launcher("-n", "2", path)
    started = [process_in(path.parent / f"{number}.0") for number in range(2)]
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    (guard,) = {int(child) for child in children} - set(started)
    os.kill(guard, signal.SIGKILL)
    process.kill()
    process.communicate(timeout=60)
    eventually(lambda: all(map(is_gone, started)))


def test_nothing_outlives_a_launcher_that_nobody_listens_to(script):
    path = script("begin()\nwhile True: print('tick'); time.sleep(0.05)")
    process = launcher("-n", "1", path, stderr=subprocess.DEVNULL)
    started = process_in(path.parent / "0.0")
    process.stdout.close()
    assert process.wait(timeout=60) == 1
    eventually(lambda: is_gone(started))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-n", "2", "no.py"), "`script` must be a Python script. Received: no.py, which is no file."),
        (("-n", "0", __file__), "must be an integer >= 1. Received: 0."),
        (("-n", "1", "--grace", "-1", __file__), "must be a number >= 0. Received: -1."),
        (("-n", "1", "--gpus", "0,,1", __file__), "`--gpus` must be a list such as 0,1. Received: 0,,1."),
        ((__file__,), "the following arguments are required: -n"),
    ],
)
def test_bad_arguments_are_told(arguments, message):
    assert message in launched(*arguments, code=2)[1]

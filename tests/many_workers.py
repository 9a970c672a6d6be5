"""One worker of a shared search, as a script; and what starts, kills and replaces such workers.

Importing takes seconds, and the test of what a kill does needs many starts. So one process imports, and makes each
worker by `fork`, before it has any thread: from there on they are processes like others.
"""

import argparse
import fcntl
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import keras_tuner
import searches

from kopt import tuning
from kopt.tuning.storage import oracle as _loaded  # noqa: F401  So that no worker has to.


class Slow(keras_tuner.HyperModel):
    """Gives (u - 0.3)^2 after some time, and notes what it does in a file of its own process."""

    def __init__(self, options):
        super().__init__()
        self.options = options
        self.begun = 0

    def build(self, hp):
        return searches.Curve().build(hp)

    def fit(self, hp, model, **_):
        options = self.options
        note(options.directory, f"begin {hp.get('u')!r}")
        self.begun += 1
        if options.die_in == self.begun or (options.poison and hp.get("kind") == "b"):
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(options.seconds)
        note(options.directory, f"end {hp.get('u')!r}")
        return {"score": (hp.get("u") - 0.3) ** 2}


def note(directory, text):
    """Adds a line to the file of this process."""
    with (Path(directory) / f"worker-{os.getpid()}.txt").open("a") as file:
        file.write(f"{text}\n")


def work(arguments):
    """Runs trials until the search is over, and prints a digest of the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("directory")
    parser.add_argument("storage")
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=0.3)
    parser.add_argument("--timeout", type=float, default=5.0)
    parser.add_argument("--deaths", type=int, default=20)
    parser.add_argument("--die-in", type=int, default=0)
    parser.add_argument("--poison", action="store_true")
    parser.add_argument("--grid", type=int, default=0, help="whole numbers from 0 to this")
    options = parser.parse_args(arguments)
    hp = keras_tuner.HyperParameters()
    if options.grid:
        hp.Int("u", 0, options.grid)
    tuner = tuning.Tuner(
        Slow(options), objective=keras_tuner.Objective("score", "min"), max_trials=options.trials,
        sampler="grid" if options.grid else "random", hyperparameters=hp if options.grid else None,
        storage=options.storage, worker_timeout=options.timeout, max_deaths_per_trial=options.deaths, seed=0,
        directory=options.directory, project_name="shared",
    )  # fmt: skip
    tuner.search(verbose=0)
    rows = json.dumps([[row["trial"], row["status"], row.get("score")] for row in tuner.rows()])
    note(options.directory, f"over {hashlib.sha256(rows.encode()).hexdigest()}")


def fork_on_demand():
    """Makes a worker for each line on the standard input, and prints its process id, or how one has ended."""
    for line in sys.stdin:
        command, *arguments = json.loads(line)
        if command == "wait":
            pid, status = os.waitpid(arguments[0], os.WNOHANG)
            sys.stdout.write(f"{os.waitstatus_to_exitcode(status) if pid else None}\n")
        else:
            pid = os.fork()
            if pid == 0:
                errors = os.open(Path(arguments[0]) / f"errors-{os.getpid()}.txt", os.O_WRONLY | os.O_CREAT)
                os.dup2(errors, 2)
                os.dup2(os.open(os.devnull, os.O_RDWR), 0)
                work(arguments)
                os._exit(0)
            sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


class Source:
    """The process that makes workers."""

    def __enter__(self):
        paths = f"{Path(__file__).parents[1]}{os.pathsep}{Path(__file__).parent}"
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__))],
            env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        return self

    def ask(self, *words):
        """Returns what the process answers."""
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline().replace("None", "null"))

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


class Worker:
    """A process that runs trials.

    Args:
        crew: Whose it is.
        pid: Its number.
    """

    def __init__(self, crew, pid):
        self.crew, self.pid, self.code = crew, pid, None

    def signal(self, number):
        """Sends a signal."""
        os.kill(self.pid, number)

    def kill(self):
        """Kills it, and waits until it is dead."""
        self.signal(signal.SIGKILL)
        until(lambda: self.poll() is not None)

    def poll(self):
        """Returns its exit code; None while it runs."""
        if self.code is None:
            self.code = self.crew.source.ask("wait", self.pid)
        return self.code

    @property
    def notes(self):
        """What it has noted."""
        path = self.crew.directory / f"worker-{self.pid}.txt"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def errors(self):
        """What it has written to its standard error."""
        path = self.crew.directory / f"errors-{self.pid}.txt"
        return path.read_text() if path.exists() else ""


class Crew:
    """Workers, which are replaced when they are killed.

    Args:
        source: What makes them.
        directory: For notes and projects.
        *arguments: Of each worker, after the directory.
    """

    def __init__(self, source, directory, *arguments):
        self.source = source
        self.directory = Path(directory)
        self.arguments = [str(directory), *map(str, arguments)]
        self.all = []

    def __enter__(self):
        return self

    def start(self, *more):
        """Starts a worker and returns it."""
        worker = Worker(self, self.source.ask("start", *self.arguments, *map(str, more)))
        self.all.append(worker)
        return worker

    @property
    def errors(self):
        """What all of them wrote to their standard errors."""
        return "\n".join(worker.errors for worker in self.all)

    def __exit__(self, *_):
        for worker in self.all:
            if worker.poll() is None:
                worker.kill()

    def run(self, count, *, kills, longest, seed=0, limit=300, during=None):
        """Runs `count` workers at a time until the search is over, and kills some at random moments.

        Args:
            count: Of workers.
            kills: How many are killed, each a random time after it was started.
            longest: The longest of these times, in seconds.
            seed: Of these times.
            limit: Seconds after which it has failed.
            during: Is called again and again.

        Returns:
            How many were killed.
        """
        rng, killed, end = random.Random(seed), 0, time.monotonic() + limit
        alive = {self.start(): time.monotonic() + rng.uniform(0.05, longest) for _ in range(count)}
        while alive:
            assert time.monotonic() < end, self.errors
            for worker, moment in list(alive.items()):
                if worker.poll() is not None:
                    del alive[worker]
                    assert worker.code == 0, worker.errors
                elif killed < kills and time.monotonic() >= moment:
                    worker.kill()
                    del alive[worker]
                    killed += 1
                    alive[self.start()] = time.monotonic() + rng.uniform(0.05, longest)
            if during is not None:
                during()
            time.sleep(0.02)
        return killed


def stop_between_writes(worker, journal):
    """Stops a worker at a moment when it does not hold the journal's lock, for which all others would wait."""
    while True:
        worker.signal(signal.SIGSTOP)
        with journal.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                worker.signal(signal.SIGCONT)
                time.sleep(0.01)
                continue
        return


def until(true, limit=60.0):
    """Waits until something is true."""
    end = time.monotonic() + limit
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


if __name__ == "__main__":
    assert threading.active_count() == 1
    fork_on_demand()

"""Do the tests notice when the mathematics is wrong? `make mutants` changes one thing at a time and runs the judges.

A mutant is one change of an operator, a constant, a function or a branch inside a function of `kopt/transforms` or,
with `--folder`, of another folder. The judges are the tests of this suite that look at mathematics (`juries.py`). A
mutant that the quick ones pass faces more of them in full. What then lives needs a reason in `mutants_survivors.json`,
or this script fails. Signatures' defaults, annotations, messages and docstrings are not changed: the golden files hold
defaults. A mutant that has its reason there faces the quick judges only, unless it is tried `--again`.

A verdict is one of "killed", "killed late" (by the full trial), "timed out" (so slow that the judges were stopped: it
counts as killed, and is counted apart), "survived", and, with `--quick`, "undecided" (no full trial yet). With
`--results` each is written as it comes; the next run with that file takes over what was killed, as long as the changed
file is the same, and judges the rest.

    KERAS_BACKEND=torch python tests/mutants.py [--only adam.py] [--workers 2] [--results run.jsonl] [--quick]
"""

import argparse
import collections
import hashlib
import json
import multiprocessing
import os
import pathlib
import resource
import signal
import sys
import time
from collections.abc import Callable, Collection, Iterator
from concurrent import futures
from dataclasses import dataclass, field
from typing import Any

from juries import full_trial, is_noticed, judges
from mutations import ROOT, Mutant, alive, mutants

REASONS = pathlib.Path(__file__).with_name("mutants_survivors.json")
FINAL = ("killed", "killed late", "timed out")
TRIAL_SECONDS = 900
MEMORY = 12 << 30


class TooLongError(Exception):
    """The judges of a mutant have had their time."""


@dataclass
class Clock:
    """Stops what uses more than its time of the processor: other work on the machine does not shorten it."""

    rang: bool = False

    def start(self, seconds: float) -> None:
        """Rings after so many seconds, and again each ten: whoever catches the error must not run on."""
        self.rang = False
        signal.signal(signal.SIGPROF, self._ring)
        signal.setitimer(signal.ITIMER_PROF, seconds, 10)

    def stop(self) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)

    def _ring(self, signum: int, frame: Any) -> None:
        self.rang = True
        raise TooLongError


@dataclass
class Court:
    """The judges of one file, the likeliest to notice something first."""

    path: str
    quick: bool
    excused: Collection[str]
    clock: Clock = field(default_factory=Clock)
    judges: list[Callable[[], None]] = field(default_factory=list)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        begin, self.judges = time.process_time(), judges(self.path)
        if any(map(is_noticed, self.judges)):
            raise RuntimeError(f"The tests of {self.path} fail before anything is changed.")
        self.seconds = 15 + 2 * (time.process_time() - begin)

    def verdict(self, mutant: Mutant, *, is_quick_done: bool) -> str:
        """Returns the verdict on one mutant, which may have passed the quick judges before."""
        try:
            with alive(mutant):
                noticed = None if is_quick_done else self._quick(mutant)
                return noticed or ("survived" if mutant.name in self.excused else self._full(mutant))
        except TooLongError:
            return "timed out"
        finally:
            self.clock.stop()

    def _quick(self, mutant: Mutant) -> str | None:
        self.clock.start(self.seconds)
        for judge in self.judges:
            if is_noticed(judge):
                if self.clock.rang:
                    return "timed out"
                # The likeliest to notice the next one, too.
                self.judges.remove(judge)
                self.judges.insert(0, judge)
                return "killed"
        return None

    def _full(self, mutant: Mutant) -> str:
        if self.quick:
            return "undecided"
        self.clock.start(TRIAL_SECONDS)
        noticed = full_trial(mutant.path)
        return "timed out" if self.clock.rang else "killed late" if noticed else "survived"


def reasons() -> dict[str, str]:
    """Returns the mutants that may live, and why."""
    return json.loads(REASONS.read_text())


def digest(path: str) -> str:
    """Returns what a verdict holds for: the text of the file."""
    return hashlib.sha256((ROOT / path).read_bytes()).hexdigest()[:16]


def earlier(results: pathlib.Path | None) -> dict[str, str]:
    """Returns the verdicts of earlier runs that still hold, the last of each mutant."""
    found: dict[str, str] = {}
    lines = results.read_text().splitlines() if results and results.exists() else []
    for line in map(json.loads, lines):
        if line["source"] == digest(line["name"].split("::")[0]):
            found[line["name"]] = line["verdict"]
    return found


def work(task: tuple[str, argparse.Namespace]) -> dict[str, str]:
    """Judges the mutants of a file."""
    path, options = task
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    before = earlier(options.results)
    court, found = None, {}
    for mutant in mutants(ROOT / path):
        how = before.get(mutant.name)
        if how and is_settled(how, options):
            found[mutant.name] = how
            continue
        court = court or Court(path, options.quick, () if options.again else reasons())
        found[mutant.name] = court.verdict(mutant, is_quick_done=how is not None)
        if found[mutant.name] != "killed":
            sys.stderr.write(f"{found[mutant.name]}: {mutant.name}\n")
        if options.results:
            record = {"name": mutant.name, "verdict": found[mutant.name], "source": digest(path)}
            with options.results.open("a") as file:
                file.write(json.dumps(record) + "\n")
    return found


def is_settled(how: str, options: argparse.Namespace) -> bool:
    """Returns whether an earlier verdict stands: who was killed stays so, as tests are only added."""
    return how in FINAL or (how == "survived" and not options.again) or (how == "undecided" and options.quick)


def all_results(paths: list[str], options: argparse.Namespace) -> Iterator[dict[str, str]]:
    """Yields the verdicts of one file after another, as they get ready; a process that dies ends the run."""
    context = multiprocessing.get_context("spawn")
    with futures.ProcessPoolExecutor(options.workers, context, _limited) as pool:
        for done in futures.as_completed([pool.submit(work, (path, options)) for path in paths]):
            yield done.result()


def _limited() -> None:
    """Makes a mutant that wants all memory fail before the process is ended for it."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def parsed() -> argparse.Namespace:
    """Returns the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", default="kopt/transforms")
    parser.add_argument("--only", help="a file of the folder, or several by a pattern", default="*.py")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--results", type=lambda text: pathlib.Path(text).resolve(), help="JSON lines to write and read"
    )
    parser.add_argument("--quick", action="store_true", help="leave the full trial out")
    parser.add_argument(
        "--again", action="store_true", help="try in full what survived an earlier run, or has its reason"
    )
    return parser.parse_args()


def main() -> int:
    """Judges all mutants, prints the score, and returns 1 if a survivor has no reason or fewer than 95 % died."""
    options = parsed()
    os.environ |= {"OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    os.environ.setdefault("KERAS_BACKEND", "torch")
    files = sorted((ROOT / options.folder).glob(options.only))
    paths = [file.relative_to(ROOT).as_posix() for file in files if file.name != "__init__.py"]
    sizes = {path: sum(1 for _ in mutants(ROOT / path)) for path in paths}
    results: dict[str, str] = {}
    for found in all_results(sorted(paths, key=lambda path: -sizes[path]), options):
        results |= found
        sys.stderr.write(f"{len(results)} of {sum(sizes.values())} mutants judged\n")
    return report(results)


def report(results: dict[str, str]) -> int:
    """Prints the survivors with their reasons, and the score."""
    why = reasons()
    alive_yet = [name for name, how in results.items() if how not in FINAL]
    for name in sorted(alive_yet):
        sys.stdout.write(f"{results[name]}: {name}\n    {why.get(name, 'NO REASON GIVEN')}\n")
    count = collections.Counter(results.values())
    score = 1 - len(alive_yet) / max(len(results), 1)
    sys.stdout.write(
        f"{len(results)} mutants, {len(alive_yet)} survived, {count['killed late']} died late, "
        f"{count['timed out']} timed out: {score:.1%} killed\n"
    )
    return int(any(name not in why for name in alive_yet) or score < 0.95)


if __name__ == "__main__":
    sys.exit(main())

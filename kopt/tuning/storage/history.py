"""What the trials in a storage amount to: which count, which run, which somebody has to run again.

A trial of the search is a chain of tries, each a trial of the Optuna study. A try that was given away is one that
failed and left no outcome, and the next one names it. Nothing of this is kept twice: whoever reads the study comes to
the same answer, and what has once counted as ended stays so.
"""

import copy
import dataclasses
from collections.abc import Sequence
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from kopt.tuning.sampler.sampler import REPEAT

WORKER = "kopt:worker"  # Who runs it; what has none is none of the search's.
BEAT = "kopt:beat"  # A count that goes on while the worker lives.
VALUES = "kopt:values"  # KerasTuner's values; a try that has none has not been proposed yet.
OUTCOME = "kopt:outcome"  # What came of it, and the values for Optuna.
ROOT = "kopt:root"  # Number of the first try.
AFTER = "kopt:after"  # Number of the try before.
TRY = "kopt:try"  # Which one it is, from 2.
DEATHS = "kopt:deaths"  # How many workers have died with it before.
LEFT = "kopt:left"  # That its worker gave it up without dying.
SPARE = "kopt:spare"  # That it does not count, as another worker was faster.
EARLIER = "kopt:earlier"  # That it is a result of another search.
ENQUEUED = "kopt:enqueued"  # What it was enqueued as.

STATES = {"completed": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}


@dataclasses.dataclass
class Chain:
    """A trial of the search.

    Args:
        tries: Of it, first to last.
        max_deaths: How many workers may die with it.
    """

    tries: list[FrozenTrial]
    max_deaths: int

    @property
    def number(self) -> int:
        """The number of the first try, which is the trial's."""
        return self.tries[0].number

    @property
    def last(self) -> FrozenTrial:
        """The try that counts."""
        return self.tries[-1]

    @property
    def outcome(self) -> dict[str, Any] | None:
        """What came of it; None if it has not ended or nobody will ever know."""
        found = self.last.user_attrs.get(OUTCOME)
        return found if found is not None and STATES[found["status"]] == self.last.state else None

    @property
    def runs(self) -> bool:
        """Whether a worker has it, or had it when it died."""
        return not self.last.state.is_finished()

    @property
    def deaths(self) -> int:
        """How many workers have died with it."""
        attributes = self.last.user_attrs
        gone = self.last.state == TrialState.FAIL and self.outcome is None and LEFT not in attributes
        return attributes.get(DEATHS, 0) + int(gone)

    @property
    def waits(self) -> bool:
        """Whether somebody has to run it again."""
        return not self.runs and self.outcome is None and self.deaths < self.max_deaths

    @property
    def values(self) -> dict[str, Any] | None:
        """KerasTuner's values; None before they are proposed."""
        return self.last.user_attrs.get(VALUES)


class History:
    """The trials of a search, read off those of a study.

    Args:
        trials: Of the study, by number.
        max_trials: How many count.
        max_deaths: How many workers may die with a trial before it has failed.
    """

    def __init__(self, trials: Sequence[FrozenTrial], max_trials: int, max_deaths: int) -> None:
        self.all = trials
        own = [t for t in trials if WORKER in t.user_attrs and not t.user_attrs.keys() & {REPEAT, SPARE}]
        after: dict[int, FrozenTrial] = {}
        for trial in own:
            if AFTER in trial.user_attrs:
                after.setdefault(trial.user_attrs[AFTER], trial)
        self.chains: list[Chain] = []
        for root in [trial for trial in own if ROOT not in trial.user_attrs][:max_trials]:
            tries = [root]
            while tries[-1].number in after:
                tries.append(after[tries[-1].number])
            self.chains.append(Chain(tries, max_deaths))
        self.is_full = len(self.chains) >= max_trials

    def counts(self, number: int) -> bool:
        """Returns whether a try is the last one of a trial that counts."""
        return any(chain.last.number == number for chain in self.chains)

    def chain(self, number: int) -> Chain | None:
        """Returns the trial whose first try has this number."""
        return next((chain for chain in self.chains if chain.number == number), None)

    def running(self) -> list[FrozenTrial]:
        """Returns the tries that run, or whose worker has died."""
        return [chain.last for chain in self.chains if chain.runs]

    def shown(self, own: int | None) -> list[FrozenTrial]:
        """Returns what samplers and pruners learn from: a try for each trial, and results of other searches.

        Args:
            own: The try that is being proposed, which may have no values yet.
        """
        found = []
        for chain in self.chains:
            trial = chain.last
            if chain.waits and trial.params:
                trial = copy.copy(trial)
                trial.state = TrialState.RUNNING  # It will: not a bad result, and not to be proposed again.
            elif chain.waits or (not trial.state.is_finished() and chain.values is None and trial.number != own):
                continue
            found.append(trial)
        seen: list[tuple[Any, Any]] = []
        for trial in self.all:  # Two workers may have added the same.
            if EARLIER in trial.user_attrs and (trial.params, trial.values) not in seen:
                seen.append((trial.params, trial.values))
                found.append(trial)
        return sorted(found, key=lambda trial: trial.number)

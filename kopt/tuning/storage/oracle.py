"""The oracle of a search with a storage: each worker has one, and all of them know what the study holds only."""

import copy
import dataclasses
import json
import logging
import math
import time
from typing import Any

from keras_tuner.engine.trial import Trial
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial

from kopt.tuning import project
from kopt.tuning.earlier import earlier_results
from kopt.tuning.grids import tell_cut_grid
from kopt.tuning.mapping import SpaceMap, active_values
from kopt.tuning.oracle import COLLISIONS
from kopt.tuning.outcome import Outcome
from kopt.tuning.sampler.sampler import REPEAT
from kopt.tuning.storage import history as marks
from kopt.tuning.storage.history import Chain, History
from kopt.tuning.storage.joined import JoinedOracle
from kopt.tuning.storage.passing import passes
from kopt.tuning.storage.reading import SPACE
from kopt.tuning.storage.silence import Pulse, Silence
from kopt.tuning.storage.worker import is_dead, name_of

TURN = 5.0  # Seconds that a worker waits for those whose turn to propose is before its own.
IDLE = 0.5  # Seconds between two looks for work.
TRACEBACK = 20_000  # Characters of it that are kept.
_log = logging.getLogger(__name__)


class StoredOracle(JoinedOracle):
    """Proposes trials as `OptunaOracle` does, and shares them with other processes by an Optuna storage.

    Args:
        storage: As for `kopt.tuning.Tuner`.
        **keywords: `worker_timeout` and `max_deaths` as for `JoinedOracle`, and those of `OptunaOracle`.
    """

    def __init__(self, storage: Any, **keywords: Any) -> None:
        super().__init__(storage, **keywords)
        self._silence = Silence(self.timeout)
        self._pulse: Pulse | None = None
        self._is_lost = False
        self._handed_in: Outcome
        self._refused: set[str] = set()

    # Work.

    def _create(self, tuner_id: str) -> Trial:
        self.leave()
        history = self.refresh()
        for _ in range(COLLISIONS):
            if self._bury(history):
                history = self.refresh()
            waiting = [chain for chain in history.chains if chain.waits and (chain.values or not self._is_at_the_end())]
            soon = [chain for chain in waiting if chain.deaths < 2]
            if soon:
                found = self._retry(soon[0])
            elif not history.is_full and not self._is_at_the_end():
                found = self._fresh()
            elif waiting:  # Those that seem to kill, when nothing else is left.
                found = self._retry(waiting[0])
            else:
                break
            if found is not None:
                return found
            history = self.refresh()
        others = self.timeout is not None and bool(history.running())
        if others:
            time.sleep(IDLE)
        return Trial(self.hyperparameters.copy(), trial_id="", status="IDLE" if others else "STOPPED")

    def _bury(self, history: History) -> bool:
        """Ends the trials of workers that are dead or not heard of; returns whether there were any."""
        running = history.running()
        self._silence.look({trial.number: trial.user_attrs.get(marks.BEAT, 0) for trial in running})
        silent = self._silence.over()
        ended = False
        for trial in running:
            worker = trial.user_attrs[marks.WORKER]
            dead = self.timeout is not None and is_dead(worker)
            if (dead or trial.number in silent) and self._shared.give_up(trial):
                ended = True
                what = "has ended" if dead else f"was not heard of for {self.timeout:g} seconds"
                _log.warning("Worker %s %s; its trial %d is given away.", name_of(worker), what, trial.number)
        return ended

    def _retry(self, chain: Chain) -> Trial | None:
        """Runs a trial again; None if another worker does."""
        last = chain.last
        attributes: dict[str, Any] = {
            marks.WORKER: self._worker,
            marks.ROOT: chain.number,
            marks.AFTER: last.number,
            marks.TRY: last.user_attrs.get(marks.TRY, 1) + 1,
            marks.DEATHS: chain.deaths,
        }
        attributes |= {n: last.user_attrs[n] for n in (marks.VALUES, marks.ENQUEUED) if n in last.user_attrs}
        mine = self._shared.claim(attributes, last)
        return self._begin(mine, chain.number)

    def _fresh(self) -> Trial | None:
        """Begins a new trial; None if others have begun the last ones meanwhile, or have tried what it proposes."""
        mine = self._shared.claim({marks.WORKER: self._worker})
        return self._begin(mine, mine.number)

    def _begin(self, mine: FrozenTrial, root: int) -> Trial | None:
        self._mine, self._is_lost = (f"{root:04d}", mine), False
        history = self.refresh(search=False)
        chain = history.chain(root)
        if chain is None or chain.last.number != mine.number:
            self._drop(marks.SPARE)
            return None
        self._pulse = Pulse(self.timeout, self._beat)
        try:
            values = chain.values or self._propose(mine, history, root)
        except UpdateFinishedTrialError:  # It was given away meanwhile.
            values = None
        if values is None:
            self._drop(REPEAT)
            return None
        hyperparameters = self.hyperparameters.copy()
        hyperparameters.values = dict(values)
        trial = Trial(hyperparameters, self._mine[0], "RUNNING")
        self.trials[trial.trial_id] = trial
        return trial

    def _drop(self, mark: str) -> None:
        """Ends this worker's trial as one that does not count."""
        assert self._mine is not None
        self._shared.set(self._mine[1], mark, value=True)
        self._shared.give_up(self._mine[1])
        self._release()

    def _propose(self, mine: FrozenTrial, history: History, root: int) -> dict[str, Any] | None:
        """Returns the values of this worker's trial; None if they are those of another trial."""
        self._await_turn(history, root)
        space = SpaceMap(self.hyperparameters)
        if self.sampler == "grid" and history.chains[0].number == root:
            tell_cut_grid(space, self.max_trials)
        if self._sources:
            self._add_earlier(space)
        wanted = mine.user_attrs.get(marks.ENQUEUED) or self._enqueued()
        if wanted is not None:
            self._shared.set(mine, marks.ENQUEUED, wanted)
        fixed = self._fixed(space) if wanted is None else space.internal(wanted, partly=True)
        if fixed is None and self.sampler == "grid":
            return None  # Another worker has the last point.
        self._shared.study.sampler = self._make(mine.number, space.tree())
        trial, given = self._shared.ask(mine), fixed or {}
        values = space.walk(
            lambda item: self._shared.fix(mine, item, given[item.key]) if item.key in given else item.suggest(trial)
        )
        self._shared.set(mine, marks.VALUES, values)
        self.refresh(search=False)
        return None if self._duplicate(values) else values

    def _await_turn(self, history: History, root: int) -> None:
        """Waits until those that have begun before have proposed: none repeats another one, and each sees the others.

        Not for long: one of them may have died.
        """
        begin, pause = time.monotonic(), 0.02
        while time.monotonic() - begin < TURN:
            before = [c for c in history.chains if c.number < root and c.runs and c.values is None]
            if not [c for c in before if not is_dead(c.last.user_attrs[marks.WORKER])]:
                return
            time.sleep(pause)
            pause = min(2 * pause, IDLE)
            history = self.refresh(search=False)

    def _enqueued(self) -> dict[str, Any] | None:
        """Returns the next of the configurations that the user has enqueued in the script that all workers run."""
        self._queue.clear()  # Which one is next is not known to one worker alone.
        begun = [trial.user_attrs.get(marks.ENQUEUED) for trial in self._all]
        return next((wanted for wanted in self._queued_ever if wanted not in begun), None)

    def _is_at_the_end(self) -> bool:
        """Returns whether there is nothing left to try."""
        space = SpaceMap(self.hyperparameters)
        if self._enqueued() is not None:
            return False
        return self._fixed(space) is None and self._is_exhausted(space)

    def _add_earlier(self, space: SpaceMap) -> None:
        """Adds the results of other searches to the study, unless another worker has."""
        known = [(t.params, t.values) for t in self._all if marks.EARLIER in t.user_attrs]
        for trial in earlier_results(self._sources, space):
            if (trial.params, trial.values) not in known:
                self._shared.add(trial, marks.EARLIER)
        self._sources = []

    def _beat(self, count: int) -> None:
        """Gives a sign of life, and looks at those of others."""
        mine = self._mine
        if mine is not None and not self._shared.beat(mine[1], count):
            self._is_lost = True
        running = self._shared.history(self._shared.hasty).running()
        self._silence.look({trial.number: trial.user_attrs.get(marks.BEAT, 0) for trial in running})

    # Results.

    def _report(self, trial_id: str, value: float, step: int) -> Trial:
        answer = copy.copy(self.trials[trial_id])
        if self.pruner is not None and not self._is_lost:
            assert self._mine is not None
            try:
                if self._shared.report(self._mine[1], value, step):
                    answer.status = "STOPPED"
            except UpdateFinishedTrialError:
                self._is_lost = True
        if self._is_lost:
            answer.status = "STOPPED"
        return answer

    def hand_in(self, outcome: Outcome) -> None:
        """Takes what came of the running trial, before it is ended."""
        self._handed_in = outcome

    def refused(self, trial_id: str) -> bool:
        """Returns whether the result of this worker's try was refused, as the trial had been given away."""
        return trial_id in self._refused

    def _end(self, trial: Trial) -> None:
        assert self._mine is not None
        assert self._mine[0] == trial.trial_id
        outcome, mine = self._handed_in, self._mine[1]
        if trial.status == "COMPLETED":
            self.score_trial(trial)
            if not math.isfinite(trial.score):
                trial.status, outcome.status, outcome.error = "FAILED", "failed", trial.message or ""
        self.update_space(trial.hyperparameters)
        self._share_space()
        values = active_values(trial.hyperparameters)
        if values != mine.user_attrs.get(marks.VALUES):
            self._shared.set(mine, marks.VALUES, values)
        outcome.traceback = outcome.traceback[-TRACEBACK:]
        told = {
            "status": outcome.status,
            "outcome": dataclasses.asdict(outcome),
            "values": self._values(trial) if outcome.status == "completed" else None,
            "score": trial.score,
            "best_step": trial.best_step,
        }
        space = SpaceMap(self.hyperparameters)
        self._shared.study.sampler = self._make(mine.number, space.tree())
        counts = self._shared.tell(mine, json.loads(json.dumps(told, default=project.plain)))
        self._release()
        if counts:
            self._refused.discard(trial.trial_id)
            return
        self._refused.add(trial.trial_id)
        _log.warning(
            "Trial %s had been given away, as this worker was not heard of in time: its result is ignored.",
            trial.trial_id,
        )

    def _share_space(self) -> None:
        """Tells the other workers of hyperparameters that a training has declared."""
        space = json.loads(json.dumps(self.hyperparameters.get_config()["space"]))
        known = self._space or (self._description or {}).get("space")
        if space != known:
            self._shared.set_attribute(SPACE, space)
            self._space = space

    def leave(self) -> None:
        """Gives up the trial that this worker runs, if it has one, for another worker to run; the search has ended."""
        if self._mine is None:
            return
        mine = self._mine[1]
        try:
            self._shared.hasty.set_trial_user_attr(mine._trial_id, marks.LEFT, value=True)
            self._shared.give_up(mine, self._shared.hasty)
        except UpdateFinishedTrialError:
            _log.debug("Trial %d had ended.", mine.number)
        except Exception as error:
            if not passes(error):
                raise
            _log.warning("The storage cannot be told that trial %d is given up: it will be noticed.", mine.number)
        self._release()

    def _release(self) -> None:
        if self._pulse is not None:
            self._pulse.stop()
            self._pulse = None
        self._mine = None

"""The Optuna study that the workers of a search share."""

import copy
import time
from collections.abc import Container, Mapping, Sequence
from typing import Any

from optuna.exceptions import DuplicatedStudyError, UpdateFinishedTrialError
from optuna.pruners import BasePruner
from optuna.samplers import RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from kopt.tuning.mapping import Item
from kopt.tuning.storage.address import Address
from kopt.tuning.storage.history import BEAT, OUTCOME, STATES, History
from kopt.tuning.storage.passing import Passing, Patient
from kopt.tuning.storage.reading import SEARCH
from kopt.tuning.study_log import new_study

_SECONDS = 10.0  # To write down what a search is, for the worker that has made it.


class _Shown(Passing):
    """What samplers and pruners see of the study: a try for each trial, and not those that were given away."""

    def __init__(self, inner: Patient, shared: "SharedStudy") -> None:
        super().__init__(inner)
        self._shared = shared
        self.own: FrozenTrial | None = None

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Returns the trial that was made before, with the name of its worker, which Optuna cannot be given."""
        assert self.own is not None
        return int(self.own._trial_id)

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,  # noqa: FBT001, FBT002 (Optuna calls it so)
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        trials = self._shared.history().shown(None if self.own is None else self.own.number)
        found = [trial for trial in trials if states is None or trial.state in states]
        return copy.deepcopy(found) if deepcopy else found


class SharedStudy:
    """A study in a storage, with what workers do in it; each change is whole or did not happen.

    Args:
        address: Of the storage.
        name: Of the study.
        directions: "min" or "max" for each objective.
        pruner: Of Optuna.
        max_trials: How many trials count.
        max_deaths: How many workers may die with a trial before it has failed.

    Raises:
        ConnectionError: The storage cannot be reached.
    """

    def __init__(
        self,
        address: Address,
        name: str,
        directions: Sequence[str],
        pruner: BasePruner,
        *,
        max_trials: int,
        max_deaths: int,
    ) -> None:
        self.max_trials, self.max_deaths, self.pruner = max_trials, max_deaths, pruner
        storage = address.open()
        self.hasty = Passing(storage, address.lock)
        self.storage = Patient(storage, address.lock, address.text)
        try:
            self.id = new_study(self.storage, name, directions)
            self.is_new = True
        except DuplicatedStudyError:
            self.id = self.storage.get_study_id_from_name(name)
            self.is_new = False
        self._shown = _Shown(self.storage, self)
        self.study = Study(name, self._shown, sampler=RandomSampler(seed=0), pruner=pruner)

    def attributes(self) -> dict[str, Any]:
        """Returns the study's attributes."""
        return self.storage.get_study_user_attrs(self.id)

    def set_attribute(self, name: str, value: Any) -> None:
        """Sets one of the study's attributes."""
        self.storage.set_study_user_attr(self.id, name, value)

    def settings(self) -> dict[str, Any] | None:
        """Returns what the search is, as its first worker has written it down; None if there is no such worker."""
        begin = time.monotonic()
        while not self.is_new and time.monotonic() - begin < _SECONDS:
            found = self.attributes().get(SEARCH)
            if found is not None:
                return dict(found)
            time.sleep(0.1)
        return None

    def history(self, storage: Passing | None = None) -> History:
        """Returns the trials as they are now.

        Args:
            storage: `hasty` raises at once if the storage cannot be reached.
        """
        trials = (storage or self.storage).get_all_trials(self.id, deepcopy=False)
        return History(trials, self.max_trials, self.max_deaths)

    def claim(self, attributes: Mapping[str, Any], like: FrozenTrial | None = None) -> FrozenTrial:
        """Begins a trial, which has its worker's name from the start, and returns it.

        Args:
            attributes: Of the trial.
            like: A trial that has the same parameters.
        """
        params, distributions = (like.params, like.distributions) if like is not None else ({}, {})
        template = create_trial(
            state=TrialState.RUNNING, params=params, distributions=distributions, user_attrs=dict(attributes)
        )
        return self.storage.get_trial(self.storage.create_new_trial(self.id, template))

    def add(self, trial: FrozenTrial, attribute: str) -> None:
        """Adds a trial that has ended elsewhere."""
        trial.user_attrs = {attribute: True}
        self.storage.create_new_trial(self.id, trial)

    def ask(self, trial: FrozenTrial) -> Trial:
        """Returns a trial that was claimed as one that proposes values."""
        self._shown.own = trial
        return self.study.ask()

    def fix(self, trial: FrozenTrial, item: Item, value: Any) -> Any:
        """Gives a parameter of a running trial the value that was chosen for it, and returns that."""
        internal = item.distribution.to_internal_repr(value)
        self.storage.set_trial_param(trial._trial_id, item.key, internal, item.distribution)
        return value

    def set(self, trial: FrozenTrial, name: str, value: Any) -> None:
        """Sets an attribute of a running trial; of another one, nothing happens."""
        try:
            self.storage.set_trial_user_attr(trial._trial_id, name, value)
        except UpdateFinishedTrialError:
            return

    def beat(self, trial: FrozenTrial, count: int) -> bool:
        """Writes down that the worker of a trial lives; returns whether it still has the trial."""
        try:
            self.hasty.set_trial_user_attr(trial._trial_id, BEAT, count)
        except UpdateFinishedTrialError:
            return False
        return True

    def report(self, trial: FrozenTrial, value: float, step: int) -> bool:
        """Keeps an intermediate value and returns whether the trial should be pruned.

        Raises:
            optuna.exceptions.UpdateFinishedTrialError: It was given away.
        """
        self._shown.own = trial
        self.storage.set_trial_intermediate_value(trial._trial_id, step, value)
        return self.pruner.prune(self.study, self.storage.get_trial(trial._trial_id))

    def give_up(self, trial: FrozenTrial, storage: Passing | None = None) -> bool:
        """Ends a trial of a worker that is not there; with what came of it, if that was written down already.

        Args:
            trial: As it was read.
            storage: `hasty` raises at once if the storage cannot be reached.

        Returns:
            Whether this was the one to end it.
        """
        found = trial.user_attrs.get(OUTCOME)
        state = TrialState.FAIL if found is None else STATES[found["status"]]
        values = None if found is None else found["values"]
        try:
            return (storage or self.storage).set_trial_state_values(trial._trial_id, state, values)
        except UpdateFinishedTrialError:
            return False

    def tell(self, trial: FrozenTrial, outcome: Mapping[str, Any]) -> bool:
        """Ends a trial; returns whether it counts, which it does not if it was given away before.

        Args:
            trial: The trial.
            outcome: With its `status`, and `values` for Optuna.
        """
        state = STATES[outcome["status"]]
        self.set(trial, OUTCOME, dict(outcome))
        self._shown.own = trial
        values = outcome["values"] if state == TrialState.COMPLETE else None
        try:
            self.study.tell(trial.number, values, state)
        except (UpdateFinishedTrialError, ValueError):
            # It may also have arrived before it was tried again, as the storage had failed: the state tells.
            if not self.storage.get_trial(trial._trial_id).state.is_finished():
                raise
        ended = self.storage.get_trial(trial._trial_id)
        return ended.state == state and OUTCOME in ended.user_attrs

"""What a worker knows of the search that it shares: what it is, and what all workers have done."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras_tuner
from keras_tuner.engine.trial import Trial
from optuna.trial import FrozenTrial

from kopt._core import checks
from kopt.tuning import project
from kopt.tuning.algorithms import sampler_maker
from kopt.tuning.oracle import OptunaOracle
from kopt.tuning.outcome import Outcome
from kopt.tuning.storage import history as marks
from kopt.tuning.storage.address import address_of
from kopt.tuning.storage.history import Chain, History
from kopt.tuning.storage.reading import SEARCH, SPACE, id_of, outcome_of, run_by, trial_of
from kopt.tuning.storage.study import SharedStudy
from kopt.tuning.storage.worker import identity, name_of


class JoinedOracle(OptunaOracle):
    """An oracle that has no files: what it knows is in the storage, and is read anew before each use.

    It begins and ends no trial: subclasses do.

    Args:
        storage: As for `kopt.tuning.Tuner`.
        worker_timeout: Seconds after which the trial of a worker that gives no sign of life is given away, > 0; None
            for never.
        max_deaths: How many workers may die with a trial before it has failed, >= 1.
        **keywords: Of `OptunaOracle`.
    """

    def __init__(self, storage: Any, *, worker_timeout: float | None, max_deaths: int, **keywords: Any) -> None:
        super().__init__(**keywords)
        if self.max_retries_per_trial:
            raise checks.fail("max_retries_per_trial", "0 with `storage`", self.max_retries_per_trial)
        self.storage = storage
        self.timeout = checks.optional(checks.positive, "worker_timeout", worker_timeout)
        self.max_deaths = checks.count("max_deaths_per_trial", max_deaths)
        self.outcomes: dict[str, Outcome] = {}
        self._mine: tuple[str, FrozenTrial] | None = None
        self._description: dict[str, Any] | None = None
        self._chains: dict[str, Chain] = {}
        self._all: Sequence[FrozenTrial] = ()
        self._known: dict[tuple[Any, ...], Trial] = {}
        self._space: Any = None
        self._shared: SharedStudy

    # The search: what it is, and whether this worker has the same.

    def join(self, place: Path, *, is_new: bool) -> dict[str, Any] | None:
        """Joins the search of this name, or begins it; returns what it is, None of a new one.

        Args:
            place: The project's directory, whose name is that of the search.
            is_new: Whether one that is there is an error.

        Raises:
            ValueError: There is one; or the directory has another search, without a storage.
            ConnectionError: The storage cannot be reached.
        """
        if project.exists(place) and not (self._stored_in(place) or {}).get("storage"):
            raise checks.fail("directory", "that of a search with a storage, or without any search", str(place))
        address = address_of(self.storage, place.resolve())
        place.mkdir(parents=True, exist_ok=True)
        self.address, self._place = address.text, place
        self._worker = identity(place)
        self._shared = SharedStudy(
            address, place.resolve().name, [one.direction for one in self.objectives], self._pruner,
            max_trials=self.max_trials, max_deaths=self.max_deaths,
        )  # fmt: skip
        stored = self._shared.settings()
        if stored is None:
            return None
        if is_new:
            advice = f"The storage {address.text!r} has a search {place.resolve().name!r}: take another `project_name`."
            raise checks.fail("on_existing", '"resume" (the default with `storage`)', "error", advice)
        self._take_seed(stored["seed"])
        return dict(stored["description"])

    @staticmethod
    def _stored_in(place: Path) -> dict[str, Any] | None:
        path = place / project.RECORD
        return dict(project.read_json(path)) if path.exists() else None

    def _take_seed(self, seed: int) -> None:
        self.seed = seed
        self._make = sampler_maker(self.sampler, seed, len(self.objectives))

    def settle(self, description: dict[str, Any], seed: int) -> dict[str, Any]:
        """Writes down what the search is, unless another worker has, and returns what is written.

        Args:
            description: As in `project.json`.
            seed: Of the tuner.

        Raises:
            ValueError: It is another search there.
        """
        own = {name: value for name, value in description.items() if name != "storage"}
        stored = self._shared.attributes().get(SEARCH)
        now = {"description": own, "seed": seed, "max_trials": self.max_trials, "max_deaths": self.max_deaths}
        if stored is not None:
            now = stored | {"max_trials": max(stored["max_trials"], self.max_trials)}
            known = stored["description"]
            # What is not known before the search begins, such as its data.
            learnt = {part: own[part] for part, value in known.items() if value == {} and part in own}
            now["description"] = known | learnt
        self._description = own
        if now != stored:
            self._shared.set_attribute(SEARCH, now)
        self._check(self._shared.attributes())
        self._take_seed(now["seed"])
        return description | now["description"]

    def _check(self, attributes: dict[str, Any]) -> None:
        """Checks that no other search has come between: two that began at once."""
        if self._description is not None and SEARCH in attributes:
            project.check_same(attributes[SEARCH]["description"], self._description, self._place)

    # What all workers have done.

    def refresh(self, *, search: bool = True) -> History:
        """Reads what all workers have done.

        Args:
            search: Whether also to read what the search is: whether it is still this one, and its space.
        """
        if search:
            attributes = self._shared.attributes()
            self._check(attributes)
            space = attributes.get(SPACE)
            if space is not None and space != self._space:
                self.update_space(keras_tuner.HyperParameters.from_config({"space": space, "values": {}}))
                self._space, self._known = space, {}
        history = self._shared.history()
        self._chains, self._all = {id_of(chain): chain for chain in history.chains}, history.all
        self.trials = {key: self._trial(key, chain) for key, chain in self._chains.items()}
        found = {key: outcome_of(chain) for key, chain in self._chains.items()}
        self.outcomes = {key: outcome for key, outcome in found.items() if outcome is not None}
        self._pruned = {key for key, outcome in self.outcomes.items() if outcome.status == "pruned"}
        self._numbers = {key: chain.last.number for key, chain in self._chains.items()}
        values = [chain.values for chain in history.chains if self._mine is None or chain.last.number != self._number]
        self._tried_so_far = {self._compute_values_hash(value) for value in values if value is not None}
        return history

    def _trial(self, key: str, chain: Chain) -> Trial:
        if self._mine is not None and self._mine[0] == key and chain.last.number == self._number:
            return self.trials[key] if key in self.trials else trial_of(chain, self.hyperparameters, self._objective())
        version = (key, chain.last.number, chain.last.state, chain.waits, chain.values is None)
        if version not in self._known:
            self._known[version] = trial_of(chain, self.hyperparameters, self._objective())
        return self._known[version]

    def _objective(self) -> Any:
        return project.objective_config(self.objective)

    @property
    def _number(self) -> int:
        assert self._mine is not None
        return self._mine[1].number

    def suffix_of(self, trial_id: str) -> str:
        """Returns what tells the files of the try that counts from those of others: "" or, from the second, "-2"."""
        if self._mine is not None and self._mine[0] == trial_id:
            number = self._mine[1].user_attrs.get(marks.TRY, 1)
        else:
            number = self._chains[trial_id].last.user_attrs.get(marks.TRY, 1) if trial_id in self._chains else 1
        return "" if number == 1 else f"-{number}"

    @property
    def board(self) -> str:
        """Where this worker logs what belongs to no single trial."""
        return f"search-{name_of(self._worker).replace(':', '-')}"

    def run_by(self, trial_id: str) -> dict[str, Any]:
        """Returns who has run a trial, or runs it, and how many tries there were."""
        return run_by(self._chains[trial_id])

    def whereabouts(self, trial_id: str) -> str:
        """Returns whose trial it is and where that worker keeps weights."""
        worker = self._chains[trial_id].last.user_attrs[marks.WORKER]
        return f"{name_of(worker)} in {worker['directory']!r}"

    def _study(self) -> Any:
        return self._shared

    def save(self) -> None:
        """Does nothing: the storage has everything."""

    def _save_trial(self, trial: Trial) -> None:
        """Does nothing: the storage has everything."""

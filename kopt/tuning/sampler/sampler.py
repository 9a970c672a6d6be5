"""The sampler: which trials count, when the process is fitted, and what Optuna is told."""

import functools
import math
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState
from threadpoolctl import ThreadpoolController

from kopt._core import checks
from kopt.tuning.sampler.axis import axis_of
from kopt.tuning.sampler.fit import Posterior, most_probable, squashed
from kopt.tuning.sampler.infer import inferred
from kopt.tuning.sampler.kernel import TreeKernel
from kopt.tuning.sampler.search import ENUMERATED, neglected_branch, proposed
from kopt.tuning.sampler.seeds import generator_of
from kopt.tuning.sampler.tree import Parameter, Tree, key_of

Array = np.ndarray
REPEAT = "kopt:repeat"
ITERATIONS = 25
MOST_TRIALS, BEST_KEPT, RANDOM_KEPT = 300, 100, 200
DRAWS = 50
VISIT_EVERY = 5


class ConditionalGPSampler(BaseSampler):
    """A Gaussian process for search spaces in which some parameters exist only under values of others.

    The first trials are a Latin hypercube. Each later one maximises the expected improvement under a process whose
    kernel follows the conditions: trials in the same branch inform each other about the branch's parameters, and all
    trials do about the rest. Results are drawn together on the bad side, so that diverged runs do no harm. A failed
    trial counts as the worst result so far, a pruned one as no better than the median; running trials count as if they
    had given what is expected of them. No configuration is proposed twice while there are others; a small discrete
    space is enumerated, in the order of what each configuration promises. Every fifth trial goes into a branch that is
    drawn, rarely visited ones first.

    A trial depends on `seed`, its number and the trials before it, and on nothing else: a study that is continued from
    its storage proposes what it would have proposed without the interruption.

    Cost: about 20 ms of CPU for a suggestion at 50 trials, 30 to 50 ms at 200. From 300 trials on, the process sees the
    100 best and 200 others. It needs NumPy and SciPy only.

    Args:
        seed: An integer >= 0; None draws one.
        n_startup_trials: How many trials of the Latin hypercube come first, >= 1.
        space: The search space: a dict of names to Optuna distributions, or to `(distribution, conditions)`, where
            `conditions` is a dict of parents to the values under which the parameter exists (all of its parents must
            have one of these), and parents come before what depends on them. None reads it off the trials: right
            whenever a parameter is suggested under values of discrete parameters that were suggested before it.

    Raises:
        ValueError: An argument is out of its range; or, at the first trial, the study has several objectives.

    Example:

    ```python
    study = optuna.create_study(sampler=kopt.tuning.ConditionalGPSampler(seed=0))
    study.optimize(objective, n_trials=50)
    ```

    References:
        Snoek et al. 2012, "Practical Bayesian optimization of machine learning algorithms",
        https://arxiv.org/abs/1206.2944; Ginsbourger et al. 2010, "Kriging is well-suited to parallelize optimization",
        https://hal.science/hal-00260579 (the believer). The kernel and its papers: `kopt.tuning.sampler.kernel`.
    """

    def __init__(
        self,
        seed: int | None = None,
        n_startup_trials: int = 10,
        *,
        space: Mapping[str, Any] | Tree | None = None,
    ) -> None:
        self.seed = secrets.randbits(32) if seed is None else checks.count("seed", seed, least=0)
        self.n_startup_trials = checks.count("n_startup_trials", n_startup_trials)
        self.space = _tree_of(space)
        self._fitted: dict[bytes, Array] = {}

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        if len(study.directions) > 1:
            advice = "Use optuna.samplers.NSGAIISampler or TPESampler."
            raise checks.fail("study", "one with one objective for this sampler", study.directions, advice)
        trials = _before(study, trial)
        tree = self.space
        if tree is None:
            if len(_counted(trials)) < self.n_startup_trials:
                return {}
            tree = inferred(trials)
        return {p.name: p.distribution for p in tree.parameters if not p.distribution.single()}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if not search_space:
            return {}
        trials = _before(study, trial)
        tree = self.space or inferred(trials)
        counted = _counted(trials)
        rng = generator_of(self.seed, trial.number)
        positions = None
        if len(counted) >= self.n_startup_trials:
            # The matrices are small: threads that wait for one another cost more than they give, and others train.
            with _pools().limit(limits=1, user_api="blas"):
                positions = self._best_positions(tree, counted, study.directions[0], rng)
        if positions is None:
            start = [self._startup_position(name, trial.number) for name in tree.names]
            if len(counted) >= self.n_startup_trials:
                start = list(rng.random(len(tree.names)))
            positions = _new_positions(tree, np.array(start), [t.params for t in counted], rng)
        # Inactive parameters get a value as well: another branch may be enqueued, or not have been seen yet.
        filled = np.where(np.isnan(positions), rng.random(len(positions)), positions)
        return {name: value for name, value in tree.values(filled).items() if name in search_space}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        if len(_counted(_before(study, trial))) < self.n_startup_trials:
            return axis_of(param_distribution).value(self._startup_position(param_name, trial.number))
        return axis_of(param_distribution).value(generator_of(self.seed, trial.number, param_name).random())

    def _startup_position(self, name: str, number: int) -> float:
        """Returns the position of a parameter in a row of a Latin hypercube, which needs no other parameter."""
        places = generator_of(self.seed, name).permutation(self.n_startup_trials)
        place = places[number % self.n_startup_trials]
        return float((place + generator_of(self.seed, number, name).random()) / self.n_startup_trials)

    def _best_positions(
        self, tree: Tree, trials: list[FrozenTrial], direction: StudyDirection, rng: np.random.Generator
    ) -> Array | None:
        """Returns the positions that the process proposes, or None where it cannot."""
        sign = -1.0 if direction == StudyDirection.MAXIMIZE else 1.0
        finished = sorted(
            (trial for trial in trials if trial.state.is_finished()), key=lambda t: (t.datetime_complete, t.number)
        )
        pending = [trial for trial in trials if not trial.state.is_finished()]
        values = _results(finished, sign)
        if values is None or not tree.names:
            return None
        rows = tree.table([trial.params for trial in finished])
        kernel = TreeKernel(tree)
        used = _used(values, self.seed)
        try:
            theta = self._hyperparameters(kernel, rows, values)
            posterior = Posterior.of(kernel, theta, rows[used], squashed(values[used]))
            if pending:
                waiting = tree.table([trial.params for trial in pending])
                posterior = posterior.believing(waiting)
                rows = np.concatenate([rows, waiting])
        except np.linalg.LinAlgError:
            return None
        # Every so many trials, so that a branch in which the first trials were unlucky gets others.
        forced = neglected_branch(tree, rows, rng) if len(rows) % VISIT_EVERY == 0 else {}
        return proposed(tree, posterior, rows, values, rng, forced)

    def _hyperparameters(self, kernel: TreeKernel, rows: Array, values: Array) -> Array:
        """Returns the hyperparameters fitted to the first m results, where m depends on how many there are only.

        Each fit starts from the prior, and what is kept is kept by its data: the answer does not depend on which
        trials this process has seen.
        """
        n = len(values)
        m = n if n < 60 else n - n % 4 if n < 120 else n - n % 12
        rows, values = rows[:m], values[:m]
        used = _used(values, self.seed)
        rows, targets = rows[used], squashed(values[used])
        key = rows.tobytes() + targets.tobytes()
        known = self._fitted.get(key)
        if known is None:
            known = most_probable(kernel, rows, targets, ITERATIONS)
            self._fitted = {key: known}
        return known


@functools.cache
def _pools() -> ThreadpoolController:
    return ThreadpoolController()


def _tree_of(space: Mapping[str, Any] | Tree | None) -> Tree | None:
    if space is None or isinstance(space, Tree):
        return space
    parameters = []
    for name, entry in space.items():
        distribution, conditions = entry if isinstance(entry, tuple) else (entry, {})
        if not isinstance(distribution, BaseDistribution):
            raise checks.fail("space", "a dict of names to Optuna distributions", space)
        parameters.append(Parameter(name, distribution, tuple({n: tuple(v)} for n, v in conditions.items())))
    return Tree(parameters)


def _before(study: Study, trial: FrozenTrial) -> list[FrozenTrial]:
    """Returns the other trials, without those that wait and those that only repeated an older one."""
    trials = study.get_trials(deepcopy=False)
    others = [t for t in trials if t.number != trial.number and t.state != TrialState.WAITING]
    return [t for t in others if REPEAT not in t.user_attrs]


def _counted(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Returns the trials of which parameters are known."""
    return [trial for trial in trials if trial.params]


def _results(trials: Sequence[FrozenTrial], sign: float) -> Array | None:
    """Returns a finite result for each trial, to be minimised; None if there are not two different finite ones."""
    own = [_result(trial, sign) for trial in trials]
    complete = [v for v, t in zip(own, trials, strict=True) if t.state == TrialState.COMPLETE and math.isfinite(v)]
    finite = [value for value in own if math.isfinite(value)]
    if len(set(finite)) < 2:
        return None
    worst = max(finite)
    # A run that was cut short has not shown what it can do; it was cut short because it was worse than others.
    middle = float(np.median(complete)) if complete else -math.inf
    found = []
    for value, trial in zip(own, trials, strict=True):
        kept = value if math.isfinite(value) else worst
        found.append(max(kept, middle) if trial.state == TrialState.PRUNED else kept)
    return np.array(found)


def _result(trial: FrozenTrial, sign: float) -> float:
    if trial.state == TrialState.COMPLETE:
        return sign * (trial.value if trial.value is not None else math.nan)
    if trial.state == TrialState.PRUNED and trial.intermediate_values:
        return sign * trial.intermediate_values[max(trial.intermediate_values)]
    return math.nan


def _used(values: Array, seed: int) -> Array:
    """Returns which results the process sees: all, or of more than 300 the best ones and others by lot."""
    if len(values) <= MOST_TRIALS:
        return np.arange(len(values))
    order = np.argsort(values, kind="stable")
    others = generator_of(seed, len(values), "others").choice(order[BEST_KEPT:], RANDOM_KEPT, replace=False)
    return np.sort(np.concatenate([order[:BEST_KEPT], others]))


def _new_positions(tree: Tree, start: Array, tried: list[dict[str, Any]], rng: np.random.Generator) -> Array:
    """Returns `start` if its configuration was not tried; otherwise one by lot, a new one if there is one."""
    keys = set(map(key_of, tree.table(tried)))
    candidates = np.concatenate([start[None], rng.random((DRAWS, len(start)))])
    for positions, row in zip(candidates, tree.rows(candidates), strict=True):
        if key_of(row) not in keys:
            return positions
    few = tree.all_rows(ENUMERATED)
    left = [row for row in few if key_of(row) not in keys] if few is not None else []
    return left[rng.integers(len(left))] if left else start

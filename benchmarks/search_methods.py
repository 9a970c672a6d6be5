"""Who competes in the search benchmarks: one way to ask for values and to tell a result, for each library."""

import itertools
import tempfile
import warnings
from collections.abc import Callable
from typing import Any, Protocol

import keras_tuner
import optuna
from faster_bayesian import FasterBayesian
from search_space import Problem, Row, Values

SPACING = 100003  # KerasTuner's random search with a seed and with the next one share most of their trials.


class Method(Protocol):
    """A search that can be asked for several trials before it is told of one."""

    def ask(self) -> tuple[Any, Values]:
        """Returns a handle and the values of the active parameters; None if it wants to be told something first."""

    def tell(self, handle: Any, value: float) -> None:
        """Tells the result."""


def distribution_of(row: Row) -> optuna.distributions.BaseDistribution:
    """Returns Optuna's distribution of a parameter."""
    if row.kind == "choice":
        return optuna.distributions.CategoricalDistribution(row.choices)
    kind = optuna.distributions.FloatDistribution if row.kind == "float" else optuna.distributions.IntDistribution
    return kind(row.low, row.high, log=row.log)


def space_of(problem: Problem) -> dict[str, Any]:
    """Returns the space as `ConditionalGPSampler` takes it."""
    return {r.name: (distribution_of(r), {r.under[0]: r.under[1]} if r.under else {}) for r in problem.rows}


class OptunaSearch:
    """A study, asked in define-by-run order."""

    def __init__(self, problem: Problem, sampler: optuna.samplers.BaseSampler) -> None:
        self.problem, self.study = problem, optuna.create_study(sampler=sampler)

    def ask(self) -> tuple[Any, Values]:
        trial, values = self.study.ask(), {}
        for row in self.problem.rows:
            if row.under and values.get(row.under[0]) not in row.under[1]:
                continue
            if row.kind == "choice":
                values[row.name] = trial.suggest_categorical(row.name, row.choices)
            elif row.kind == "float":
                values[row.name] = trial.suggest_float(row.name, row.low, row.high, log=row.log)
            else:
                values[row.name] = trial.suggest_int(row.name, int(row.low), int(row.high), log=row.log)
        return trial, values

    def tell(self, handle: Any, value: float) -> None:
        self.study.tell(handle, value)


class KerasTunerSearch:
    """One of KerasTuner's oracles, without a tuner."""

    def __init__(self, problem: Problem, make: Callable[..., keras_tuner.Oracle], seed: int) -> None:
        objective = keras_tuner.Objective("loss", "min")
        self.oracle = make(objective=objective, hyperparameters=_declared(problem), seed=SPACING * (seed + 1))
        self.folder = tempfile.TemporaryDirectory()
        self.oracle._set_project_dir(self.folder.name, "search")
        self.oracle.verbose = 0
        self.counter = itertools.count()

    def ask(self) -> tuple[Any, Values]:
        trial = self.oracle.create_trial(f"tuner{next(self.counter)}")
        if trial.status == "IDLE":
            return None, {}
        return trial, {name: v for name, v in trial.hyperparameters.values.items() if not name.startswith("tuner/")}

    def tell(self, handle: Any, value: float) -> None:
        self.oracle.update_trial(handle.trial_id, {"loss": value})
        handle.status = "COMPLETED"
        self.oracle.end_trial(handle)


def _declared(problem: Problem) -> keras_tuner.HyperParameters:
    hp = keras_tuner.HyperParameters()
    rows = {row.name: row for row in problem.rows}
    for row in problem.rows:
        _declare(hp, row, rows, row.under)
    return hp


def _declare(hp: keras_tuner.HyperParameters, row: Row, rows: dict[str, Row], under: Any) -> None:
    chain = []
    while under:
        chain.insert(0, under)
        under = rows[under[0]].under
    scopes = [hp.conditional_scope(name, list(values)) for name, values in chain]
    for scope in scopes:
        scope.__enter__()
    sampling = "log" if row.log else "linear"
    if row.kind == "choice" and isinstance(row.choices[0], bool):
        hp.Boolean(row.name)
    elif row.kind == "choice":
        hp.Choice(row.name, list(row.choices))
    elif row.kind == "float":
        hp.Float(row.name, row.low, row.high, sampling=sampling)
    else:
        hp.Int(row.name, int(row.low), int(row.high), sampling=sampling)
    for scope in reversed(scopes):
        scope.__exit__(None, None, None)


class HyperoptSearch:
    """Hyperopt's TPE on nested choices; it is asked for one trial at a time."""

    def __init__(self, problem: Problem, seed: int) -> None:
        import hyperopt
        import numpy as np

        self.hyperopt, self.problem = hyperopt, problem
        self.trials, self.rng = hyperopt.Trials(), np.random.default_rng(seed)
        domain = {row.name: self._node(row) for row in problem.rows if row.under is None}
        self.domain = hyperopt.base.Domain(lambda _: 0.0, domain)

    def _node(self, row: Row) -> Any:
        import math

        from hyperopt import hp

        if row.kind == "choice":
            below = [r for r in self.problem.rows if r.under and r.under[0] == row.name]
            options = [
                {"value": option, **{r.name: self._node(r) for r in below if r.under and option in r.under[1]}}
                for option in row.choices
            ]
            return hp.choice(row.name, options)
        if row.kind == "float":
            if row.log:
                return hp.loguniform(row.name, math.log(row.low), math.log(row.high))
            return hp.uniform(row.name, row.low, row.high)
        if row.log:
            return hp.qloguniform(row.name, math.log(row.low), math.log(row.high), 1)
        return hp.quniform(row.name, row.low, row.high, 1)

    def _flat(self, tree: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
        kinds = {row.name: row for row in self.problem.rows}
        for name, value in tree.items():
            if isinstance(value, dict):
                found[name] = value["value"]
                self._flat({n: v for n, v in value.items() if n != "value"}, found)
            else:
                row = kinds[name]
                found[name] = min(max(int(value), int(row.low)), int(row.high)) if row.kind == "int" else value
        return found

    def ask(self) -> tuple[Any, Values]:
        tpe = self.hyperopt.tpe.suggest
        document = tpe(self.trials.new_trial_ids(1), self.domain, self.trials, int(self.rng.integers(2**31)))[0]
        self.trials.insert_trial_docs([document])
        self.trials.refresh()
        point = {name: value[0] for name, value in document["misc"]["vals"].items() if value}
        return document["tid"], self._flat(self.hyperopt.space_eval(self.domain.expr, point), {})

    def tell(self, handle: Any, value: float) -> None:
        for document in self.trials._dynamic_trials:
            if document["tid"] == handle:
                document["result"] = {"loss": value, "status": "ok"}
                document["state"] = self.hyperopt.JOB_STATE_DONE
        self.trials.refresh()


def _kopt(problem: Problem, seed: int) -> Method:
    from kopt.tuning import ConditionalGPSampler

    return OptunaSearch(problem, ConditionalGPSampler(seed, space=space_of(problem)))


def _tuner(oracle: type[keras_tuner.Oracle], **arguments: Any) -> Callable[[Problem, int], Method]:
    def make(problem: Problem, seed: int) -> Method:
        return KerasTunerSearch(problem, lambda **more: oracle(**arguments, **more), seed)

    return make


def _optuna(name: str, **arguments: Any) -> Callable[[Problem, int], Method]:
    def make(problem: Problem, seed: int) -> Method:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return OptunaSearch(problem, getattr(optuna.samplers, name)(seed=seed, **arguments))

    return make


METHODS: dict[str, Callable[[Problem, int], Method]] = {
    "kopt": _kopt,
    "optuna_tpe": _optuna("TPESampler"),
    "optuna_gp": _optuna("GPSampler", warn_independent_sampling=False),
    "optuna_random": _optuna("RandomSampler"),
    "kt_random": _tuner(keras_tuner.oracles.RandomSearchOracle, max_trials=10**6),
    "kt_bayesian": _tuner(FasterBayesian, max_trials=10**6),
    # A black box has no epochs: its brackets choose whom to repeat, and a repetition is a trial like any other.
    "kt_hyperband": _tuner(keras_tuner.oracles.HyperbandOracle, max_epochs=27, hyperband_iterations=10),
    "hyperopt_tpe": HyperoptSearch,
}
# As it is, for what a suggestion costs.
ORIGINALS = {"kt_bayesian": _tuner(keras_tuner.oracles.BayesianOptimizationOracle, max_trials=10**6)}

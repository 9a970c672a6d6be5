"""Small searches that the tests of the tuner share: a space, a model, data, and an oracle that prunes."""

import keras
import keras_tuner
import numpy as np

from kopt import tuning

CLASSES = 3


def data(rows=48, seed=0):
    """Returns inputs and integer classes that a linear model can tell apart."""
    rng = np.random.default_rng(seed)
    y = np.arange(rows) % CLASSES
    x = rng.normal(size=(rows, 4)) + 2 * np.eye(4)[y]
    return x.astype("float32"), y


def build(hp):
    """Returns a compiled classifier."""
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(CLASSES)])
    model.compile(
        keras.optimizers.SGD(hp.Float("rate", 1e-3, 1.0, sampling="log"), momentum=hp.Choice("momentum", [0.0, 0.9])),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


class Curve(keras_tuner.HyperModel):
    """Trains nothing: gives (u - 0.3)^2 as the objective, and does what the test asks for in a trial."""

    def __init__(self, acts=None):
        super().__init__()
        self.acts = acts or {}
        self.calls = []

    def build(self, hp):
        hp.Float("u", 0.0, 1.0)
        hp.Choice("kind", ["a", "b"])
        return keras.Sequential([keras.layers.Dense(1)])  # Without variables, it costs next to nothing.

    def fit(self, hp, model, *args, **kwargs):
        self.calls.append(hp.get("u"))
        act = self.acts.get(len(self.calls) - 1)
        found = act() if act else None
        return {"score": (hp.get("u") - 0.3) ** 2} if found is None else found


def curve_tuner(directory, acts=None, **options):
    options = {"objective": keras_tuner.Objective("score", "min"), "max_trials": 5, "seed": 0, **options}
    return tuning.Tuner(Curve(acts), directory=directory, **options)


class MedianOracle(keras_tuner.oracles.RandomSearchOracle):
    """Stops a trial whose objective is worse than the median of the earlier ones at the same epoch."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.reports = {}
        self.stopped = set()

    def is_pruned(self, trial_id):
        return trial_id in self.stopped

    def update_trial(self, trial_id, metrics, step=0):
        if "__report__" not in metrics:
            return super().update_trial(trial_id, metrics, step)
        value = metrics["__report__"]
        others = [found[step] for key, found in self.reports.items() if key != trial_id and step in found]
        self.reports.setdefault(trial_id, {})[step] = value
        told = keras_tuner.engine.trial.Trial(self.trials[trial_id].hyperparameters, trial_id)
        if len(others) >= 2 and self.objective.better_than(float(np.median(others)), value):
            self.stopped.add(trial_id)
            told.status = "STOPPED"
        return told

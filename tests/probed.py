"""A model with all kinds of state, what it trains on, and a record of everything that a probe must not change."""

import random

import keras
import numpy as np
from sklearn.datasets import load_digits

from kopt import optimizers, schedules
from kopt.testing import problems


def digits(count=192):
    x, y = load_digits(return_X_y=True)
    return (x[:count] / 16).astype("float32"), y[:count].astype("int32")


def noisy(optimizer, *, seed=0, **options):
    """Returns a compiled model with batch statistics, dropout and noise."""
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.GaussianNoise(0.1),
            keras.layers.Dense(16, activation="relu", name="hidden"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.3),
            keras.layers.Dense(10, name="head"),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, **{"metrics": ["accuracy"], **options})
    return model


def state(model):
    """Returns all values that belong to a model: layers, seeds, metrics and optimizer."""
    return problems.values([*model.variables, *model.metrics_variables, *model.optimizer.variables])


def chance():
    """Returns what the generators would give next, of Python, NumPy and Keras; and moves them on."""
    uniform = keras.ops.convert_to_numpy(keras.random.uniform((3,)))
    return [np.array(random.random()), np.random.rand(2), uniform]


def warm():
    return schedules.Warmup(schedules.CosineDecay(0.01, 60), 6)


OPTIMIZERS = {
    "Adam": lambda: keras.optimizers.Adam(1e-3),
    "SGD, schedule, EMA": lambda: keras.optimizers.SGD(
        keras.optimizers.schedules.CosineDecay(0.1, 60), momentum=0.9, use_ema=True
    ),
    "AdamW, accumulation": lambda: keras.optimizers.AdamW(1e-3, clipnorm=1.0, gradient_accumulation_steps=2),
    "kopt AdamW, groups": lambda: optimizers.AdamW(
        warm(),
        weight_decay=schedules.Linear(0.02, 40, 0.2),
        groups=[optimizers.Group(lambda variable: "bias" in variable.path, 2.0, weight_decay=0.0)],
        gradient_accumulation_steps=2,
    ),
    "Muon": lambda: optimizers.Muon(1e-3),
    "SOAP": lambda: optimizers.SOAP(1e-3, global_clipnorm=1.0),
    "schedule-free": lambda: optimizers.ScheduleFreeAdamW(warm()),
}
FAST = ("kopt AdamW, groups",)

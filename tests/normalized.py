"""Models with batch normalization whose weights are averaged, and their statistics by hand."""

import keras
import numpy as np
from keras import layers
from test_averaged_weights import EAGER, validation

from kopt import optimizers, transforms
from kopt.callbacks import AveragedWeights
from kopt.testing import problems
from kopt.testing.training_checks import compiled

BACKEND = keras.backend.backend()
KINDS = {
    "ema": lambda **changes: optimizers.SGD(0.1, after=[transforms.ExponentialMovingAverage(0.7)], **changes),
    "swa": lambda **changes: optimizers.SGD(0.1, after=[transforms.StochasticWeightAveraging(2, 2)], **changes),
    "lookahead": lambda **changes: optimizers.Adam(0.05, after=[transforms.Lookahead(4)], **changes),
    "schedule_free": lambda **changes: optimizers.ScheduleFreeAdamW(0.05, 0.8, **changes),
}


def normalization(name, **options):
    return layers.BatchNormalization(name=name, momentum=0.8, **options)


def parts(**options):
    """Returns layers without biases before normalization: their gradients would be rounding errors only."""
    return [
        problems.dense(3, "first", 1, use_bias=False),
        normalization("norm1", **options),
        layers.Activation("tanh"),
        layers.Dropout(0.3, seed=5),
        problems.dense(2, "second", 2, use_bias=False),
        normalization("norm2", **options),
        problems.dense(1, "last", 3),
    ]


@keras.saving.register_keras_serializable(package="kopt_tests")
class Block(layers.Layer):
    """Layers inside a layer that is not a model."""

    def __init__(self, **options):
        super().__init__(**options)
        self.inner = parts()[:3]

    def call(self, inputs, training=None):
        for part in self.inner:
            inputs = part(inputs, training=training) if "norm" in part.name else part(inputs)
        return inputs


@keras.saving.register_keras_serializable(package="kopt_tests")
class Subclassed(keras.Model):
    """Has the same layers as the others, some inside a layer of its own."""

    def __init__(self, **options):
        super().__init__(**options)
        self.block, self.rest = Block(), parts()[3:]

    def call(self, inputs, training=None):
        inputs = self.block(inputs, training=training)
        for part in self.rest:
            inputs = part(inputs, training=training) if part.name[:4] in ("norm", "drop") else part(inputs)
        return inputs


def sequential(**options):
    return keras.Sequential([keras.Input((4,)), *parts(**options)])


def functional():
    inputs = outputs = keras.Input((4,))
    for part in parts():
        outputs = part(outputs)
    return keras.Model(inputs, outputs)


def nested():
    made = parts()
    inputs = keras.Input((4,))
    inner = keras.Sequential([keras.Input((4,)), keras.Sequential(made[:3])])
    outer = keras.Sequential(made[4:])
    return keras.Model(inputs, outer(made[3](inner(inputs))))


MODELS = {"sequential": sequential, "functional": functional, "nested": nested, "subclassed": Subclassed}


def inputs():
    """Returns 11 inputs: batches of four, the last of three, are not of equal size."""
    return (np.random.default_rng(4).normal(size=(11, 4)) * [1, 2, 3, 4] + 1).astype("float32")


def fit(model, callbacks=(), epochs=2, **options):
    x, y = problems.data()
    options = {"batch_size": 4, "shuffle": False, "verbose": 0, "validation_data": validation(), **options}
    return model.fit(x, y, epochs=epochs, callbacks=list(callbacks), **options).history


def make(kind="ema", network=sequential, **options):
    return compiled(network(), KINDS[kind](), metrics=["mae"], run_eagerly=EAGER, **options)


def averaged(data=None, **options):
    return AveragedWeights(inputs() if data is None else data, batch_norm_batch_size=4, **options)


def norms(model):
    found = [part for part in model._flatten_layers() if isinstance(part, layers.BatchNormalization)]
    return sorted(found, key=lambda layer: layer.name)


def statistics(model):
    return problems.values([v for layer in norms(model) for v in (layer.moving_mean, layer.moving_variance)])


def by_name(model):
    """Returns the weights of dense layers and normalizations by layer, in float64."""
    found = {part.name: part for part in model._flatten_layers() if part.name in ("first", "second", "norm1", "norm2")}
    return {
        name: [w.astype("float64") for w in problems.values(part.trainable_variables)] for name, part in found.items()
    }


def statistics_by_hand(model, batches):
    """Returns the means over the batches of mean and variance, for a model without dropout."""
    weights, seen = by_name(model), []
    for x in batches:
        noted = []
        for dense, norm, activation in (("first", "norm1", np.tanh), ("second", "norm2", None)):
            gamma, beta = weights[norm]
            x = x @ weights[dense][0]
            mean, variance = x.mean(axis=0), x.var(axis=0)
            noted += [mean, variance]
            x = gamma * (x - mean) / np.sqrt(variance + 1e-3) + beta
            x = activation(x) if activation else x
        seen.append(noted)
    return [np.mean(values, axis=0) for values in zip(*seen, strict=True)]


def without_dropout(model):
    for part in model._flatten_layers():
        if isinstance(part, layers.Dropout):
            part.rate = 0.0
    return model

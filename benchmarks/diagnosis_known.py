"""The kinds of runs that the rules were made with: 32 faulty and 20 healthy ones. Their figures are best cases."""

from typing import Any

import keras
import numpy as np
from diagnosis_data import (
    Catalogue,
    Data,
    Setup,
    cancer,
    cnn,
    diabetes,
    digits,
    mlp,
    pictures,
    ready,
    sentences,
    sequences,
    wine,
)
from keras import layers, ops

import kopt

KNOWN = Catalogue()
SGD, Adam = keras.optimizers.SGD, keras.optimizers.Adam
SPARSE_LOGITS = keras.losses.SparseCategoricalCrossentropy
BINARY_LOGITS = keras.losses.BinaryCrossentropy


def _spoilt(a: Any, value: float) -> Any:
    a = a.copy()
    a.reshape(len(a), -1)[7, 0] = value
    return a


def _random_labels(data: Data, seed: int, classes: int) -> Data:
    rng = np.random.default_rng(seed)
    return data.mapped(y=lambda y: rng.integers(0, classes, len(y)).astype("int32"))


# Data.


@KNOWN.add("digits-nan-input", "NONFINITE_INPUT")
def _(seed: int) -> Setup:
    return ready(mlp(64, 64), digits(seed).mapped(x=lambda x: _spoilt(x, np.nan)))


@KNOWN.add("diabetes-nan-target", "NONFINITE_TARGET")
def _(seed: int) -> Setup:
    return ready(mlp(10, 32, end=1, last=None), diabetes(seed).mapped(y=lambda y: _spoilt(y, np.nan)), loss="mse")


@KNOWN.add("wine-raw-features", "INPUT_SCALE")
def _(seed: int) -> Setup:
    return ready(mlp(13, 32, 16, end=3), wine(seed, scaled=False), SGD(0.01), epochs=20)


@KNOWN.add("digits-times-1000", "INPUT_SCALE")
def _(seed: int) -> Setup:
    return ready(cnn(), pictures(seed).mapped(x=lambda x: 1000 * x), SGD(0.05))


@KNOWN.add("diabetes-raw-targets", "TARGET_SCALE")
def _(seed: int) -> Setup:
    return ready(mlp(10, 32, 16, end=1, last=None), diabetes(seed, scaled=False), Adam(1e-3), "mse", epochs=20)


@KNOWN.add("cancer-label-as-feature", "LABEL_LEAK")
def _(seed: int) -> Setup:
    data = cancer(seed)
    x, x_val = (np.concatenate([a, b], axis=1) for a, b in ((data.x, data.y), (data.x_val, data.y_val)))
    return ready(mlp(31, 32, end=1, last="sigmoid"), Data(x, data.y, x_val, data.y_val), loss="binary_crossentropy")


@KNOWN.add("digits-in-both-halves", "DUPLICATES")
def _(seed: int) -> Setup:
    data = digits(seed)
    x_val, y_val = (np.concatenate([a, b[:150]]) for a, b in ((data.x_val, data.x), (data.y_val, data.y)))
    return ready(mlp(64, 64), Data(data.x, data.y, x_val, y_val))


@KNOWN.add("cancer-2-percent", "IMBALANCE")
def _(seed: int) -> Setup:
    data = cancer(seed)
    rare = np.flatnonzero(data.y[:, 0] == 0)[:6]
    kept = np.concatenate([rare, np.flatnonzero(data.y[:, 0] == 1)])
    return ready(
        mlp(30, 32, end=1, last="sigmoid"), Data(data.x[kept], data.y[kept], *data[2:]), loss="binary_crossentropy"
    )


@KNOWN.add("digits-random-labels", "RANDOM_LABELS")
def _(seed: int) -> Setup:
    return ready(mlp(64, 128), _random_labels(digits(seed), seed, 10), Adam(2e-3), epochs=12)


# Outputs and losses.


@KNOWN.add("digits-double-softmax", "DOUBLE_SOFTMAX")
def _(seed: int) -> Setup:
    return ready(mlp(64, 64), digits(seed), loss=SPARSE_LOGITS(from_logits=True))


@KNOWN.add("cancer-double-sigmoid", "DOUBLE_SOFTMAX")
def _(seed: int) -> Setup:
    return ready(mlp(30, 32, end=1, last="sigmoid"), cancer(seed), loss=BINARY_LOGITS(from_logits=True))


@KNOWN.add("digits-logits-as-probabilities", "LOGITS_AS_PROBABILITIES")
def _(seed: int) -> Setup:
    return ready(mlp(64, 64, last=None), digits(seed))


@KNOWN.add("cancer-logits-as-probabilities", "LOGITS_AS_PROBABILITIES")
def _(seed: int) -> Setup:
    return ready(mlp(30, 32, end=1, last=None), cancer(seed), loss="binary_crossentropy")


@KNOWN.add("diabetes-relu-output", "OUTPUT_ACTIVATION")
def _(seed: int) -> Setup:
    return ready(mlp(10, 32, end=1, last="relu"), diabetes(seed), loss="mse", epochs=15)


@KNOWN.add("diabetes-sigmoid-output", "OUTPUT_ACTIVATION")
def _(seed: int) -> Setup:
    return ready(mlp(10, 32, end=1, last="sigmoid"), diabetes(seed), loss="mse", epochs=15)


@KNOWN.add("cancer-softmax-of-one", "OUTPUT_ACTIVATION")
def _(seed: int) -> Setup:
    return ready(mlp(30, 32, end=1, last="softmax"), cancer(seed), loss="binary_crossentropy")


# Weights.


@KNOWN.add("digits-zero-kernels", "SYMMETRIC_INIT")
def _(seed: int) -> Setup:
    return ready(mlp(64, 64, 32, kernel_initializer="zeros"), digits(seed))


@KNOWN.add("wine-equal-kernels", "SYMMETRIC_INIT")
def _(seed: int) -> Setup:
    ones = keras.initializers.Constant(0.1)
    return ready(mlp(13, 32, 16, end=3, activation="tanh", kernel_initializer=ones), wine(seed), SGD(0.1), epochs=20)


@KNOWN.add("digits-deep-sigmoid", "VANISHING")
def _(seed: int) -> Setup:
    return ready(mlp(64, *[32] * 8, activation="sigmoid"), digits(seed), SGD(0.1))


@KNOWN.add("digits-small-kernels", "INIT_SCALE", "VANISHING")
def _(seed: int) -> Setup:
    small = keras.initializers.RandomNormal(stddev=1e-3, seed=seed)
    return ready(mlp(64, 32, 32, 32, activation="tanh", kernel_initializer=small), digits(seed), SGD(0.1))


@KNOWN.add("digits-large-kernels", "INIT_SCALE", "EXPLODING")
def _(seed: int) -> Setup:
    large = keras.initializers.RandomNormal(stddev=5.0, seed=seed)
    return ready(mlp(64, 64, 64, kernel_initializer=large), digits(seed), SGD(0.01))


@KNOWN.add("digits-saturated-tanh", "SATURATED", "INIT_SCALE")
def _(seed: int) -> Setup:
    large = keras.initializers.RandomNormal(stddev=3.0, seed=seed)
    return ready(mlp(64, 64, 64, activation="tanh", kernel_initializer=large), digits(seed))


@KNOWN.add("digits-dead-from-the-start", "DEAD_UNITS")
def _(seed: int) -> Setup:
    return ready(mlp(64, 64, 32, bias_initializer=keras.initializers.Constant(-10.0)), digits(seed))


@KNOWN.add("digits-frozen", "NOT_TRAINABLE")
def _(seed: int) -> Setup:
    model = mlp(64, 64)
    for layer in model.layers:
        layer.trainable = False
    return ready(model, digits(seed))


@KNOWN.add("digits-cut-gradient", "NO_GRADIENT")
def _(seed: int) -> Setup:
    inputs = keras.Input((64,))
    hidden = layers.Dense(64, "relu", name="cut")(inputs)
    outputs = layers.Dense(10, "softmax")(layers.Lambda(ops.stop_gradient)(hidden))
    return ready(keras.Model(inputs, outputs), digits(seed))


# Steps.


@KNOWN.add("digits-sgd-rate-low", "LEARNING_RATE_LOW")
def _(seed: int) -> Setup:
    return ready(mlp(64, 64), digits(seed), SGD(1e-5))


@KNOWN.add("digits-adam-rate-low", "LEARNING_RATE_LOW")
def _(seed: int) -> Setup:
    return ready(cnn(), pictures(seed), Adam(1e-7))


@KNOWN.add("digits-sgd-rate-high", "LEARNING_RATE_HIGH")
def _(seed: int) -> Setup:
    return ready(mlp(64, 64), digits(seed), SGD(10.0))


@KNOWN.add("digits-adam-rate-high", "LEARNING_RATE_HIGH")
def _(seed: int) -> Setup:
    return ready(cnn(), pictures(seed), Adam(1.0))


@KNOWN.add("waves-gru-rate-high", "LEARNING_RATE_HIGH")
def _(seed: int) -> Setup:
    model = keras.Sequential([keras.Input((16, 2)), layers.GRU(16), layers.Dense(3, "softmax")])
    return ready(model, sequences(seed), Adam(1.0), epochs=5, batch_size=64)


@KNOWN.add("diabetes-log-of-negative", "NAN")
def _(seed: int) -> Setup:
    def loss(y: Any, y_pred: Any) -> Any:
        return ops.square(ops.log(ops.abs(y) + 1) - ops.log(y_pred))

    return ready(mlp(10, 32, end=1, last=None), diabetes(seed), Adam(1e-2), loss)


# Curves.


@KNOWN.add("digits-overfit", "OVERFIT")
def _(seed: int) -> Setup:
    rng = np.random.default_rng(seed)
    data = digits(seed).mapped(x=lambda x: x + rng.normal(0, 0.5, x.shape).astype("float32"))
    return ready(mlp(64, 256, 256), Data(data.x[:150], data.y[:150], *data[2:]), Adam(3e-3), epochs=40)


# Healthy runs.


@KNOWN.add("healthy-digits-adam")
def _(seed: int) -> Setup:
    return ready(mlp(64, 64, 32), digits(seed))


@KNOWN.add("healthy-digits-momentum")
def _(seed: int) -> Setup:
    return ready(mlp(64, 64, 32), digits(seed), SGD(0.1, momentum=0.9))


@KNOWN.add("healthy-digits-cnn")
def _(seed: int) -> Setup:
    return ready(cnn(), pictures(seed), Adam(2e-3))


@KNOWN.add("healthy-digits-sigmoid")
def _(seed: int) -> Setup:
    return ready(mlp(64, 64, 32, activation="sigmoid"), digits(seed), Adam(3e-3), epochs=12)


@KNOWN.add("healthy-digits-tanh-rmsprop")
def _(seed: int) -> Setup:
    return ready(mlp(64, 64, 32, activation="tanh"), digits(seed), "rmsprop")


@KNOWN.add("healthy-wine")
def _(seed: int) -> Setup:
    return ready(mlp(13, 16, end=3), wine(seed), Adam(5e-3), epochs=20)


@KNOWN.add("healthy-cancer")
def _(seed: int) -> Setup:
    return ready(mlp(30, 16, end=1, last="sigmoid"), cancer(seed), loss="binary_crossentropy")


@KNOWN.add("healthy-cancer-logits")
def _(seed: int) -> Setup:
    return ready(mlp(30, 16, end=1, last=None), cancer(seed), SGD(0.05), BINARY_LOGITS(from_logits=True))


@KNOWN.add("healthy-diabetes")
def _(seed: int) -> Setup:
    return ready(mlp(10, 16, end=1, last=None), diabetes(seed), Adam(3e-3), "mse", epochs=15)


@KNOWN.add("healthy-diabetes-sgd")
def _(seed: int) -> Setup:
    return ready(mlp(10, 16, end=1, last=None, activation="tanh"), diabetes(seed), SGD(0.02), "mse", epochs=15)


@KNOWN.add("healthy-waves-gru")
def _(seed: int) -> Setup:
    model = keras.Sequential([keras.Input((16, 2)), layers.GRU(16), layers.Dense(3, "softmax")])
    return ready(model, sequences(seed), Adam(1e-2), epochs=8)


@KNOWN.add("healthy-digits-residual")
def _(seed: int) -> Setup:
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(12, 3, padding="same")(inputs)
    for _ in range(2):
        y = layers.Activation("relu")(layers.BatchNormalization(momentum=0.8)(x))
        x = layers.Add()([x, layers.Conv2D(12, 3, padding="same")(y)])
    outputs = layers.Dense(10, "softmax")(layers.GlobalAveragePooling2D()(layers.Activation("relu")(x)))
    return ready(keras.Model(inputs, outputs), pictures(seed), Adam(3e-3), epochs=8)


@KNOWN.add("healthy-digits-dropout")
def _(seed: int) -> Setup:
    parts = [keras.Input((64,)), layers.Dense(128, "relu"), layers.Dropout(0.4), layers.Dense(10, "softmax")]
    return ready(keras.Sequential(parts), digits(seed))


@KNOWN.add("healthy-digits-lion")
def _(seed: int) -> Setup:
    return ready(mlp(64, 64, 32), digits(seed), kopt.optimizers.Lion(3e-4))


@KNOWN.add("healthy-digits-adamw-cosine")
def _(seed: int) -> Setup:
    rate = keras.optimizers.schedules.CosineDecay(3e-3, 340)
    return ready(mlp(64, 64, 32), digits(seed), keras.optimizers.AdamW(rate, weight_decay=0.01))


@KNOWN.add("healthy-digits-l2")
def _(seed: int) -> Setup:
    return ready(mlp(64, 64, kernel_regularizer=keras.regularizers.L2(1e-3)), digits(seed))


@KNOWN.add("healthy-digits-autoencoder")
def _(seed: int) -> Setup:
    data = digits(seed)
    parts = [layers.Dense(64, "relu"), layers.Dense(12, "relu"), layers.Dense(64, "relu"), layers.Dense(64, "sigmoid")]
    model = keras.Sequential([keras.Input((64,)), *parts])
    return ready(model, Data(data.x, data.x, data.x_val, data.x_val), Adam(2e-3), "mse")


@KNOWN.add("healthy-digits-one-hot")
def _(seed: int) -> Setup:
    data = digits(seed).mapped(y=lambda y: np.eye(10, dtype="float32")[y])
    return ready(mlp(64, 64), data, loss="categorical_crossentropy")


@KNOWN.add("healthy-words")
def _(seed: int) -> Setup:
    parts = [layers.Embedding(40, 16), layers.Conv1D(32, 3, activation="relu"), layers.GRU(16)]
    model = keras.Sequential([keras.Input((12,), dtype="int32"), *parts, layers.Dense(2, "softmax")])
    return ready(model, sentences(seed), Adam(1e-2), epochs=8, batch_size=64)


@KNOWN.add("healthy-cancer-weighted")
def _(seed: int) -> Setup:
    run = ready(mlp(30, 16, end=1, last="sigmoid"), cancer(seed), loss="binary_crossentropy")
    run.fit["class_weight"] = {0: 1.5, 1: 0.75}
    return run

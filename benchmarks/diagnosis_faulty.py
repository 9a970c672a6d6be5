"""New kinds of faulty runs, half of which the rules were not made with: other networks, other losses, other faults."""

from typing import Any

import keras
import numpy as np
from diagnosis_data import (
    Catalogue,
    Data,
    Setup,
    blobs,
    cnn,
    friedman,
    mlp,
    pictures,
    ready,
    sentences,
    sequences,
    several_labels,
)
from diagnosis_networks import transformer, two_heads
from keras import layers, ops

FAULTY = Catalogue()
SGD, Adam = keras.optimizers.SGD, keras.optimizers.Adam


def _recurrent(kind: Any, **options: Any) -> keras.Model:
    return keras.Sequential([keras.Input((16, 2)), kind(16, **options), layers.Dense(3, "softmax")])


@FAULTY.add("transformer-rate-high", "LEARNING_RATE_HIGH")
def _(seed: int) -> Setup:
    return ready(transformer(), sentences(seed), Adam(0.3), epochs=4, batch_size=64)


@FAULTY.add("transformer-rate-low", "LEARNING_RATE_LOW")
def _(seed: int) -> Setup:
    return ready(transformer(), sentences(seed), Adam(1e-7), epochs=4, batch_size=64)


@FAULTY.add("transformer-double-softmax", "DOUBLE_SOFTMAX")
def _(seed: int) -> Setup:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return ready(transformer(last="softmax"), sentences(seed), Adam(3e-3), loss, epochs=4, batch_size=64)


@FAULTY.add("transformer-random-labels", "RANDOM_LABELS")
def _(seed: int) -> Setup:
    rng = np.random.default_rng(seed)
    data = sentences(seed).mapped(y=lambda y: rng.integers(0, 2, len(y)).astype("int32"))
    return ready(transformer(), data, Adam(5e-3), epochs=10, batch_size=64)


@FAULTY.add("lstm-frozen", "NOT_TRAINABLE")
def _(seed: int) -> Setup:
    model = _recurrent(layers.LSTM)
    model.trainable = False
    return ready(model, sequences(seed), Adam(1e-2), epochs=4)


@FAULTY.add("lstm-raw-sensor", "INPUT_SCALE")
def _(seed: int) -> Setup:
    data = sequences(seed).mapped(x=lambda x: (x * np.array([1.0, 4000.0]) + 20000).astype("float32"))
    return ready(_recurrent(layers.LSTM), data, Adam(1e-2), epochs=5)


@FAULTY.add("rnn-rate-high", "LEARNING_RATE_HIGH", "EXPLODING")
def _(seed: int) -> Setup:
    return ready(_recurrent(layers.SimpleRNN, activation="relu"), sequences(seed), SGD(5.0), epochs=5)


@FAULTY.add("waves-answer-in-last-step", "LABEL_LEAK")
def _(seed: int) -> Setup:
    data = sequences(seed)

    def told(x: Any, y: Any) -> Any:
        x = x.copy()
        x[:, -1, 0] = y
        return x

    return ready(
        _recurrent(layers.GRU), Data(told(data.x, data.y), data.y, told(data.x_val, data.y_val), data.y_val),
        Adam(1e-2), epochs=5,
    )  # fmt: skip


@FAULTY.add("labels-softmax-for-several", "OUTPUT_ACTIVATION")
def _(seed: int) -> Setup:
    return ready(mlp(20, 32, end=5, last="softmax"), several_labels(seed), loss="binary_crossentropy", epochs=12)


@FAULTY.add("labels-logits-as-probabilities", "LOGITS_AS_PROBABILITIES")
def _(seed: int) -> Setup:
    return ready(mlp(20, 32, end=5, last=None), several_labels(seed), loss="binary_crossentropy", epochs=12)


@FAULTY.add("friedman-targets-in-thousands", "TARGET_SCALE")
def _(seed: int) -> Setup:
    data = friedman(seed).mapped(y=lambda y: 5000 * y + 20000)
    return ready(mlp(10, 64, 64, end=1, last=None), data, Adam(1e-3), "mae", epochs=10)


@FAULTY.add("friedman-tanh-output", "OUTPUT_ACTIVATION")
def _(seed: int) -> Setup:
    data = friedman(seed).mapped(y=lambda y: 3 * y)
    return ready(mlp(10, 64, end=1, last="tanh"), data, Adam(3e-3), "mse", epochs=10)


@FAULTY.add("friedman-square-root-of-negative", "NAN")
def _(seed: int) -> Setup:
    def loss(y: Any, y_pred: Any) -> Any:
        return ops.sqrt(y_pred - y)

    return ready(mlp(10, 64, end=1, last=None), friedman(seed), Adam(1e-3), loss, epochs=5)


@FAULTY.add("friedman-rows-in-both-halves", "DUPLICATES")
def _(seed: int) -> Setup:
    data = friedman(seed)
    data = Data(data.x, data.y, data.x[::3], data.y[::3])
    return ready(mlp(10, 64, end=1, last=None), data, Adam(3e-3), "mse", epochs=10)


@FAULTY.add("friedman-infinite-input", "NONFINITE_INPUT")
def _(seed: int) -> Setup:
    data = friedman(seed)
    data.x[100, 3] = np.inf
    normalized = [layers.BatchNormalization(), layers.Dense(32, "relu"), layers.Dense(1)]
    return ready(keras.Sequential([keras.Input((10,)), *normalized]), data, Adam(3e-3), "mse", epochs=5)


@FAULTY.add("friedman-overfit", "OVERFIT")
def _(seed: int) -> Setup:
    rng = np.random.default_rng(seed)
    data = friedman(seed).mapped(y=lambda y: y + rng.normal(0, 0.8, y.shape).astype("float32"))
    few = Data(data.x[:80], data.y[:80], *data[2:])
    return ready(mlp(10, 256, 256, end=1, last=None), few, Adam(3e-3), "mse", epochs=60)


@FAULTY.add("blobs-1-percent", "IMBALANCE")
def _(seed: int) -> Setup:
    return ready(mlp(16, 32, end=2), blobs(seed, classes=2, weights=[0.99, 0.01]), epochs=6)


@FAULTY.add("blobs-dead-by-rate", "LEARNING_RATE_HIGH", "DEAD_UNITS")
def _(seed: int) -> Setup:
    return ready(mlp(16, 128, 128, 128, end=6), blobs(seed), Adam(0.5))


@FAULTY.add("blobs-deep-small-kernels", "INIT_SCALE", "VANISHING")
def _(seed: int) -> Setup:
    small = keras.initializers.RandomUniform(-0.01, 0.01, seed=seed)
    return ready(mlp(16, *[64] * 10, end=6, kernel_initializer=small), blobs(seed))


@FAULTY.add("blobs-deep-large-kernels", "INIT_SCALE", "EXPLODING")
def _(seed: int) -> Setup:
    large = keras.initializers.RandomNormal(stddev=1.0, seed=seed)
    return ready(mlp(16, *[64] * 8, end=6, kernel_initializer=large), blobs(seed), SGD(0.01))


@FAULTY.add("blobs-equal-units-swish", "SYMMETRIC_INIT")
def _(seed: int) -> Setup:
    equal = keras.initializers.Constant(0.05)
    return ready(mlp(16, 64, 64, end=6, activation="swish", kernel_initializer=equal), blobs(seed), Adam(3e-3))


@FAULTY.add("blobs-momentum-rate-high", "LEARNING_RATE_HIGH")
def _(seed: int) -> Setup:
    return ready(mlp(16, 128, 128, end=6, activation="gelu"), blobs(seed), SGD(2.0, momentum=0.95))


@FAULTY.add("cnn-saturated-sigmoid", "SATURATED", "INIT_SCALE")
def _(seed: int) -> Setup:
    large = keras.initializers.RandomNormal(stddev=8.0, seed=seed)
    return ready(cnn(activation="sigmoid", kernel_initializer=large), pictures(seed), Adam(1e-3))


@FAULTY.add("cnn-pixels-0-to-255", "INPUT_SCALE")
def _(seed: int) -> Setup:
    return ready(cnn(activation="tanh"), pictures(seed).mapped(x=lambda x: 255 * x), Adam(1e-3))


@FAULTY.add("cnn-sgd-rate-low", "LEARNING_RATE_LOW")
def _(seed: int) -> Setup:
    return ready(cnn(), pictures(seed), SGD(2e-5, momentum=0.9))


@FAULTY.add("heads-one-cut-off", "NO_GRADIENT")
def _(seed: int) -> Setup:
    return two_heads(seed, cut=True)


@FAULTY.add("half-precision-overflow", "LOSS_SCALE")
def _(seed: int) -> Setup:
    # The second layer's outputs pass 65504 whatever the loss is multiplied by.
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        parts = [layers.Dense(64, "relu"), layers.Rescaling(3e4), layers.Dense(6, dtype="float32")]
        model = keras.Sequential([keras.Input((16,)), *parts])
    finally:
        keras.config.set_dtype_policy(policy)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return ready(model, blobs(seed), keras.optimizers.LossScaleOptimizer(Adam(1e-3)), loss, epochs=4)


@FAULTY.add("subclass-rate-high", "LEARNING_RATE_HIGH")
def _(seed: int) -> Setup:
    from diagnosis_networks import Own

    return ready(Own(6), blobs(seed), Adam(1.0))

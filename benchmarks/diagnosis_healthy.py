"""New kinds of healthy runs, half of which the rules were not made with."""

from typing import Any

import keras
import numpy as np
from diagnosis_data import (
    Catalogue,
    Data,
    Setup,
    blobs,
    cancer,
    cnn,
    digits,
    friedman,
    mlp,
    pictures,
    ready,
    sentences,
    sequences,
    several_labels,
)
from diagnosis_networks import Own, transformer, two_heads
from keras import layers

import kopt

HEALTHY = Catalogue()
SGD, Adam = keras.optimizers.SGD, keras.optimizers.Adam


def _stack(inputs: tuple[int, ...], *parts: Any, **options: Any) -> keras.Model:
    return keras.Sequential([keras.Input(inputs, **options), *parts])


@HEALTHY.add("transformer-adamw")
def _(seed: int) -> Setup:
    return ready(transformer(), sentences(seed), kopt.optimizers.AdamW(5e-3, weight_decay=0.01), epochs=8)


@HEALTHY.add("transformer-warmup")
def _(seed: int) -> Setup:
    rate = kopt.schedules.Warmup(kopt.schedules.CosineDecay(1e-2, 96), 20)
    return ready(transformer(last=None), sentences(seed), kopt.optimizers.Adam(rate), _sparse_logits(), batch_size=64)


@HEALTHY.add("lstm-adam")
def _(seed: int) -> Setup:
    return ready(_stack((16, 2), layers.LSTM(24), layers.Dense(3, "softmax")), sequences(seed), Adam(1e-2), epochs=6)


@HEALTHY.add("gru-both-ways-clipped")
def _(seed: int) -> Setup:
    model = _stack((16, 2), layers.Bidirectional(layers.GRU(12)), layers.Dense(3, "softmax"))
    return ready(model, sequences(seed), Adam(1e-2, global_clipnorm=1.0), epochs=5)


@HEALTHY.add("waves-convolved")
def _(seed: int) -> Setup:
    parts = [layers.Conv1D(24, 5, activation="relu"), layers.GlobalMaxPooling1D(), layers.Dense(3, "softmax")]
    return ready(_stack((16, 2), *parts), sequences(seed), SGD(0.1, momentum=0.9), epochs=10)


@HEALTHY.add("words-averaged-lstm")
def _(seed: int) -> Setup:
    parts = [layers.Embedding(40, 16), layers.LSTM(24), layers.Dense(1, "sigmoid")]
    data = sentences(seed).mapped(y=lambda y: y.astype("float32")[:, None])
    model = _stack((12,), *parts, dtype="int32")
    return ready(model, data, Adam(1e-2), "binary_crossentropy", epochs=8, batch_size=64)


@HEALTHY.add("labels-several")
def _(seed: int) -> Setup:
    return ready(mlp(20, 32, end=5, last="sigmoid"), several_labels(seed), Adam(3e-3), "binary_crossentropy", epochs=10)


@HEALTHY.add("heads-two")
def _(seed: int) -> Setup:
    return two_heads(seed)


@HEALTHY.add("friedman-normalized")
def _(seed: int) -> Setup:
    parts = [layers.Dense(64), layers.BatchNormalization(), layers.ReLU(), layers.Dense(1)]
    return ready(_stack((10,), *parts), friedman(seed), Adam(3e-3), "mse", epochs=12)


@HEALTHY.add("friedman-huber-deep")
def _(seed: int) -> Setup:
    model = mlp(10, 64, 64, 64, end=1, last=None, activation="gelu")
    return ready(model, friedman(seed), kopt.optimizers.AdamW(2e-3), "huber", epochs=10)


@HEALTHY.add("friedman-counts")
def _(seed: int) -> Setup:
    rng = np.random.default_rng(seed)
    data = friedman(seed).mapped(y=lambda y: rng.poisson(np.exp(0.7 * y + 0.5)).astype("float32"))
    return ready(mlp(10, 32, end=1, last="exponential"), data, Adam(3e-3), "poisson", epochs=12)


@HEALTHY.add("friedman-unscaled-a-little")
def _(seed: int) -> Setup:
    data = friedman(seed).mapped(x=lambda x: 3 * x + 2, y=lambda y: 5 * y + 4)
    return ready(mlp(10, 64, 64, end=1, last=None), data, Adam(3e-3), "mse", epochs=12)


@HEALTHY.add("blobs-wide-dropout")
def _(seed: int) -> Setup:
    parts = [part for _ in range(3) for part in (layers.Dense(256, "relu"), layers.Dropout(0.3))]
    return ready(_stack((16,), *parts, layers.Dense(6, "softmax")), blobs(seed), Adam(1e-3), epochs=6)


@HEALTHY.add("blobs-bfloat16")
def _(seed: int) -> Setup:
    model = _with_policy("mixed_bfloat16", lambda: mlp(16, 64, 64, end=6, last=None))
    return ready(model, blobs(seed), Adam(2e-3), _sparse_logits())


@HEALTHY.add("blobs-float16-scaled")
def _(seed: int) -> Setup:
    model = _with_policy("mixed_float16", lambda: mlp(16, 64, 64, end=6, last=None))
    optimizer = keras.optimizers.LossScaleOptimizer(Adam(2e-3))
    return ready(model, blobs(seed), optimizer, _sparse_logits())


@HEALTHY.add("blobs-small-batches")
def _(seed: int) -> Setup:
    return ready(mlp(16, 32, end=6), blobs(seed), SGD(0.02), batch_size=4, epochs=4)


@HEALTHY.add("blobs-one-large-batch")
def _(seed: int) -> Setup:
    return ready(mlp(16, 64, 64, end=6), blobs(seed), Adam(1e-2), batch_size=900, epochs=60)


@HEALTHY.add("blobs-accumulated-average")
def _(seed: int) -> Setup:
    optimizer = keras.optimizers.AdamW(5e-3, gradient_accumulation_steps=4, use_ema=True)
    return ready(mlp(16, 64, end=6), blobs(seed), optimizer, epochs=10, batch_size=16)


@HEALTHY.add("blobs-one-cycle")
def _(seed: int) -> Setup:
    rate = kopt.schedules.OneCycle(0.05, 29 * 10)
    return ready(mlp(16, 64, 64, end=6), blobs(seed), kopt.optimizers.SGD(rate, momentum=0.9), epochs=10)


@HEALTHY.add("blobs-smoothed-labels")
def _(seed: int) -> Setup:
    data = blobs(seed).mapped(y=lambda y: np.eye(6, dtype="float32")[y])
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=0.1)
    return ready(mlp(16, 64, 64, end=6, activation="swish"), data, Adam(2e-3), loss)


@HEALTHY.add("blobs-own-class")
def _(seed: int) -> Setup:
    return ready(Own(6), blobs(seed), kopt.optimizers.Adam(2e-3))


@HEALTHY.add("blobs-head-of-zeros")
def _(seed: int) -> Setup:
    parts = [layers.Dense(64, "relu"), layers.Dense(64, "relu"), layers.Dense(6, "softmax", kernel_initializer="zeros")]
    return ready(_stack((16,), *parts), blobs(seed), Adam(2e-3))


@HEALTHY.add("blobs-fine-tuned")
def _(seed: int) -> Setup:
    data = blobs(seed)
    base = mlp(16, 64, 64, end=6)
    ready(base, data)
    base.fit(data.x, data.y, epochs=8, verbose=0)
    for layer in base.layers[:-1]:
        layer.trainable = False
    new = keras.Sequential([keras.Input((16,)), *base.layers[:-1], layers.Dense(3, "softmax")])
    return ready(new, data.mapped(y=lambda y: y // 2), Adam(5e-3))


@HEALTHY.add("blobs-rare-but-found")
def _(seed: int) -> Setup:
    return ready(mlp(16, 32, end=2), blobs(seed, classes=2, weights=[0.8, 0.2]), Adam(3e-3))


@HEALTHY.add("cancer-two-inputs")
def _(seed: int) -> Setup:
    data = cancer(seed)
    left, right = keras.Input((15,)), keras.Input((15,))
    hidden = layers.Concatenate()([layers.Dense(16, "tanh")(left), layers.Dense(16, "relu")(right)])
    model = keras.Model([left, right], layers.Dense(1, "sigmoid")(hidden))
    cut = Data([data.x[:, :15], data.x[:, 15:]], data.y, [data.x_val[:, :15], data.x_val[:, 15:]], data.y_val)
    return ready(model, cut, "adam", "binary_crossentropy", epochs=10)


@HEALTHY.add("digits-denoised")
def _(seed: int) -> Setup:
    data = pictures(seed)
    parts = [layers.GaussianNoise(0.3), layers.Conv2D(16, 3, activation="relu", padding="same")]
    parts += [layers.Conv2D(16, 3, activation="relu", padding="same"), layers.Conv2D(1, 3, padding="same")]
    return ready(_stack((8, 8, 1), *parts), Data(data.x, data.x, data.x_val, data.x_val), Adam(3e-3), "mse", epochs=5)


@HEALTHY.add("digits-hinge")
def _(seed: int) -> Setup:
    data = digits(seed).mapped(y=lambda y: (y >= 5).astype("float32")[:, None] * 2 - 1)
    return ready(mlp(64, 64, end=1, last="tanh"), data, Adam(2e-3), "hinge", epochs=10)


@HEALTHY.add("digits-cnn-scheduled-sgd")
def _(seed: int) -> Setup:
    rate = keras.optimizers.schedules.ExponentialDecay(0.1, 40, 0.8)
    return ready(cnn(activation="elu"), pictures(seed), SGD(rate, momentum=0.9, nesterov=True))


def _sparse_logits() -> Any:
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def _with_policy(name: str, make: Any) -> Any:
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        return make()
    finally:
        keras.config.set_dtype_policy(policy)

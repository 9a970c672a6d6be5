"""Models and data of the monitoring benchmark: an MLP of 26k parameters, a CNN of 1M, transformers of 10M and 100M."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers

WORDS = 4096


def mlp() -> keras.Model:
    """Returns 64-128-128-10: 26k parameters."""
    return keras.Sequential(
        [keras.Input((64,)), layers.Dense(128, "relu"), layers.Dense(128, "relu"), layers.Dense(10)]
    )


def cnn() -> keras.Model:
    """Returns four convolutions and two dense layers: 1.0M parameters."""
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.Conv2D(64, 3, strides=2, activation="relu"),
            layers.Conv2D(128, 3, strides=2, activation="relu"),
            layers.Conv2D(128, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(656, "relu"),
            layers.Dense(10),
        ]
    )


class Block(layers.Layer):
    """One layer of a transformer, normalized first."""

    def __init__(self, width: int, heads: int, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.width = width
        self.norms = [layers.LayerNormalization(), layers.LayerNormalization()]
        self.attention = layers.MultiHeadAttention(heads, width // heads)
        self.up, self.down = layers.Dense(4 * width, "gelu"), layers.Dense(width)

    def build(self, shape: Any) -> None:
        for norm in self.norms:
            norm.build(shape)
        self.attention.build(shape, shape)
        self.up.build(shape)
        self.down.build((*shape[:-1], 4 * self.width))
        self.built = True

    def call(self, x: Any) -> Any:
        normal = self.norms[0](x)
        x = x + self.attention(normal, normal, use_causal_mask=True)
        return x + self.down(self.up(self.norms[1](x)))


def transformer(width: int, depth: int, heads: int, length: int) -> keras.Model:
    """Returns a language model of a given size."""
    tokens = keras.Input((length,), dtype="int32")
    x = layers.Embedding(WORDS, width)(tokens)
    for _ in range(depth):
        x = Block(width, heads)(x)
    return keras.Model(tokens, layers.Dense(WORDS)(layers.LayerNormalization()(x)))


def _pictures(shape: tuple[int, ...], examples: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(examples, *shape)).astype("float32"), rng.integers(0, 10, examples).astype("int32")


def _text(length: int, examples: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    words = rng.integers(0, WORDS, (examples, length + 1)).astype("int32")
    return words[:, :-1], words[:, 1:]


MODELS: dict[str, tuple[Callable[[], keras.Model], Callable[[int], Any], int]] = {
    "mlp": (mlp, lambda examples: _pictures((64,), examples), 32),
    "cnn": (cnn, lambda examples: _pictures((28, 28, 1), examples), 16),
    "transformer": (lambda: transformer(320, 6, 8, 32), lambda examples: _text(32, examples), 4),
    "transformer-gpu": (lambda: transformer(320, 6, 8, 256), lambda examples: _text(256, examples), 16),
    "transformer-100m": (lambda: transformer(768, 13, 12, 256), lambda examples: _text(256, examples), 16),
}
"""By name: makes the model, makes so many examples, examples in a batch."""

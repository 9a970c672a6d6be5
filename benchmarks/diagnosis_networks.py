"""The larger networks of the diagnosis benchmark: a transformer, two heads, a model of one's own class."""

from typing import Any

import keras
from diagnosis_data import Data, Setup, blobs
from keras import layers, ops


class Places(layers.Layer):
    """Adds to each word what stands for its place."""

    def build(self, shape: Any) -> None:
        self.places = self.add_weight(shape[1:], "random_uniform", name="places")

    def call(self, x: Any) -> Any:
        return x + self.places


def transformer(last: str | None = "softmax", width: int = 32, depth: int = 2, end: int = 2) -> keras.Model:
    """Returns a small transformer for sentences of 12 words."""
    words = keras.Input((12,), dtype="int32")
    x = Places()(layers.Embedding(40, width)(words))
    for _ in range(depth):
        y = layers.LayerNormalization()(x)
        x = x + layers.MultiHeadAttention(4, width // 4)(y, y)
        y = layers.LayerNormalization()(x)
        x = x + layers.Dense(width)(layers.Dense(2 * width, "gelu")(y))
    x = layers.GlobalAveragePooling1D()(layers.LayerNormalization()(x))
    return keras.Model(words, layers.Dense(end, last)(x))


def two_heads(seed: int, *, cut: bool = False) -> Setup:
    """Returns a run with two outputs, of which one may have been cut off from the hidden layer of its own."""
    data = blobs(seed)
    inputs = keras.Input((16,))
    trunk = layers.Dense(64, "relu", name="trunk")(inputs)
    first = layers.Dense(6, "softmax", name="kind")(layers.Dense(32, "relu", name="kind_hidden")(trunk))
    own = layers.Dense(32, "relu", name="size_hidden")(trunk)
    second = layers.Dense(1, name="size")(layers.Lambda(ops.stop_gradient)(own) if cut else own)
    model = keras.Model(inputs, [first, second])
    losses = ["sparse_categorical_crossentropy", "mse"]
    model.compile("adam", losses)
    both = Data(data.x, [data.y, data.x.sum(1, keepdims=True) / 4], data.x_val, None)
    return Setup(model, both._replace(y_val=[data.y_val, data.x_val.sum(1, keepdims=True) / 4]))


class Own(keras.Model):
    """A subclassed model of two hidden layers."""

    def __init__(self, end: int, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.first, self.second = layers.Dense(64, "relu"), layers.Dense(64, "relu")
        self.last = layers.Dense(end, "softmax")

    def call(self, x: Any) -> Any:
        return self.last(self.second(self.first(x)))

"""Models for `regularize`, as rows: what each one is, and what is to come out of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import kopt

FACTOR = 1.5


@dataclass(frozen=True)
class Row:
    """A model, and what `regularize(kernel=, dropout=0.3, drop_path=0.2)` is to do to it.

    Attributes:
        make: Returns the model, built.
        shapes: Of its inputs, without the first axis; a dict for named ones; those called `ids` are integers.
        penalised: How the paths of the kernels end that get a penalty.
        dropped: Names of the layers (or operations) that layers of dropout are put behind.
        rates: Names of the layers that are there and get the rate.
        paths: Rates of the layers that drop branches: by the addition in front of which one is put, or by their name.
        keeps_order: Whether the list of the weights has the order that it had.
        loads: Whether Keras can load what it saves of it.
    """

    make: Callable[[], keras.Model]
    shapes: Any
    penalised: tuple[str, ...]
    dropped: tuple[str, ...]
    rates: tuple[str, ...] = ()
    paths: dict[str, float] = field(default_factory=dict)
    keeps_order: bool = True
    loads: bool = True

    def inputs(self, rows=6):
        random = np.random.default_rng(0)

        def drawn(name, shape):
            if name == "ids":
                return random.integers(0, 9, (rows, *shape)).astype("int32")
            return random.normal(size=(rows, *shape)).astype("float32")

        if isinstance(self.shapes, dict):
            return {name: drawn(name, shape) for name, shape in self.shapes.items()}
        return drawn("x", self.shapes)


def sequential():
    return keras.Sequential(
        [
            keras.Input((4,), name="table"),
            layers.Dense(5, name="first"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(name="relu"),
            layers.Dense(5, "relu", name="second"),
            layers.Dropout(0.5, name="own"),
            layers.Dense(2, name="head"),
            layers.Softmax(name="shares"),
        ],
        name="net",
    )


def deferred():
    model = keras.Sequential([layers.Dense(5, "relu", name="hidden"), layers.Dense(2, name="head")])
    model(np.zeros((1, 4), "float32"))
    return model


def nested():
    """Sequential in Functional in Sequential; the innermost is frozen in part."""
    inner = keras.Sequential(
        [keras.Input((4,)), layers.Dense(4, "relu", name="a"), layers.Dense(4, name="b")], name="inner"
    )
    inner.layers[0].trainable = False
    x = keras.Input((4,))
    h = layers.Activation("tanh", name="tanh")(inner(x))
    middle = keras.Model(x, layers.Dense(3, "relu", name="c")(h), name="middle")
    return keras.Sequential([keras.Input((4,)), middle, layers.Dense(2, name="head")], name="outer")


def shared():
    x = keras.Input((4,), name="table")
    dense, relu = layers.Dense(4, name="twice"), layers.ReLU(name="relu")
    h = relu(dense(relu(dense(x))))
    return keras.Model(x, layers.Dense(1, name="head")(h))


def named_inputs():
    one, two = keras.Input((4,), name="one"), keras.Input((3,))
    a = layers.Dense(4, "relu", name="left")(one)
    b = ops.relu(layers.Dense(4, name="right")(two))
    return keras.Model({"one": one, "two": two}, layers.Dense(1, name="head")(layers.Concatenate()([a, b])))


def outputs():
    x = keras.Input((4,))
    h = layers.Dense(4, "relu", name="trunk")(x)
    first = layers.Dense(2, name="logits")(h)
    second = layers.Dense(1, name="value")(layers.Dense(3, "relu", name="deep")(h))
    return keras.Model(x, {"shares": layers.Softmax(name="softmax")(first), "value": second})


def time_distributed():
    return keras.Sequential(
        [keras.Input((5, 3)), layers.TimeDistributed(layers.Dense(4, "relu", name="inside"), name="steps"),
         layers.Flatten(), layers.Dense(1, name="head")]
    )  # fmt: skip


def recurrent():
    return keras.Sequential(
        [keras.Input((5, 3)), layers.Bidirectional(layers.GRU(3, dropout=0.1, return_sequences=True), name="both"),
         layers.LSTM(4, name="lstm"), layers.Dense(4, "relu", name="hidden"), layers.Dense(1, name="head")]
    )  # fmt: skip


def spectral():
    return keras.Sequential(
        [keras.Input((6, 6, 2)), layers.SpectralNormalization(layers.Conv2D(3, 3, name="inside"), name="spectral"),
         layers.LeakyReLU(name="leaky"), layers.MaxPooling2D(), layers.SpatialDropout2D(0.4, name="own"),
         layers.Flatten(), layers.Dense(1, name="head")]
    )  # fmt: skip


def convolutions():
    return keras.Sequential(
        [keras.Input((6, 6, 2)), layers.SeparableConv2D(3, 3, activation="relu", name="separable"),
         layers.DepthwiseConv2D(2, name="depthwise"), layers.BatchNormalization(),
         layers.Activation("relu", name="relu"),
         layers.GlobalAveragePooling2D(), layers.Dense(1, name="head")]
    )  # fmt: skip


def scaled(x):
    return FACTOR * x


def lambdas():
    return keras.Sequential(
        [keras.Input((4,)), layers.Dense(4, activation=lambda x: FACTOR * x, name="first"),
         layers.Lambda(lambda x: FACTOR * ops.tanh(x), name="lambda"),
         layers.Dense(3, activation=scaled, name="second"),
         layers.Dense(1, name="head")]
    )  # fmt: skip


@keras.saving.register_keras_serializable(package="kopt_tests")
def places_of(ids):
    return ops.zeros_like(ids) + ops.arange(5, dtype="int32")


def transformer():
    """Tokens with places, two pre-norm blocks with additions as operations and as layers, as GPT has them."""
    ids = keras.Input((5,), dtype="int32", name="ids")
    places = layers.Lambda(places_of, output_shape=(5,), name="places")
    x = layers.Embedding(9, 8, name="tokens")(ids) + layers.Embedding(5, 8, name="positions")(places(ids))
    for block in (0, 1):
        h = layers.LayerNormalization(name=f"norm{block}")(x)
        h = layers.MultiHeadAttention(2, 4, name=f"attention{block}")(h, h)
        x = layers.Add(name=f"after_attention{block}")([x, h])
        h = layers.LayerNormalization(name=f"norm_mlp{block}")(x)
        h = layers.Dense(16, "gelu", name=f"wide{block}")(h)
        x = x + layers.Dense(8, name=f"narrow{block}")(h)
    x = layers.LayerNormalization(name="last")(x)
    return keras.Model({"ids": ids}, layers.Dense(9, name="head")(x), name="gpt")


@keras.saving.register_keras_serializable(package="kopt_tests")
class Scale(layers.Layer):
    """ConvNeXt's layer scale."""

    def build(self, shape):
        self.gamma = self.add_weight(shape=(shape[-1],), initializer=keras.initializers.Constant(0.5), name="gamma")

    def call(self, x):
        return x * self.gamma


def convnext():
    x = keras.Input((8, 8, 2))
    h = layers.LayerNormalization(name="stem_norm")(layers.Conv2D(4, 2, strides=2, name="stem")(x))
    for block in range(3):
        b = layers.DepthwiseConv2D(3, padding="same", name=f"depthwise{block}")(h)
        b = layers.Dense(8, "gelu", name=f"wide{block}")(layers.LayerNormalization(name=f"depthwise_norm{block}")(b))
        b = Scale(name=f"scale{block}")(layers.Dense(4, name=f"narrow{block}")(b))
        h = layers.Add(name=f"add{block}")([h, b])
    h = layers.LayerNormalization()(layers.GlobalAveragePooling2D()(h))
    return keras.Model(x, layers.Dense(3, name="head")(h))


def resnet():
    """A block with a projected shortcut, and one in a model of its own that drops already."""
    x = keras.Input((6, 6, 2))
    h = layers.Conv2D(3, 3, padding="same", name="stem")(x)
    b = layers.ReLU(name="relu1")(layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same", name="a1")(h)))
    b = layers.BatchNormalization(name="norm_b1")(layers.Conv2D(4, 3, padding="same", name="b1")(b))
    h = layers.ReLU(name="relu2")(layers.Add(name="add1")([b, layers.Conv2D(4, 1, name="shortcut")(h)]))
    y = keras.Input((6, 6, 4))
    b = layers.Conv2D(4, 3, padding="same", name="a2")(y)
    block = keras.Model(y, layers.Add(name="add2")([kopt.layers.DropPath(0.3, name="drop")(b), y]), name="block")
    return keras.Model(x, layers.Dense(2, name="head")(layers.GlobalAveragePooling2D()(block(h))))


@keras.saving.register_keras_serializable(package="kopt_tests")
class Penalised(keras.Model):
    """A subclassed model whose config reaches its layers."""

    def __init__(self, units, kernel_regularizer=None, **keywords):
        super().__init__(**keywords)
        self.units, self.kernel_regularizer = units, keras.regularizers.get(kernel_regularizer)
        self.hidden = layers.Dense(units, "relu", kernel_regularizer=self.kernel_regularizer)
        self.head = layers.Dense(1, kernel_regularizer=self.kernel_regularizer)

    def build(self, shape):
        self.hidden.build(shape)
        self.head.build((shape[0], self.units))

    def call(self, x):
        return self.head(self.hidden(x))

    def get_config(self):
        penalty = keras.regularizers.serialize(self.kernel_regularizer) if self.kernel_regularizer else None
        return super().get_config() | {"units": self.units, "kernel_regularizer": penalty}


ROWS = {
    "sequential": Row(sequential, (4,), ("first/kernel", "second/kernel"), ("relu",), ("own",)),
    "deferred": Row(deferred, (4,), ("hidden/kernel",), ("hidden",)),
    "nested": Row(nested, (4,), ("b/kernel", "c/kernel"), ("a", "b", "c")),  # `a` is frozen: no penalty counts.
    "shared": Row(shared, {"table": (4,)}, ("twice/kernel",), ("relu",)),
    "named inputs": Row(named_inputs, {"one": (4,), "two": (3,)}, ("left/kernel", "right/kernel"), ("left", "relu")),
    "outputs": Row(outputs, (4,), ("trunk/kernel", "deep/kernel"), ("trunk", "deep"), keeps_order=False),
    "time distributed": Row(time_distributed, (5, 3), ("inside/kernel",), ("steps",)),
    "recurrent": Row(
        recurrent, (5, 3),
        ("both/forward_gru/gru_cell/kernel", "both/backward_gru/gru_cell/kernel", "lstm/lstm_cell/kernel",
         "hidden/kernel"),
        ("hidden",), ("both",),
    ),
    "spectral": Row(spectral, (6, 6, 2), ("inside/kernel",), (), ("own",)),
    "convolutions": Row(
        convolutions, (6, 6, 2),
        ("separable/depthwise_kernel", "separable/pointwise_kernel", "depthwise/kernel"), ("separable", "relu"),
    ),
    "lambdas": Row(lambdas, (4,), ("first/kernel", "second/kernel"), ("first", "second"), loads=False),
    "transformer": Row(
        transformer, {"ids": (5,)},
        (*(f"attention{n}/{part}/kernel" for n in (0, 1) for part in ("query", "key", "value", "attention_output")),
         *(f"{name}{n}/kernel" for n in (0, 1) for name in ("wide", "narrow"))),
        ("wide0", "narrow0", "wide1", "narrow1"), (), {"add_1": 0.2 / 3, "after_attention1": 0.4 / 3, "add_2": 0.2},
    ),
    "convnext": Row(
        convnext, (8, 8, 2),
        ("stem/kernel", *(f"{name}{n}/kernel" for n in range(3) for name in ("depthwise", "wide", "narrow"))),
        ("stem_norm", *(f"{name}{n}" for n in range(3) for name in ("depthwise_norm", "wide", "narrow"))), (),
        {"add1": 0.1, "add2": 0.2},
    ),
    "resnet": Row(
        resnet, (6, 6, 2), ("stem/kernel", "a1/kernel", "b1/kernel", "shortcut/kernel", "a2/kernel"),
        ("stem", "relu1", "norm_b1", "shortcut", "a2"), (), {"drop": 0.2},
    ),
}  # fmt: skip

# Configs do not depend on the backend: all rows are fast on one, and these on each.
CHEAP = ("sequential", "nested", "shared", "outputs")
NAMES = [
    name if name in CHEAP or keras.backend.backend() == "torch" else pytest.param(name, marks=pytest.mark.slow)
    for name in ROWS
]
once = pytest.mark.skipif(keras.backend.backend() != "torch", reason="no backend is involved: once is enough")

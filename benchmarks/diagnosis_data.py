"""Data and networks of the diagnosis benchmark: scikit-learn's small data sets, and sequences made up here."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers
from sklearn import datasets
from sklearn.model_selection import train_test_split


class Data(NamedTuple):
    """Inputs and targets of training and validation."""

    x: Any
    y: Any
    x_val: Any
    y_val: Any

    def mapped(self, x: Callable[[Any], Any] = lambda a: a, y: Callable[[Any], Any] = lambda a: a) -> "Data":
        """Returns data with functions applied to all inputs and to all targets."""
        return Data(x(self.x), y(self.y), x(self.x_val), y(self.y_val))


@dataclass
class Setup:
    """A run that is ready to be fitted: model (compiled) and data, and how to fit it."""

    model: Any
    data: Data
    epochs: int = 8
    batch_size: int = 32
    fit: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Kind:
    """A kind of run.

    Attributes:
        name: Of the kind.
        causes: Codes of findings of which each names what is wrong; none for a healthy run.
        build: Makes the run from a seed.
    """

    name: str
    causes: tuple[str, ...]
    build: Callable[[int], Setup]

    @property
    def is_faulty(self) -> bool:
        """Whether something is wrong with it."""
        return bool(self.causes)


class Catalogue(dict[str, Kind]):
    """Kinds by name; `add` is a decorator for what makes the run."""

    def add(self, name: str, *causes: str) -> Callable[[Callable[[int], Setup]], Callable[[int], Setup]]:
        """Returns a decorator that adds a kind."""

        def register(build: Callable[[int], Setup]) -> Callable[[int], Setup]:
            self[name] = Kind(name, causes, build)
            return build

        return register


def _split(x: Any, y: Any, seed: int, *, scaled: bool, stratified: bool) -> Data:
    parts = train_test_split(x, y, test_size=0.25, random_state=seed, stratify=y if stratified else None)
    x, x_val, y, y_val = parts
    if scaled:
        mean, std = x.mean(0), x.std(0) + 1e-6
        x, x_val = (x - mean) / std, (x_val - mean) / std
    return Data(x.astype("float32"), y, x_val.astype("float32"), y_val)


@cache
def _loaded(name: str) -> tuple[Any, Any]:
    return getattr(datasets, f"load_{name}")(return_X_y=True)


def digits(seed: int) -> Data:
    """Returns 1,347 digits of 8 x 8 pixels, as rows in [0, 1]."""
    x, y = _loaded("digits")
    return _split(x / 16.0, y.astype("int32"), seed, scaled=False, stratified=True)


def pictures(seed: int) -> Data:
    """Returns the digits as (8, 8, 1)."""
    return digits(seed).mapped(x=lambda x: x.reshape(-1, 8, 8, 1))


def wine(seed: int, *, scaled: bool = True) -> Data:
    """Returns 133 wines of 3 kinds, 13 features."""
    x, y = _loaded("wine")
    return _split(x, y.astype("int32"), seed, scaled=scaled, stratified=True)


def cancer(seed: int) -> Data:
    """Returns 426 tumours of 2 kinds, 30 features; targets (n, 1)."""
    x, y = _loaded("breast_cancer")
    return _split(x, y.astype("float32")[:, None], seed, scaled=True, stratified=True)


def diabetes(seed: int, *, scaled: bool = True) -> Data:
    """Returns 331 patients, 10 features, and how the disease goes on; (n, 1), standardised or 25 .. 346."""
    x, y = _loaded("diabetes")
    data = _split(x, y.astype("float32")[:, None], seed, scaled=True, stratified=False)
    return data.mapped(y=lambda a: (a - 152) / 77) if scaled else data


def friedman(seed: int) -> Data:
    """Returns 900 rows of ten features and a smooth function of five of them; (n, 1), standardised."""
    x, y = datasets.make_friedman1(1200, noise=0.5, random_state=seed)
    return _split(x, ((y - 14.4) / 4.9).astype("float32")[:, None], seed, scaled=True, stratified=False)


def sequences(seed: int, length: int = 16) -> Data:
    """Returns 600 noisy waves of three frequencies in two channels; the class is the frequency."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, 800).astype("int32")
    t = np.arange(length)[None, :, None]
    phase = rng.uniform(0, 6.28, (800, 1, 2))
    x = np.sin(np.array([0.4, 0.9, 1.6])[y][:, None, None] * t + phase) + 0.2 * rng.normal(size=(800, length, 2))
    return _split(x, y, seed, scaled=False, stratified=True)


def sentences(seed: int, length: int = 12) -> Data:
    """Returns 750 sentences of 12 words out of 40; the class says which of two words comes first."""
    rng = np.random.default_rng(seed)
    x = rng.integers(3, 40, (1000, length))
    y = rng.integers(0, 2, 1000)
    places = np.sort(rng.permuted(np.tile(np.arange(length), (1000, 1)), axis=1)[:, :2], axis=1)
    x[np.arange(1000), places[:, 0]], x[np.arange(1000), places[:, 1]] = 1 + y, 2 - y
    data = _split(x, y.astype("int32"), seed, scaled=False, stratified=True)
    return data.mapped(x=lambda a: a.astype("int32"))


def several_labels(seed: int) -> Data:
    """Returns 750 rows of 20 features with some of five labels each; (n, 5) of 0 and 1."""
    x, y = datasets.make_multilabel_classification(1000, 20, n_classes=5, n_labels=2, random_state=seed)
    return _split(x, y.astype("float32"), seed, scaled=True, stratified=False)


def blobs(seed: int, classes: int = 6, weights: Sequence[float] | None = None) -> Data:
    """Returns 900 rows of 16 features in classes that overlap a little."""
    x, y = datasets.make_classification(
        1200, 16, n_informative=10, n_redundant=2, n_classes=classes, weights=weights, class_sep=2.0, flip_y=0.0,
        random_state=seed,
    )  # fmt: skip
    return _split(x, y.astype("int32"), seed, scaled=True, stratified=True)


def mlp(
    inputs: int, *units: int, end: int = 10, activation: str = "relu", last: str | None = "softmax", **options: Any
) -> keras.Model:
    """Returns a network of dense layers; `options` are those of the hidden ones."""
    hidden = [layers.Dense(n, activation, **options) for n in units]
    return keras.Sequential([keras.Input((inputs,)), *hidden, layers.Dense(end, last)])


def cnn(end: int = 10, last: str | None = "softmax", activation: str = "relu", **options: Any) -> keras.Model:
    """Returns two convolutions and two dense layers for 8 x 8 pictures."""
    parts = [
        layers.Conv2D(12, 3, activation=activation, **options),
        layers.Conv2D(24, 3, strides=2, activation=activation, **options),
        layers.Flatten(),
        layers.Dense(32, activation, **options),
        layers.Dense(end, last),
    ]
    return keras.Sequential([keras.Input((8, 8, 1)), *parts])


def ready(
    model: keras.Model, data: Data, optimizer: Any = "adam", loss: Any = "sparse_categorical_crossentropy", **how: Any
) -> Setup:
    """Returns a compiled run, with accuracy where the loss is one of classes."""
    name = loss if isinstance(loss, str) else getattr(loss, "name", "")
    metrics = ["accuracy"] if "crossentropy" in name else []
    model.compile(optimizer, loss, metrics=metrics)
    return Setup(model, data, **how)

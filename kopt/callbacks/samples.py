"""What a classifier makes of a few samples, looked at after each epoch without leaving a trace in the model."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kopt._backend import adapter_module
from kopt._core import checks
from kopt.callbacks.pictures import confusion_picture, predictions_picture
from kopt.callbacks.writer import image_value, text_value

_SHOWN, _CHUNK, _LEAST_SIDE = 16, 128, 8


class Samples:
    """A confusion matrix and sample predictions of a classifier.

    Args:
        samples: A pair (x, y) of inputs and targets. `x` is an array, or a list or dict of arrays, as the model takes
            it; `y` holds classes, of shape (n,) or (n, 1), or one-hot rows, of shape (n, classes).
        class_names: A name for each class, or None for their numbers.

    Raises:
        ValueError: `samples` is no such pair, or `class_names` no list of names.
        ImportError: matplotlib is not installed.
    """

    def __init__(self, samples: Any, class_names: Sequence[str] | None) -> None:
        rule = "a pair (x, y) of inputs and targets, as many of the one as of the other"
        if not isinstance(samples, tuple | list) or len(samples) != 2:
            raise checks.fail("samples", rule, type(samples).__name__)
        self._x = keras.tree.map_structure(_array, samples[0])
        self._y = _array(samples[1])
        lengths = {array.shape[0] if array.ndim else 0 for array in [*keras.tree.flatten(self._x), self._y]}
        if len(lengths) != 1 or lengths == {0}:
            shapes = [array.shape for array in [*keras.tree.flatten(self._x), self._y]]
            raise checks.fail("samples", rule, shapes, "These are the shapes.")
        if self._y.ndim > 2 or self._y.dtype.kind not in "buif" or not np.all(self._y == np.round(self._y)):
            rule = "whole numbers of shape (n,) or (n, 1), or one-hot rows of shape (n, classes)"
            raise checks.fail("samples[1]", rule, f"{self._y.dtype} of shape {self._y.shape}")
        if class_names is not None and (
            isinstance(class_names, str) or not all(isinstance(n, str) for n in class_names)
        ):
            raise checks.fail("class_names", "a list of strings", class_names)
        self._names = None if class_names is None else list(class_names)
        try:
            import matplotlib  # noqa: F401
        except ImportError as error:
            raise ImportError('`samples` needs matplotlib: pip install "keras-kopt[recipes]".') from error

    def check(self, model: Any) -> None:
        """Raises if the model does not give classes for these samples; to be called before training."""
        outputs = _outputs(model, _rows(self._x, 0, 1))
        if not isinstance(outputs, np.ndarray) or outputs.ndim > 2 or len(outputs) != 1:
            found = [np.shape(each) for each in keras.tree.flatten(outputs)]
            rule = "for a classifier with one output of shape (batch, classes), or (batch, 1) for two classes"
            raise checks.fail("samples", rule, found, "This is what the model gave for one sample.")
        classes = _classes(outputs)
        if self._y.ndim == 2 and self._y.shape[1] not in (1, classes):
            rule = f"classes, or one-hot rows of the {classes} classes of the model"
            raise checks.fail("samples[1]", rule, f"targets of shape {self._y.shape}")
        labels = self._labels()
        if labels.min() < 0 or labels.max() >= classes:
            raise checks.fail("samples[1]", f"classes from 0 to {classes - 1}", f"{labels.min()} to {labels.max()}")
        if self._names is not None and len(self._names) != classes:
            raise checks.fail("class_names", f"a list of {classes} names, one for each class", self._names)

    def values(self, model: Any) -> list[Any]:
        """Returns summary values of what the model predicts now."""
        starts = range(0, len(self._y), _CHUNK)
        outputs = np.concatenate([_outputs(model, _rows(self._x, start, start + _CHUNK)) for start in starts])
        classes = _classes(outputs)
        names = self._names or [str(number) for number in range(classes)]
        labels, found = self._labels(), _predicted(outputs, _threshold(model))
        counts = np.zeros((classes, classes), "int64")
        np.add.at(counts, (labels, found), 1)
        pairs = [(names[label], names[guess]) for label, guess in zip(labels[:_SHOWN], found[:_SHOWN], strict=True)]
        return [image_value("samples/confusion_matrix", confusion_picture(counts, names)[None]), self._shown(pairs)]

    def _labels(self) -> np.ndarray:
        wide = self._y.ndim == 2 and self._y.shape[1] > 1
        return self._y.argmax(axis=1) if wide else self._y.reshape(-1).astype("int64")

    def _shown(self, pairs: list[tuple[str, str]]) -> Any:
        tag, pictures = "samples/predictions", _as_pictures(self._x)
        if pictures is None:
            rows = [f"| {i} | {label} | {guess} |" for i, (label, guess) in enumerate(pairs)]
            return text_value(tag, "\n".join(["| sample | true class | predicted class |", "|---|---|---|", *rows]))
        right = [label == guess for label, guess in pairs]
        titles = [label if label == guess else f"{guess}, not {label}" for label, guess in pairs]
        return image_value(tag, predictions_picture(pictures[:_SHOWN], titles, right=right)[None])


def _array(value: Any) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(value) if ops.is_tensor(value) else value)


def _rows(x: Any, start: int, end: int) -> Any:
    return keras.tree.map_structure(lambda array: array[start:end], x)


def _outputs(model: Any, x: Any) -> Any:
    """Calls the model; random numbers and statistics that the call would change stay as they are."""
    x = keras.tree.map_structure(lambda array: array if array.dtype.kind in "OSU" else ops.convert_to_tensor(array), x)
    with adapter_module.without_gradients(), keras.StatelessScope():
        outputs = model(x, training=False)
        return keras.tree.map_structure(lambda each: ops.convert_to_numpy(ops.cast(each, "float32")), outputs)


def _classes(outputs: np.ndarray) -> int:
    return max(2, outputs.shape[1] if outputs.ndim == 2 else 1)


def _predicted(outputs: np.ndarray, threshold: float) -> np.ndarray:
    if outputs.ndim == 2 and outputs.shape[1] > 1:
        return outputs.argmax(axis=1)
    return (outputs.reshape(-1) > threshold).astype("int64")


def _threshold(model: Any) -> float:
    return 0.0 if getattr(model.loss, "from_logits", False) else 0.5


def _as_pictures(x: Any) -> np.ndarray | None:
    """Returns inputs as pictures of shape (n, height, width) or (n, height, width, channels), if they can be ones."""
    if not isinstance(x, np.ndarray) or x.dtype.kind not in "buif":
        return None
    if x.ndim == 4 and keras.config.image_data_format() == "channels_first":
        x = np.moveaxis(x, 1, -1)
    is_picture = x.ndim == 3 or (x.ndim == 4 and x.shape[-1] in (1, 3))
    return x if is_picture and min(x.shape[1:3]) >= _LEAST_SIDE else None

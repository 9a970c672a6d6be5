"""A Keras model as a scikit-learn classifier."""

from collections.abc import Callable, Sequence
from typing import Any, Self

import keras
import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from kopt._core import checks
from kopt.sklearn.estimator import KerasEstimator


class Classifier(ClassifierMixin, KerasEstimator):
    """A classifier whose parameters are flat, so that `GridSearchCV`, `Pipeline` and `clone` can set each.

    Parameters of the build function and of the optimizer stand beside those of the estimator: `units=32`,
    `optimizer__learning_rate=0.01`. Labels may be anything; the model sees 0 ... n_classes - 1. Its output has to be
    probabilities: softmax over the classes, or one sigmoid for two of them.

    With a `random_state` each `fit` on the same machine gives the same model, and the random states of Python, NumPy,
    Keras and PyTorch are afterwards what they were (TensorFlow's global seed is set). Pickling saves the model with
    its optimizer's state, as Keras saves it: layers of your own have to be registered with Keras.

    Attributes:
        model_: The trained Keras model.
        classes_: The labels, sorted.
        history_: Losses and metrics by epoch.
        n_features_in_: Length of the last axis but for samples: columns of `X`.

    Args:
        build: A function of keyword arguments that returns a model, not compiled; it may take `meta`, a dict with
            `n_features_in_`, `input_shape_` and `n_classes_`. If its model is compiled, that is kept. None for a
            perceptron with the parameters `hidden_layer_sizes`, `activation` and `dropout`.
        epochs: Passes over the data, >= 1.
        batch_size: Rows in a batch, >= 1.
        optimizer: A name (of `kopt.optimizers`, else of Keras), a class, or an instance.
        loss: Keras' loss; None for the cross-entropy that fits the output.
        class_weight: A dict from label to weight, "balanced", or None.
        early_stopping: Whether to hold rows out and stop when their loss no longer falls; the best weights are kept.
        validation_fraction: Share of the rows to hold out for that, in (0, 1), stratified.
        patience: Epochs without improvement to wait for.
        callbacks: Of `fit`; copied for each one. kopt's schedules in fractions are told the run without any.
        random_state: A seed, a `numpy.random.RandomState`, or None.
        verbose: Of `fit`.
        **parameters: Those of the build function, and `optimizer__<argument>`.

    Raises:
        TypeError: A parameter that nobody has.
        ValueError: (in `fit`) An argument is out of its range.

    Example:

    ```python
    def build(meta, units=16):
        return keras.Sequential([keras.layers.Dense(units, "relu"), keras.layers.Dense(meta["n_classes_"], "softmax")])

    net = kopt.sklearn.Classifier(build, epochs=20, random_state=0)
    search = GridSearchCV(net, {"units": [16, 64], "optimizer__learning_rate": [1e-3, 1e-2]}, scoring="roc_auc_ovr")
    search.fit(x, y)
    ```
    """

    def __init__(
        self,
        build: Callable[..., keras.Model] | None = None,
        *,
        epochs: int = 10,
        batch_size: int = 32,
        optimizer: Any = "adamw",
        loss: Any = None,
        class_weight: Any = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        patience: int = 10,
        callbacks: Sequence[Any] | None = None,
        random_state: Any = None,
        verbose: int = 0,
        **parameters: Any,
    ) -> None:
        super().__init__(
            build,
            epochs=epochs,
            batch_size=batch_size,
            optimizer=optimizer,
            loss=loss,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            patience=patience,
            callbacks=callbacks,
            random_state=random_state,
            verbose=verbose,
            **parameters,
        )
        self.class_weight = class_weight

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:  # noqa: N803 - scikit-learn's name
        """Builds a model and trains it.

        Args:
            X: Inputs, of shape (n, features) or (n, ...).
            y: Labels, of shape (n,).
            sample_weight: Weights of the rows, or None.
        """
        x, y, sample_weight = self._checked(X, y, sample_weight)
        check_classification_targets(y)
        y = column_or_1d(y, warn=True)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise checks.fail("y", "labels of more than one class", list(self.classes_))
        if self.class_weight is not None:
            weights = compute_sample_weight(self.class_weight, y)
            sample_weight = (weights if sample_weight is None else weights * sample_weight).astype("float32")
        meta = self._meta(x) | {"n_classes_": len(self.classes_)}
        return self._train(x, codes.astype("int32"), sample_weight, meta, _loss_of, codes)

    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803 - scikit-learn's name
        """Returns the probability of each class, of shape (n, n_classes), in the order of `classes_`.

        Args:
            X: Inputs.

        Raises:
            ValueError: The model's outputs are no probabilities.
        """
        outputs = self._outputs(X).astype("float64")
        outputs = outputs.reshape(len(outputs), -1)
        if outputs.shape[1] == 1:
            outputs = np.hstack([1 - outputs, outputs])
        wrong = outputs.min() < 0 or np.abs(outputs.sum(1) - 1).max() > 1e-2
        if outputs.shape[1] != len(self.classes_) or wrong:
            raise checks.fail("build", f"a function whose model gives {len(self.classes_)} probabilities",
                              outputs[0], "End it in softmax.")  # fmt: skip
        return outputs / outputs.sum(1, keepdims=True)

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803 - scikit-learn's name
        """Returns the most probable label of each row.

        Args:
            X: Inputs.
        """
        chosen = self.predict_proba(X).argmax(1)
        return self.classes_[chosen]


def _loss_of(model: Any) -> str:
    single = model.built and model.output_shape[-1] == 1
    return "binary_crossentropy" if single else "sparse_categorical_crossentropy"

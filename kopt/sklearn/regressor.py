"""A Keras model as a scikit-learn regressor."""

from typing import Any, Self

import numpy as np
from sklearn.base import RegressorMixin

from kopt.sklearn.estimator import KerasEstimator


class Regressor(RegressorMixin, KerasEstimator):
    """A regressor with flat parameters, for one target or several; all else is as in `kopt.sklearn.Classifier`.

    Attributes:
        model_: The trained Keras model.
        history_: Losses and metrics by epoch.
        n_features_in_: Columns of `X`.

    Args:
        build: A function of keyword arguments that returns a model, not compiled; it may take `meta`, a dict with
            `n_features_in_`, `input_shape_` and `n_outputs_`. None for a perceptron with the parameters
            `hidden_layer_sizes`, `activation` and `dropout`.
        epochs: Passes over the data, >= 1.
        batch_size: Rows in a batch, >= 1.
        optimizer: A name (of `kopt.optimizers`, else of Keras), a class, or an instance.
        loss: Keras' loss; None for the mean squared error.
        early_stopping: Whether to hold rows out and stop when their loss no longer falls; the best weights are kept.
        validation_fraction: Share of the rows to hold out for that, in (0, 1).
        patience: Epochs without improvement to wait for.
        callbacks: Of `fit`; copied for each one.
        random_state: A seed, a `numpy.random.RandomState`, or None.
        verbose: Of `fit`.
        **parameters: Those of the build function, and `optimizer__<argument>`.

    Raises:
        TypeError: A parameter that nobody has.
        ValueError: (in `fit`) An argument is out of its range.

    Example:

    ```python
    net = kopt.sklearn.Regressor(hidden_layer_sizes=(64, 64), epochs=50, early_stopping=True, random_state=0)
    make_pipeline(StandardScaler(), net).fit(x, y)
    ```
    """

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:  # noqa: N803 - scikit-learn's name
        """Builds a model and trains it.

        Args:
            X: Inputs, of shape (n, features) or (n, ...).
            y: Targets, of shape (n,) or (n, targets).
            sample_weight: Weights of the rows, or None.
        """
        x, y, sample_weight = self._checked(X, y, sample_weight, multi_output=True, y_numeric=True)
        self._is_flat = np.ndim(y) == 1
        targets = np.reshape(y, (len(y), -1)).astype("float32")
        meta = self._meta(x) | {"n_outputs_": targets.shape[1]}
        return self._train(x, targets, sample_weight, meta, lambda _: "mean_squared_error", None)

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803 - scikit-learn's name
        """Returns the prediction for each row, in the shape that `y` had.

        Args:
            X: Inputs.
        """
        outputs = self._outputs(X).astype("float64")
        return outputs.reshape(len(outputs)) if self._is_flat else outputs

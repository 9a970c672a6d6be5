"""Keras models as scikit-learn estimators with flat parameters."""

from kopt.sklearn.classifier import Classifier
from kopt.sklearn.regressor import Regressor

__all__ = ["Classifier", "Regressor"]

"""Models that train by another step than Keras' own."""

from kopt.training.sam import SAM

__all__ = ["SAM"]

"""Training by another step than Keras' own, and on batches of another size."""

from kopt.training.batch_size import BatchSizeSchedule
from kopt.training.sam import SAM

__all__ = ["SAM", "BatchSizeSchedule"]

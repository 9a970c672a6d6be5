"""Pure parts that optimizers are composed of."""

from kopt.transforms.adam import ScaleByAdam
from kopt.transforms.clip import ClipByGlobalNorm, ClipByNorm, ClipByValue
from kopt.transforms.decay import AddDecayedWeights
from kopt.transforms.momentum import Momentum
from kopt.transforms.rate import Scale, ScaleByLearningRate
from kopt.transforms.rms import ScaleByRms
from kopt.transforms.transform import Slot, Transform

__all__ = [
    "AddDecayedWeights",
    "ClipByGlobalNorm",
    "ClipByNorm",
    "ClipByValue",
    "Momentum",
    "Scale",
    "ScaleByAdam",
    "ScaleByLearningRate",
    "ScaleByRms",
    "Slot",
    "Transform",
]

"""Pure parts that optimizers are composed of."""

from kopt.transforms.adam import ScaleByAdam
from kopt.transforms.clip import ClipByGlobalNorm, ClipByNorm, ClipByRms, ClipByValue
from kopt.transforms.decay import AddDecayedWeights
from kopt.transforms.factored import ScaleByConfidence, ScaleByFactoredRms
from kopt.transforms.momentum import Momentum
from kopt.transforms.rate import RelativeStep, Scale, ScaleByLearningRate
from kopt.transforms.rms import ScaleByRms
from kopt.transforms.stable import ScaleByStableAdam
from kopt.transforms.transform import Slot, Transform
from kopt.transforms.trust import ScaleByParameterRms, TrustRatio
from kopt.transforms.variance_reduction import VarianceReduction

__all__ = [
    "AddDecayedWeights",
    "ClipByGlobalNorm",
    "ClipByNorm",
    "ClipByRms",
    "ClipByValue",
    "Momentum",
    "RelativeStep",
    "Scale",
    "ScaleByAdam",
    "ScaleByConfidence",
    "ScaleByFactoredRms",
    "ScaleByLearningRate",
    "ScaleByParameterRms",
    "ScaleByRms",
    "ScaleByStableAdam",
    "Slot",
    "Transform",
    "TrustRatio",
    "VarianceReduction",
]

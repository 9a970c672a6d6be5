"""Pure parts that optimizers are composed of."""

from kopt.transforms.adadelta import ScaleByAdadelta
from kopt.transforms.adagrad import ScaleByRss
from kopt.transforms.adam import ScaleByAdam
from kopt.transforms.clip import ClipByGlobalNorm, ClipByNorm, ClipByRms, ClipByValue
from kopt.transforms.decay import AddDecayedWeights
from kopt.transforms.factored import ScaleByConfidence, ScaleByFactoredRms
from kopt.transforms.madgrad import ScaleByMadgrad
from kopt.transforms.momentum import Momentum
from kopt.transforms.novograd import ScaleByNovograd
from kopt.transforms.rate import RelativeStep, Scale, ScaleByLearningRate
from kopt.transforms.rms import ScaleByRms
from kopt.transforms.rows import SeenRows
from kopt.transforms.rprop import ScaleByRprop
from kopt.transforms.sign import ScaleByLion, ScaleBySign
from kopt.transforms.sm3 import ScaleBySm3
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
    "ScaleByAdadelta",
    "ScaleByAdam",
    "ScaleByConfidence",
    "ScaleByFactoredRms",
    "ScaleByLearningRate",
    "ScaleByLion",
    "ScaleByMadgrad",
    "ScaleByNovograd",
    "ScaleByParameterRms",
    "ScaleByRms",
    "ScaleByRprop",
    "ScaleByRss",
    "ScaleBySign",
    "ScaleBySm3",
    "ScaleByStableAdam",
    "SeenRows",
    "Slot",
    "Transform",
    "TrustRatio",
    "VarianceReduction",
]

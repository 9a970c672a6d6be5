"""Pure parts that optimizers are composed of."""

from kopt.transforms.adabelief import ScaleByBelief
from kopt.transforms.adadelta import ScaleByAdadelta
from kopt.transforms.adagrad import ScaleByRss
from kopt.transforms.adam import ScaleByAdam
from kopt.transforms.adamax import ScaleByAdamax
from kopt.transforms.adan import ScaleByAdan
from kopt.transforms.ademamix import ScaleByAdemamix
from kopt.transforms.adopt import ScaleByAdopt
from kopt.transforms.averages import ExponentialMovingAverage, Lookahead, StochasticWeightAveraging
from kopt.transforms.cautious import Cautious
from kopt.transforms.clip import ClipByGlobalNorm, ClipByNorm, ClipByRms, ClipByValue
from kopt.transforms.cocob import ScaleByCocob
from kopt.transforms.dadapt import ScaleByDadaptAdam
from kopt.transforms.decay import AddDecayedWeights
from kopt.transforms.dog import ScaleByDog, ScaleByDowg
from kopt.transforms.factored import ScaleByConfidence, ScaleByFactoredRms
from kopt.transforms.freeze import Freeze, Unfreeze
from kopt.transforms.gradient import AdaptiveGradientClipping, CentralizeGradients, Grokfast, ZeroNonFinite
from kopt.transforms.kron import ScaleByKron
from kopt.transforms.laprop import ScaleByLaprop
from kopt.transforms.lbfgs import ScaleByLBFGS
from kopt.transforms.madgrad import ScaleByMadgrad
from kopt.transforms.mechanic import Mechanic
from kopt.transforms.momentum import Momentum
from kopt.transforms.nadam import ScaleByNadam
from kopt.transforms.noise import AddNoise
from kopt.transforms.novograd import ScaleByNovograd
from kopt.transforms.orthogonal import OrthogonalizedMomentum
from kopt.transforms.plateau import ReduceOnPlateau
from kopt.transforms.prodigy import ScaleByProdigy
from kopt.transforms.radam import ScaleByRadam
from kopt.transforms.rate import RelativeStep, Scale, ScaleByLearningRate
from kopt.transforms.rms import ScaleByRms
from kopt.transforms.rows import SeenRows
from kopt.transforms.rprop import ScaleByRprop
from kopt.transforms.schedule_free import ScheduleFree
from kopt.transforms.shampoo import ScaleByShampoo
from kopt.transforms.sign import ScaleByLion, ScaleBySign
from kopt.transforms.signed import SignedMomentum
from kopt.transforms.skip import SkipNonFinite
from kopt.transforms.sm3 import ScaleBySm3
from kopt.transforms.soap import ScaleBySoap
from kopt.transforms.stable import ScaleByStableAdam
from kopt.transforms.transform import Slot, Transform
from kopt.transforms.trust import ScaleByParameterRms, TrustRatio
from kopt.transforms.variance_reduction import VarianceReduction
from kopt.transforms.yogi import ScaleByYogi

__all__ = [
    "AdaptiveGradientClipping",
    "AddDecayedWeights",
    "AddNoise",
    "Cautious",
    "CentralizeGradients",
    "ClipByGlobalNorm",
    "ClipByNorm",
    "ClipByRms",
    "ClipByValue",
    "ExponentialMovingAverage",
    "Freeze",
    "Grokfast",
    "Lookahead",
    "Mechanic",
    "Momentum",
    "OrthogonalizedMomentum",
    "ReduceOnPlateau",
    "RelativeStep",
    "Scale",
    "ScaleByAdadelta",
    "ScaleByAdam",
    "ScaleByAdamax",
    "ScaleByAdan",
    "ScaleByAdemamix",
    "ScaleByAdopt",
    "ScaleByBelief",
    "ScaleByCocob",
    "ScaleByConfidence",
    "ScaleByDadaptAdam",
    "ScaleByDog",
    "ScaleByDowg",
    "ScaleByFactoredRms",
    "ScaleByKron",
    "ScaleByLBFGS",
    "ScaleByLaprop",
    "ScaleByLearningRate",
    "ScaleByLion",
    "ScaleByMadgrad",
    "ScaleByNadam",
    "ScaleByNovograd",
    "ScaleByParameterRms",
    "ScaleByProdigy",
    "ScaleByRadam",
    "ScaleByRms",
    "ScaleByRprop",
    "ScaleByRss",
    "ScaleByShampoo",
    "ScaleBySign",
    "ScaleBySm3",
    "ScaleBySoap",
    "ScaleByStableAdam",
    "ScaleByYogi",
    "ScheduleFree",
    "SeenRows",
    "SignedMomentum",
    "SkipNonFinite",
    "Slot",
    "StochasticWeightAveraging",
    "Transform",
    "TrustRatio",
    "Unfreeze",
    "VarianceReduction",
    "ZeroNonFinite",
]

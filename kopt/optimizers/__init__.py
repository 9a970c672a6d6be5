"""Named optimizers, chains of your own, and groups of variables."""

from kopt.optimizers.adabelief import AdaBelief
from kopt.optimizers.adadelta import Adadelta
from kopt.optimizers.adafactor import Adafactor
from kopt.optimizers.adagrad import Adagrad
from kopt.optimizers.adam import Adam
from kopt.optimizers.adamax import Adamax
from kopt.optimizers.adamw import AdamW
from kopt.optimizers.adan import Adan
from kopt.optimizers.ademamix import AdEMAMix
from kopt.optimizers.adopt import ADOPT
from kopt.optimizers.came import CAME
from kopt.optimizers.cocob import COCOB
from kopt.optimizers.composed import Composed
from kopt.optimizers.dadapt_adam import DAdaptAdam
from kopt.optimizers.description import Description
from kopt.optimizers.dog import DoG
from kopt.optimizers.dowg import DoWG
from kopt.optimizers.driver import ComposedOptimizer
from kopt.optimizers.group import Group
from kopt.optimizers.keywords import Keywords
from kopt.optimizers.kron import Kron
from kopt.optimizers.lamb import LAMB
from kopt.optimizers.laprop import LaProp
from kopt.optimizers.lars import LARS
from kopt.optimizers.lazy_adam import LazyAdam
from kopt.optimizers.lbfgs import LBFGS
from kopt.optimizers.lion import Lion
from kopt.optimizers.madgrad import MADGRAD
from kopt.optimizers.mars import MARS
from kopt.optimizers.model_groups import layerwise_decay, no_decay_groups
from kopt.optimizers.muon import Muon
from kopt.optimizers.nadam import NAdam
from kopt.optimizers.nadamw import NAdamW
from kopt.optimizers.novograd import NovoGrad
from kopt.optimizers.prodigy import Prodigy
from kopt.optimizers.radam import RAdam
from kopt.optimizers.rmsprop import RMSprop
from kopt.optimizers.rprop import Rprop
from kopt.optimizers.schedule_free_adamw import ScheduleFreeAdamW
from kopt.optimizers.schedule_free_sgd import ScheduleFreeSGD
from kopt.optimizers.scion import Scion
from kopt.optimizers.sgd import SGD
from kopt.optimizers.sgdw import SGDW
from kopt.optimizers.shampoo import Shampoo
from kopt.optimizers.signum import Signum
from kopt.optimizers.sm3 import SM3
from kopt.optimizers.soap import SOAP
from kopt.optimizers.stable_adamw import StableAdamW
from kopt.optimizers.yogi import Yogi

__all__ = [
    "ADOPT",
    "CAME",
    "COCOB",
    "LAMB",
    "LARS",
    "LBFGS",
    "MADGRAD",
    "MARS",
    "SGD",
    "SGDW",
    "SM3",
    "SOAP",
    "AdEMAMix",
    "AdaBelief",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Adan",
    "Composed",
    "ComposedOptimizer",
    "DAdaptAdam",
    "Description",
    "DoG",
    "DoWG",
    "Group",
    "Keywords",
    "Kron",
    "LaProp",
    "LazyAdam",
    "Lion",
    "Muon",
    "NAdam",
    "NAdamW",
    "NovoGrad",
    "Prodigy",
    "RAdam",
    "RMSprop",
    "Rprop",
    "ScheduleFreeAdamW",
    "ScheduleFreeSGD",
    "Scion",
    "Shampoo",
    "Signum",
    "StableAdamW",
    "Yogi",
    "layerwise_decay",
    "no_decay_groups",
]

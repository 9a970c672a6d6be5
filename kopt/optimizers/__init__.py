"""Named optimizers, chains of your own, and groups of variables."""

from kopt.optimizers.adam import Adam
from kopt.optimizers.adamw import AdamW
from kopt.optimizers.composed import Composed
from kopt.optimizers.description import Description
from kopt.optimizers.driver import ComposedOptimizer
from kopt.optimizers.group import Group
from kopt.optimizers.keywords import Keywords
from kopt.optimizers.model_groups import layerwise_decay, no_decay_groups
from kopt.optimizers.rmsprop import RMSprop
from kopt.optimizers.sgd import SGD

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "Composed",
    "ComposedOptimizer",
    "Description",
    "Group",
    "Keywords",
    "RMSprop",
    "layerwise_decay",
    "no_decay_groups",
]

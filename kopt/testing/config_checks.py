"""Is the optimizer's config complete, and does JSON hold it?"""

import copy
import json
import pickle
from collections.abc import Callable
from typing import Any

import keras
import pytest

from kopt.optimizers import ComposedOptimizer, Group
from kopt.testing import problems
from kopt.transforms import ClipByNorm, ClipByValue, Momentum

Make = Callable[..., ComposedOptimizer]

VARIANTS: dict[str, Callable[[], dict[str, Any]]] = {
    "plain": dict,
    "schedule": lambda: {"learning_rate": keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)},
    "parts": lambda: {"before": [ClipByValue(0.5)], "after": [ClipByNorm(2.0)]},
    "groups": lambda: {
        "groups": [
            Group("first/", learning_rate=0.5, weight_decay=0.1, name="slow"),
            Group("bias$", transforms=[Momentum(0.5, nesterov=True)]),
            Group("kernel$", frozen=True),
        ]
    },
    "keywords": lambda: {
        "global_clipnorm": 0.5,
        "use_ema": True,
        "ema_momentum": 0.5,
        "ema_overwrite_frequency": 3,
        "loss_scale_factor": 8.0,
        "name": "other",
    },
    "accumulation": lambda: {"gradient_accumulation_steps": 2},
}


def through_json(optimizer: ComposedOptimizer) -> ComposedOptimizer:
    """Returns the optimizer that `optimizer`'s config becomes after a way through JSON."""
    config = json.loads(json.dumps(optimizer.get_config()))
    return type(optimizer).from_config(config)


class ConfigChecks:
    """config -> JSON -> config, for an optimizer with and without what it can be given."""

    @pytest.mark.parametrize("variant", VARIANTS)
    def test_config_survives_json(self, make: Make, variant: str) -> None:
        optimizer = make(**VARIANTS[variant]())
        revived = through_json(optimizer)
        assert revived.get_config() == optimizer.get_config()
        assert vars(revived).keys() == vars(optimizer).keys()
        assert revived.arguments.keys() == optimizer.arguments.keys()

    @pytest.mark.parametrize("variant", ["plain", "schedule", "parts", "groups", "keywords"])
    def test_revived_optimizer_takes_the_same_steps(self, make: Make, variant: str) -> None:
        optimizer = make(**VARIANTS[variant]())
        revived = through_json(optimizer)
        problems.assert_same(problems.walk(revived), problems.walk(optimizer))
        assert revived.get_config() == optimizer.get_config()

    def test_config_of_a_built_optimizer_survives_json(self, make: Make) -> None:
        optimizer = make(**VARIANTS["groups"]())
        expected = problems.walk(optimizer)
        revived = through_json(optimizer)
        assert revived.get_config() == optimizer.get_config()
        problems.assert_same(problems.walk(revived), expected)

    def test_keras_serializes_it_by_its_registered_name(self, make: Make) -> None:
        optimizer = make()
        config = json.loads(json.dumps(keras.saving.serialize_keras_object(optimizer)))
        revived = keras.saving.deserialize_keras_object(config)
        assert type(revived) is type(optimizer)
        assert revived.get_config() == optimizer.get_config()
        again = keras.optimizers.get(keras.optimizers.serialize(optimizer))
        assert type(again) is type(optimizer)

    def test_config_can_be_copied_and_pickled(self, make: Make) -> None:
        config = make(**VARIANTS["groups"]()).get_config()
        assert copy.deepcopy(config) == config
        assert pickle.loads(pickle.dumps(config)) == config

    def test_from_config_leaves_its_argument_alone(self, make: Make) -> None:
        optimizer = make(**VARIANTS["schedule"](), groups=[Group("kernel", learning_rate=0.1)])
        config = optimizer.get_config()
        before = copy.deepcopy(config)
        type(optimizer).from_config(config)
        assert config == before

    def test_two_from_one_config_are_independent(self, make: Make) -> None:
        config = make(groups=[Group("kernel", learning_rate=0.1)]).get_config()
        first, second = type(make()).from_config(config), type(make()).from_config(config)
        expected = problems.walk(first)
        problems.assert_same(problems.walk(second), expected)

    def test_weight_decay_exclusions_survive_json(self, make: Make) -> None:
        def excluding(optimizer: ComposedOptimizer) -> ComposedOptimizer:
            optimizer.exclude_from_weight_decay(var_names=["first/"])
            return optimizer

        expected = problems.walk(excluding(make(weight_decay=0.5)))
        problems.assert_same(problems.walk(through_json(excluding(make(weight_decay=0.5)))), expected)

    def test_unknown_keyword_raises(self, make: Make) -> None:
        with pytest.raises(TypeError, match="no_such_keyword"):
            make(no_such_keyword=1)

    def test_misspelt_keyword_is_corrected(self, make: Make) -> None:
        with pytest.raises(TypeError, match="Did you mean `weight_decay`"):
            make(wieght_decay=0.1)

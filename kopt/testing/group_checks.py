"""Do groups of variables get what they were promised?"""

from typing import Any, ClassVar

import keras
import numpy as np
import pytest

from kopt.optimizers import Composed, Group
from kopt.testing import problems
from kopt.testing.config_checks import Make, through_json
from kopt.transforms import Momentum

KERNELS, BIASES = (0, 2), (1, 3)


def _only(arrays: problems.Arrays, indices: tuple[int, ...]) -> problems.Arrays:
    return [arrays[i] for i in indices]


class GroupChecks:
    """Factor, decay, frozen variables and chains of their own.

    `supports` is that of `StepChecks`: where variables depend on each other, values in and out of a group cannot be
    compared with runs without groups.
    """

    supports: ClassVar[frozenset[str]]

    def _compare(self, actual: problems.Arrays, expected: problems.Arrays) -> None:
        if "independent" in self.supports:
            problems.assert_close(actual, expected)

    def test_factor_on_the_learning_rate(self, make: Make) -> None:
        grouped = problems.walk(make(learning_rate=0.5, groups=[Group("kernel$", learning_rate=0.25)]))
        self._compare(_only(grouped, KERNELS), _only(problems.walk(make(learning_rate=0.125)), KERNELS))
        self._compare(_only(grouped, BIASES), _only(problems.walk(make(learning_rate=0.5)), BIASES))

    def test_factor_on_a_schedule(self, make: Make) -> None:
        schedule = keras.optimizers.schedules.ExponentialDecay(0.5, 1, 0.5)
        smaller = keras.optimizers.schedules.ExponentialDecay(0.125, 1, 0.5)
        grouped = problems.walk(make(learning_rate=schedule, groups=[Group("kernel$", learning_rate=0.25)]))
        self._compare(_only(grouped, KERNELS), _only(problems.walk(make(learning_rate=smaller)), KERNELS))

    def test_factor_zero_leaves_the_weights(self, make: Make) -> None:
        grouped = problems.walk(make(weight_decay=0.0, groups=[Group("kernel$", learning_rate=0.0)]))
        problems.assert_same(_only(grouped, KERNELS), _only(problems.start_values(), KERNELS))

    def test_factors_by_name(self, make: Make) -> None:
        groups = [Group("kernel$", learning_rate=0.25), Group("first/", name="rest", learning_rate=2.0)]
        optimizer = make(groups=[*groups, Group("bias$", frozen=True)])
        assert optimizer.group_factors == {"kernel$": 0.25, "rest": 2.0}

    def test_own_weight_decay(self, make: Make) -> None:
        grouped = problems.walk(make(weight_decay=0.3, groups=[Group("kernel$", weight_decay=0.1)]))
        self._compare(_only(grouped, KERNELS), _only(problems.walk(make(weight_decay=0.1)), KERNELS))
        self._compare(_only(grouped, BIASES), _only(problems.walk(make(weight_decay=0.3)), BIASES))

    def test_own_weight_decay_of_zero(self, make: Make) -> None:
        grouped = problems.walk(make(weight_decay=0.3, groups=[Group("bias$", weight_decay=0.0)]))
        self._compare(_only(grouped, BIASES), _only(problems.walk(make(weight_decay=0.0)), BIASES))

    def test_excluded_from_weight_decay(self, make: Make) -> None:
        variables, optimizer = problems.variables(), make(weight_decay=0.3)
        optimizer.exclude_from_weight_decay(var_list=variables[:1], var_names=["second/"])
        mixed = problems.walk(optimizer, on=variables)
        plain, decayed = problems.walk(make(weight_decay=0.0)), problems.walk(make(weight_decay=0.3))
        self._compare(mixed, [plain[0], decayed[1], plain[2], plain[3]])

    def test_frozen_variables_stay_and_have_no_state(self, make: Make) -> None:
        optimizer = make(global_clipnorm=0.5, weight_decay=0.3, groups=[Group("first/", frozen=True)])
        grouped = problems.walk(optimizer)
        problems.assert_same(grouped[:2], problems.start_values()[:2])
        assert not any("first" in slot.name for slot in optimizer.slot_variables)
        # They count in no global norm either: the others move as if they were alone.
        alone, rest = make(global_clipnorm=0.5, weight_decay=0.3), problems.variables()[2:]
        self._compare(grouped[2:], problems.walk(alone, on=rest, gradient=lambda step: problems.gradients(step)[2:]))

    def test_own_transforms(self, make: Make) -> None:
        settings: dict[str, Any] = {"learning_rate": 0.1, "weight_decay": 0.2, "clipnorm": 0.5}
        grouped = problems.walk(make(**settings, groups=[Group("bias$", transforms=[Momentum(0.5)])]))
        around = make(**settings)._assignment  # Wrappers of its own stand around the group's chain too.
        own = problems.walk(Composed([Momentum(0.5)], **settings, before=around.before, after=around.after))
        problems.assert_close(_only(grouped, BIASES), _only(own, BIASES))
        self._compare(_only(grouped, KERNELS), _only(problems.walk(make(**settings)), KERNELS))

    def test_callable_equals_pattern(self, make: Make) -> None:
        by_pattern = problems.walk(make(groups=[Group("kernel$", learning_rate=0.1)]))
        by_function = problems.walk(make(groups=[Group(lambda v: len(v.shape) == 2, learning_rate=0.1)]))
        problems.assert_same(by_function, by_pattern)

    def test_first_match_wins(self, make: Make) -> None:
        both = problems.walk(make(groups=[Group("first/", learning_rate=0.1), Group("", learning_rate=2.0)]))
        one = problems.walk(make(groups=[Group("first/", learning_rate=0.1), Group("second/", learning_rate=2.0)]))
        problems.assert_same(both, one)

    def test_matching_function_outlives_the_config_once_resolved(self, make: Make) -> None:
        optimizer = make(groups=[Group(lambda v: "first" in v.path, learning_rate=0.1)])
        expected = problems.walk(optimizer)
        revived = through_json(optimizer)
        with keras.name_scope("elsewhere"):  # loading renames paths
            renamed = [keras.Variable(value, name=f"variable_{i}") for i, value in enumerate(problems.start_values())]
        problems.assert_same(problems.walk(revived, on=renamed), expected)

    def test_matching_function_that_was_never_resolved_says_so(self, make: Make) -> None:
        revived = through_json(make(groups=[Group(lambda v: "first" in v.path, learning_rate=0.1)]))
        with pytest.raises(ValueError, match="register_keras_serializable"):
            revived.build(problems.variables())

    def test_group_that_matches_nothing_raises(self, make: Make) -> None:
        optimizer = make(groups=[Group("no_such_layer/")])
        with pytest.raises(ValueError, match=r"no_such_layer/(.|\n)*second/kernel"):
            optimizer.build(problems.variables())

    def test_all_frozen_is_a_fixed_point(self, make: Make) -> None:
        optimizer = make(groups=[Group("", frozen=True)])
        problems.assert_same(problems.walk(optimizer), problems.start_values())
        assert not optimizer.slot_variables
        assert int(np.asarray(problems.values([optimizer.iterations])[0])) == 3

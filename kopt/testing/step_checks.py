"""Does one step do what its arguments say, applied by hand to bare variables?"""

from collections.abc import Callable
from typing import Any, ClassVar

import keras
import numpy as np
import pytest
from keras import ops

from kopt.testing import problems
from kopt.testing.config_checks import Make

CLIPPERS: dict[str, Callable[[problems.Arrays], problems.Arrays]] = {
    "clipnorm": lambda arrays: [g * min(1, 0.5 / np.linalg.norm(g)) for g in arrays],
    "clipvalue": lambda arrays: [np.clip(g, -0.5, 0.5) for g in arrays],
    "global_clipnorm": lambda arrays: [g * min(1, 0.5 / _global_norm(arrays)) for g in arrays],
}


def _global_norm(arrays: problems.Arrays) -> float:
    return float(np.sqrt(sum(np.sum(np.square(g)) for g in arrays)))


def _rate(optimizer: keras.optimizers.Optimizer) -> float:
    return float(ops.convert_to_numpy(optimizer.learning_rate))


class StepChecks:
    """Weights, state and dtypes after a few steps.

    Attributes:
        supports: `"fixed_point"`: without weight decay, zero gradients from the start leave the weights as they are.
            `"independent"`: what happens to one variable does not depend on the gradients of others. `"sparse"`: see
            `TrainingChecks`.
        own_state: How many numbers of state are kept once for all variables.
    """

    supports: ClassVar[frozenset[str]] = frozenset({"fixed_point", "independent", "sparse"})
    own_state: ClassVar[int] = 0

    def state_of(self, shape: tuple[int, ...]) -> int | None:
        """Returns how many numbers of state are kept for a variable of this shape; None leaves it unchecked."""
        return None

    def test_zero_gradients_leave_the_weights(self, make: Make) -> None:
        if "fixed_point" not in self.supports:
            pytest.skip("moves without gradients, by definition")
        zeros = [np.zeros_like(g) for g in problems.gradients(0)]
        problems.assert_same(problems.walk(make(weight_decay=0.0), gradient=lambda _: zeros), problems.start_values())

    @pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "float64"])
    def test_dtypes_are_kept(self, make: Make, dtype: str) -> None:
        if not problems.has_dtype(dtype):
            pytest.skip(f"the backend is not set up for {dtype}")
        optimizer, variables = make(), problems.variables(dtype)
        for step in range(3):
            optimizer.apply(problems.tensors(problems.gradients(step), dtype), variables)
        assert {keras.backend.standardize_dtype(v.value.dtype) for v in variables} == {dtype}
        state = {keras.backend.standardize_dtype(v.value.dtype) for v in optimizer.slot_variables}
        assert state <= {"float32", dtype if dtype == "float64" else "float32"}
        for value, start in zip(problems.values(variables), problems.start_values(), strict=True):
            assert np.all(np.isfinite(value))
            assert np.any(value != start)

    def test_state_has_the_promised_size(self, make: Make) -> None:
        promised = [self.state_of(shape) for shape in problems.SHAPES.values()]
        if None in promised:
            pytest.skip("`state_of` says nothing")
        optimizer = make()
        optimizer.build(problems.variables())
        sizes = [int(np.prod(slot.shape)) for slot in optimizer.slot_variables]
        assert sum(sizes) == sum(filter(None, promised)) + self.own_state

    def test_equal_runs_are_equal(self, make: Make) -> None:
        problems.assert_same(problems.walk(make()), problems.walk(make()))

    def test_learning_rate_may_be_an_integer_or_a_callable(self, make: Make) -> None:
        expected = problems.walk(make(learning_rate=1.0))
        problems.assert_same(problems.walk(make(learning_rate=1)), expected)
        problems.assert_same(problems.walk(make(learning_rate=lambda: 1.0)), expected)

    def test_learning_rate_can_be_set(self, make: Make) -> None:
        optimizer = make(learning_rate=1.0)
        optimizer.learning_rate = 0.25
        assert _rate(optimizer) == 0.25
        problems.assert_same(problems.walk(optimizer), problems.walk(make(learning_rate=0.25)))

    def test_schedule_is_the_rate_of_each_step(self, make: Make) -> None:
        schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)
        by_hand, variables = make(learning_rate=1.0), problems.variables()
        for step in range(3):
            by_hand.learning_rate = 0.1 * 0.5**step
            by_hand.apply(problems.tensors(problems.gradients(step)), variables)
        scheduled = make(learning_rate=schedule)
        problems.assert_close(problems.walk(scheduled), problems.values(variables))
        np.testing.assert_allclose(_rate(scheduled), 0.1 * 0.5**3, rtol=1e-6)

    def test_accumulation_equals_the_mean_gradient(self, make: Make) -> None:
        schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)
        settings: dict[str, Any] = {"learning_rate": schedule, "use_ema": True, "ema_momentum": 0.5}
        accumulating, small = make(gradient_accumulation_steps=2, **settings), problems.variables()
        for micro_step in range(4):
            accumulating.apply(problems.tensors(problems.gradients(micro_step)), small)
            if micro_step == 0:
                problems.assert_same(problems.values(small), problems.start_values())
        whole, large = make(**settings), problems.variables()
        problems.walk(whole, 2, on=large, gradient=lambda step: _mean(2 * step, 2 * step + 1))
        problems.assert_close(problems.values(small), problems.values(large))
        assert int(ops.convert_to_numpy(accumulating.iterations)) == 2
        for optimizer, variables in ((accumulating, small), (whole, large)):
            optimizer.finalize_variable_values(variables)
        problems.assert_close(problems.values(small), problems.values(large))

    @pytest.mark.parametrize("keyword", CLIPPERS)
    def test_clipping_equals_clipped_gradients(self, make: Make, keyword: str) -> None:
        clip = CLIPPERS[keyword]
        expected = problems.walk(make(), gradient=lambda step: clip(problems.gradients(step)))
        problems.assert_close(problems.walk(make(**{keyword: 0.5})), expected, 3e-6)

    def test_average_of_weights(self, make: Make) -> None:
        plain, variables = make(), problems.variables()
        average: problems.Arrays = []
        for step in range(4):
            plain.apply(problems.tensors(problems.gradients(step)), variables)
            new = problems.values(variables)
            average = [0.75 * a + 0.25 * x for a, x in zip(average, new, strict=True)] if average else new
        averaging, averaged = make(use_ema=True, ema_momentum=0.75), problems.variables()
        problems.assert_close(problems.walk(averaging, 4, on=averaged), problems.values(variables))
        averaging.finalize_variable_values(averaged)
        problems.assert_close(problems.values(averaged), average)

    def test_average_replaces_the_weights(self, make: Make) -> None:
        optimizer = make(use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=2)
        variables = problems.variables()
        first = problems.walk(make(), 1)
        problems.assert_close(problems.walk(optimizer, 1, on=variables), first)
        optimizer.apply(problems.tensors(problems.gradients(1)), variables)
        second = problems.walk(make(), 2)
        average = [0.5 * (a + b) for a, b in zip(first, second, strict=True)]
        problems.assert_close(problems.values(variables), average)

    def test_loss_scale_is_divided_out(self, make: Make) -> None:
        scaled = problems.walk(make(loss_scale_factor=8.0), gradient=lambda t: [8 * g for g in problems.gradients(t)])
        problems.assert_same(scaled, problems.walk(make()))

    def test_missing_gradient_leaves_its_variable(self, make: Make) -> None:
        optimizer, variables = make(), problems.variables()
        with pytest.warns(UserWarning, match="Gradients do not exist"):
            problems.walk(optimizer, 1, on=variables, gradient=lambda step: [*problems.gradients(step)[:3], None])
        moved = problems.values(variables)
        problems.assert_same(moved[3:], problems.start_values()[3:])
        if "independent" in self.supports:
            problems.assert_close(moved[:3], problems.walk(make(), 1)[:3])
        problems.walk(optimizer, 1, on=variables)
        assert np.any(problems.values(variables)[3] != problems.start_values()[3])

    def test_apply_on_some_variables_moves_only_those(self, make: Make) -> None:
        optimizer, variables = make(), problems.variables()
        optimizer.build(variables)
        state = problems.values(optimizer.slot_variables)
        for step in range(2):  # some look at the first gradient only
            optimizer.apply(problems.tensors(problems.gradients(step)[1:2]), variables[1:2])
        moved = problems.values(variables)
        problems.assert_same([moved[i] for i in (0, 2, 3)], [problems.start_values()[i] for i in (0, 2, 3)])
        assert np.any(moved[1] != problems.start_values()[1])
        own = {
            layer.replace("/", "_"): value
            for layer, value in zip(problems.SHAPES, problems.start_values(), strict=True)
        }
        for before, slot in zip(state, optimizer.slot_variables, strict=True):
            owner = next((name for name in own if slot.name.startswith(f"{name}_")), "first_bias")
            if owner != "first_bias":  # a copy of the start is made at step 1 for all variables
                value = problems.values([slot])[0]
                starts = value.size == own[owner].size and np.array_equal(value.ravel(), own[owner].ravel())
                assert starts or np.array_equal(value, before)

    def test_unknown_variable_raises(self, make: Make) -> None:
        optimizer = make()
        optimizer.build(problems.variables())
        with pytest.raises(ValueError, match="Unknown variable"):
            optimizer.apply(problems.tensors(problems.gradients(0)), problems.variables())

    def test_constraint_holds(self, make: Make) -> None:
        variables = problems.variables()
        variables[0].constraint = keras.constraints.NonNeg()
        assert np.all(problems.walk(make(), on=variables)[0] >= 0)

    def test_pure_step_equals_apply_and_writes_nothing(self, make: Make) -> None:
        optimizer, variables = make(), problems.variables()
        optimizer.build(variables)
        params = problems.tensors(problems.start_values())
        slots = [ops.copy(slot.value) for slot in optimizer.slot_variables]
        for step in range(3):
            params, slots = optimizer.pure_step(params, problems.tensors(problems.gradients(step)), slots, step)
        problems.assert_same(problems.values(variables), problems.start_values())
        problems.walk(optimizer, on=variables)
        problems.assert_close(problems.values(variables), problems.values(params))
        problems.assert_close(problems.values(optimizer.slot_variables), problems.values(slots))

    def test_update_step_says_what_to_call(self, make: Make) -> None:
        with pytest.raises(RuntimeError, match="apply"):
            make().update_step(None, None, 0.1)


def _mean(first: int, last: int) -> problems.Arrays:
    steps = [problems.gradients(step) for step in range(first, last + 1)]
    return [np.mean(parts, axis=0, dtype="float32") for parts in zip(*steps, strict=True)]

"""The suite for transforms: are they pure, and do they keep to what they declare?"""

import copy
import json
import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import keras
import numpy as np
import pytest
from keras import ops

from kopt.optimizers import Composed
from kopt.testing import problems
from kopt.transforms import Slot, Transform
from kopt.transforms.transform import State

MakeTransform = Callable[..., Transform]

SHAPES: tuple[tuple[int, ...], ...] = ((), (3,), (4, 3), (2, 3, 4), (2, 2, 3, 2))
COPIES = 8


class Inputs:
    """All that a transform is given at one step, for variables of every rank.

    Args:
        transform: The transform.
        seed: Of the random numbers.
        dtype: Of updates, values and state: float32 or float64.
        t: The step.
        learning_rate: Of the step.
        shapes: Of the variables.
    """

    def __init__(
        self,
        transform: Transform,
        seed: int = 0,
        dtype: str = "float32",
        t: float = 3.0,
        learning_rate: float = 0.1,
        shapes: Sequence[tuple[int, ...]] = SHAPES,
    ) -> None:
        self.rng = np.random.default_rng(seed)
        variables = [keras.Variable(self.draw(shape), dtype=dtype) for shape in shapes]
        self.updates = [ops.convert_to_tensor(self.draw(shape), dtype) for shape in shapes]
        self.params = [ops.convert_to_tensor(self.draw(shape), dtype) for shape in shapes]
        self.slots = [self.filled(transform.slots(v), tuple(v.shape), dtype) for v in variables]
        if transform.sees_gradient:
            gradients = [ops.convert_to_tensor(self.draw(shape) - 0.5, dtype) for shape in shapes]
            self.slots = [state | {"gradient": g} for state, g in zip(self.slots, gradients, strict=True)]
        self.own = self.filled(transform.own_slots(), (), "float32")
        self.h = scalars_of(transform, t, learning_rate)

    def draw(self, shape: tuple[int, ...]) -> np.ndarray:
        """Returns numbers in [0.1, 1]: such state is possible for means of squares, too."""
        return self.rng.uniform(0.1, 1.0, size=shape).astype("float32")

    def filled(self, slots: Sequence[Slot], shape: tuple[int, ...], dtype: str) -> State:
        """Returns state of the declared names and shapes."""
        return {s.name: ops.convert_to_tensor(self._state(shape if s.shape is None else s.shape), dtype) for s in slots}

    def _state(self, shape: tuple[int, ...]) -> np.ndarray:
        """Returns random numbers; a square matrix, which may be decomposed, with a heavy diagonal: well-conditioned."""
        square = len(shape) > 1 and shape[-1] == shape[-2]
        return self.draw(shape) + (shape[-1] * np.eye(shape[-1], dtype="float32") if square else 0)

    def arrays(self) -> list[np.ndarray]:
        """Returns copies of all the numbers."""
        states = [tensor for state in (*self.slots, self.own, self.h) for tensor in state.values()]
        return [np.array(ops.convert_to_numpy(x)) for x in [*self.updates, *self.params, *states]]


def scalars_of(transform: Transform, t: float, learning_rate: float) -> State:
    """Returns the scalars as the driver hands them to `update`."""
    given = transform.scalars(ops.convert_to_tensor(t, "float32"), ops.convert_to_tensor(learning_rate, "float32"))
    return {name: ops.convert_to_tensor(value, "float32") for name, value in given.items()}


def step(transform: Transform, inputs: Inputs, dtype: str = "float32") -> tuple[list[Any], list[State], State, State]:
    """Runs `shared`, then `update` for each variable; returns updates, state, own state, and what `shared` added."""
    extra, own = transform.shared(inputs.updates, inputs.params, inputs.slots, inputs.own, inputs.h)
    h = {name: ops.cast(value, dtype) for name, value in (inputs.h | extra).items()}
    triples = zip(inputs.updates, inputs.params, inputs.slots, strict=True)
    results = [transform.update(u, x, slots, h) for u, x, slots in triples]
    return [u for u, _ in results], [state for _, state in results], own, extra


def flat(result: tuple[list[Any], list[State], State, State]) -> list[np.ndarray]:
    """Returns all the numbers that `step` returned."""
    updates, states, own, _ = result
    # Sorted: JAX hands dictionaries back in the order of their keys.
    tensors = [*updates, *(state[name] for state in (*states, own) for name in sorted(state))]
    return [np.array(ops.convert_to_numpy(x)) for x in tensors]


class TransformContract:
    """What the driver relies on in a transform, as tests that pytest runs.

    ```python
    from kopt.testing import TransformContract

    class TestMine(TransformContract):
        @pytest.fixture
        def make(self):
            return lambda **overrides: Mine(**{"beta": 0.9, **overrides})
    ```

    Attributes:
        shapes: Of the variables that the transform is run on.
    """

    shapes: ClassVar[Sequence[tuple[int, ...]]] = SHAPES

    def _inputs(self, transform: Transform, seed: int = 0, **options: Any) -> Inputs:
        return Inputs(transform, seed, shapes=self.shapes, **options)

    @pytest.fixture
    def make(self) -> MakeTransform:
        """Returns a function that builds the transform, with some arguments changed."""
        raise NotImplementedError(f"{type(self).__name__} must define the fixture `make`.")

    def test_config_survives_json(self, make: MakeTransform) -> None:
        transform = make()
        config = json.loads(json.dumps(transform.get_config()))
        revived = type(transform).from_config(copy.deepcopy(config))
        assert revived.get_config() == transform.get_config() == config
        assert vars(revived).keys() == vars(transform).keys()
        assert (
            flat(step(revived, self._inputs(revived)))[0].tolist()
            == flat(step(transform, self._inputs(transform)))[0].tolist()
        )

    def test_keras_serializes_it_by_its_registered_name(self, make: MakeTransform) -> None:
        transform = make()
        config = json.loads(json.dumps(keras.saving.serialize_keras_object(transform)))
        revived = keras.saving.deserialize_keras_object(config)
        assert type(revived) is type(transform)
        assert revived.get_config() == transform.get_config()

    def test_unknown_keyword_raises(self, make: MakeTransform) -> None:
        with pytest.raises(TypeError, match="no_such_keyword"):
            make(no_such_keyword=1)

    def test_slots_are_declared_in_full(self, make: MakeTransform) -> None:
        transform = make()
        for shape in self.shapes:
            slots = list(transform.slots(keras.Variable(np.zeros(shape, "float32"))))
            self._check_slots(slots)
            assert slots == list(transform.slots(keras.Variable(np.ones(shape, "float32"))))
            for slot in slots:
                assert slot.start != "variable" or slot.shape in (None, shape)
        own = list(transform.own_slots())
        self._check_slots(own)
        assert all(slot.shape is not None and not isinstance(slot.start, str) for slot in own)

    def _check_slots(self, slots: Sequence[Slot]) -> None:
        assert len({slot.name for slot in slots}) == len(slots)
        for slot in slots:
            assert isinstance(slot, Slot)
            assert slot.shape is None or all(isinstance(size, int) for size in slot.shape)
            assert slot.start in ("variable", "decided") or math.isfinite(float(slot.start))

    def test_numbers_are_decided_for_all_variables(self, make: MakeTransform) -> None:
        transform, variables = make(), problems.variables()
        decided = transform.decide(variables)
        if decided is None:
            assert not any(slot.start == "decided" for v in variables for slot in transform.slots(v))
            return
        assert len(decided) == len(variables)
        assert json.loads(json.dumps(decided)) == decided
        assert all(math.isfinite(number) for number in decided)

    def test_class_says_what_it_is(self, make: MakeTransform) -> None:
        transform = make()
        assert isinstance(transform.elementwise, bool)
        assert isinstance(transform.clips, bool)
        assert transform.acts_on in ("direction", "step")
        assert not (transform.clips and list(transform.slots(keras.Variable(0.0)))), "A clipper has no state."

    @pytest.mark.parametrize("t", [1.0, 2.0, 1e6])
    def test_scalars_are_scalars(self, make: MakeTransform, t: float) -> None:
        for rate in (0.0, 0.1):
            for name, value in scalars_of(make(), t, rate).items():
                assert tuple(value.shape) == (), name
                assert np.isfinite(ops.convert_to_numpy(value)), name

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_update_keeps_shapes_and_dtypes(self, make: MakeTransform, dtype: str) -> None:
        if not problems.computes_in(dtype):
            pytest.skip(f"Keras does not compute in {dtype} on this backend as it is set up")
        transform = make()
        inputs = self._inputs(transform, dtype=dtype)
        updates, states, own, extra = step(transform, inputs, dtype)
        for u, old in zip(updates, inputs.updates, strict=True):
            _assert_alike(u, old)
        for state, old_state in zip([*states, own], [*inputs.slots, inputs.own], strict=True):
            assert state.keys() == old_state.keys()
            for name in state:
                _assert_alike(state[name], old_state[name])
        assert all(np.all(np.isfinite(x)) for x in flat((updates, states, own, extra)))
        assert not (extra.keys() & inputs.h.keys()), "`shared` must not rename the scalars of `scalars`."

    def test_same_inputs_give_same_outputs(self, make: MakeTransform) -> None:
        transform = make()
        inputs = self._inputs(transform)
        problems.assert_same(flat(step(transform, inputs)), flat(step(transform, inputs)))

    def test_inputs_are_not_modified(self, make: MakeTransform) -> None:
        transform = make()
        inputs, attributes = self._inputs(transform), dict(vars(transform))
        before, states = inputs.arrays(), [dict(s) for s in (*inputs.slots, inputs.own, inputs.h)]
        step(transform, inputs)
        problems.assert_same(inputs.arrays(), before)
        for state, old in zip((*inputs.slots, inputs.own, inputs.h), states, strict=True):
            assert state.keys() == old.keys()
            assert all(state[name] is old[name] for name in old)
        assert vars(transform) == attributes

    def test_zeros_stay_finite(self, make: MakeTransform) -> None:
        optimizer = Composed([make()], 0.1)
        ended = problems.walk(optimizer, gradient=lambda _: [np.zeros_like(g) for g in problems.gradients(0)])
        assert all(np.all(np.isfinite(x)) for x in ended)

    def test_elementwise_updates_do_not_mind_the_shape(self, make: MakeTransform) -> None:
        transform = make()
        if not transform.elementwise:
            pytest.skip("not elementwise, by its own word")
        inputs = self._inputs(transform)
        updates, states, _, extra = step(transform, inputs)
        joined = {name: _joined([state[name] for state in inputs.slots]) for name in inputs.slots[0]}
        h = inputs.h | extra
        u, state = transform.update(_joined(inputs.updates), _joined(inputs.params), joined, h)
        problems.assert_close(problems.values([u]), problems.values([_joined(updates)]))
        for name in state:
            expected = problems.values([_joined([s[name] for s in states])])
            problems.assert_close(problems.values([state[name]]), expected)

    def test_vectorized_over_hyperparameters_equals_separate_runs(self, make: MakeTransform) -> None:
        transform = make()
        runs = [self._inputs(transform, seed, t=1.0 + seed, learning_rate=0.1 / (1 + seed)) for seed in range(COPIES)]
        for seed, run in enumerate(runs):  # a rate or a decay is another one in each copy
            run.h = {name: value * (1 - 0.02 * seed) for name, value in run.h.items()}
        trees = [{"u": r.updates, "x": r.params, "slots": r.slots, "own": r.own, "h": r.h} for r in runs]
        stacked = keras.tree.map_structure(lambda *leaves: ops.stack(leaves), *trees)
        together = flat(ops.vectorized_map(lambda tree: _step_of_tree(transform, tree), stacked))
        apart = [flat(step(transform, run)) for run in runs]
        problems.assert_close(together, [np.stack(parts) for parts in zip(*apart, strict=True)])


def _step_of_tree(transform: Transform, tree: dict[str, Any]) -> tuple[list[Any], list[State], State, State]:
    inputs = Inputs.__new__(Inputs)
    inputs.updates, inputs.params, inputs.slots = tree["u"], tree["x"], tree["slots"]
    inputs.own, inputs.h = tree["own"], tree["h"]
    updates, states, own, _ = step(transform, inputs)
    return updates, states, own, {}


def _joined(tensors: Sequence[Any]) -> Any:
    return ops.concatenate([ops.reshape(tensor, (-1,)) for tensor in tensors])


def _assert_alike(new: Any, old: Any) -> None:
    assert tuple(new.shape) == tuple(old.shape)
    assert keras.backend.standardize_dtype(new.dtype) == keras.backend.standardize_dtype(old.dtype)

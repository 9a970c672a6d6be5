"""The plan of an optimizer for a list of variables: which transform serves whom, in which order, with which state.

Words: a *chain* is the list of transforms of one variable; a *stage* is one transform instance with all the variables
that it serves. The step runs stage by stage, so that a norm over all variables spans the groups.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from keras import ops

from kopt.optimizers.rates import Rates
from kopt.transforms import Slot, Transform
from kopt.transforms.transform import State, Tensor

Tensors = Mapping[int, Tensor]

AVERAGED = Slot("is_averaged", shape=())
"""State of each variable under a transform that averages: 1 while the variable holds the average, 0 in training."""


def compute_dtype(dtype: Any) -> str:
    """Returns the dtype of state and arithmetic for a variable: float64 for float64, float32 for all else."""
    return "float64" if str(dtype) == "float64" else "float32"


@dataclass(frozen=True)
class Stage:
    """One transform and the variables (by index) that it serves; a transform's own state has the index None."""

    transform: Transform
    members: tuple[int, ...]

    @property
    def is_shared(self) -> bool:
        return type(self.transform).shared is not Transform.shared


@dataclass(frozen=True)
class SlotKey:
    """The address of one tensor of state, and whether it is one of the numbers that users are shown."""

    stage: int
    variable: int | None
    slot: Slot
    is_estimate: bool = False


@dataclass(frozen=True)
class Plan:
    """Stages in the order of execution, and the layout of their state.

    Attributes:
        stages: In the order in which they run.
        layout: The order of the state's tensors, which is that of the saved file.
        factors: For each variable the factor of its group on the learning rate.
        dtypes: For each variable the dtype of its arithmetic.
    """

    stages: tuple[Stage, ...]
    layout: tuple[SlotKey, ...]
    factors: Mapping[int, float]
    dtypes: Mapping[int, str]
    positions: Mapping[tuple[int, int | None], tuple[int, ...]] = field(repr=False)

    @classmethod
    def of(
        cls,
        chains: Mapping[int, Sequence[Transform]],
        variables: Sequence[Any],
        factors: Sequence[float],
        decided: Mapping[int, Sequence[float]],
    ) -> "Plan":
        """Builds the plan for variables whose chains are given; a variable without a chain is never touched.

        Args:
            chains: By index of the variable.
            variables: All of the optimizer's.
            factors: Of each variable's group.
            decided: What each transform's `decide` returned, by the transform's `id`.
        """
        stages = tuple(merged(chains))
        layout = tuple(key for k, stage in enumerate(stages) for key in _stage_layout(k, stage, variables, decided))
        positions: dict[tuple[int, int | None], tuple[int, ...]] = {}
        for position, key in enumerate(layout):
            address = (key.stage, key.variable)
            positions[address] = (*positions.get(address, ()), position)
        return cls(
            stages=stages,
            layout=layout,
            factors={i: factors[i] for i in chains},
            dtypes={i: compute_dtype(variables[i].dtype) for i in chains},
            positions=positions,
        )

    def run(
        self, params: Tensors, gradients: Tensors, slots: Sequence[Tensor], t: Tensor, learning_rate: Tensor
    ) -> tuple[dict[int, Tensor], list[Tensor]]:
        """Computes one step: pure, tensors in and tensors out.

        Args:
            params: Values by index; indices without a chain are ignored.
            gradients: Gradients by index, for the same indices.
            slots: The state, in the order of `layout`.
            t: The step, 1 at the first, as a float32 scalar tensor.
            learning_rate: As a float32 scalar tensor.

        Returns:
            The new values by index, and the new state in the order of `layout`.
        """
        active = [i for i in gradients if i in self.factors]
        for k in self.guards:
            t = t - self.state(k, None, slots)["skipped_steps"]
        updates = {i: ops.cast(gradients[i], self.dtypes[i]) for i in active}
        new_slots = self._started(params, slots, t)
        values = self._in_training({i: ops.cast(params[i], self.dtypes[i]) for i in active}, new_slots)
        rates, gradients_seen, at_head = Rates(self.factors, learning_rate), dict(updates), True
        verdicts: list[Tensor] = []
        for k, stage in enumerate(self.stages):
            members = [i for i in stage.members if i in updates]
            if members:
                common = self._run_stage(k, members, values, updates, new_slots, t, rates, gradients_seen)
                verdicts += [common["is_sound"]] if stage.transform.guards else []
            at_head = at_head and (stage.transform.clips or stage.transform.guards)
            if at_head:
                gradients_seen = dict(updates)
        new = {i: ops.cast(values[i] - updates[i], params[i].dtype) for i in active}
        return self._if_sound(verdicts, new, new_slots, params, slots) if verdicts else (new, new_slots)

    @property
    def guards(self) -> list[int]:
        """The stages whose transform may call a step off."""
        return [k for k, stage in enumerate(self.stages) if stage.transform.guards]

    def _if_sound(
        self,
        verdicts: Sequence[Tensor],
        new: dict[int, Tensor],
        new_slots: list[Tensor],
        params: Tensors,
        slots: Sequence[Tensor],
    ) -> tuple[dict[int, Tensor], list[Tensor]]:
        """Returns the old values and state in place of the new ones, but for the guards' own, after a bad step."""
        is_sound = ops.all(ops.stack(verdicts) > 0)
        kept = {i: ops.where(is_sound, value, params[i]) for i, value in new.items()}
        state = [
            b if b is a or key.stage in self.guards else ops.where(is_sound, b, ops.cast(a, b.dtype))
            for key, a, b in zip(self.layout, slots, new_slots, strict=True)
        ]
        return kept, state

    def left_out(self, slots: Sequence[Tensor], new_slots: Sequence[Tensor]) -> Tensor | None:
        """Returns as a boolean whether the step from one state to the other was called off; None if nothing guards."""
        counts = [
            p for p, key in enumerate(self.layout) if key.stage in self.guards and key.slot.name == "skipped_steps"
        ]
        return ops.any(ops.stack([new_slots[p] > slots[p] for p in counts])) if counts else None

    def clipped(self, gradients: Tensors, params: Tensors) -> dict[int, Tensor]:
        """Returns the gradients after the clipping transforms that stand at the head of the chains.

        Args:
            gradients: By index.
            params: The values that the gradients were taken at, for the same indices.
        """
        updates = {i: ops.cast(g, self.dtypes[i]) for i, g in gradients.items() if i in self.factors}
        values = {i: ops.cast(params[i], self.dtypes[i]) for i in updates}
        one = ops.ones((), "float32")
        for k, stage in enumerate(self.stages):
            if stage.transform.guards:
                continue
            if not stage.transform.clips or any(address[0] == k for address in self.positions):
                break
            members = [i for i in stage.members if i in updates]
            self._run_stage(k, members, values, updates, [], one, Rates(self.factors, one), updates)
        return updates

    def _run_stage(
        self,
        k: int,
        members: Sequence[int],
        values: Tensors,
        updates: dict[int, Tensor],
        slots: list[Tensor],
        t: Tensor,
        rates: Rates,
        gradients: Tensors,
    ) -> State:
        stage = self.stages[k]
        states = {i: self.state(k, i, slots) for i in members}
        if stage.transform.sees_gradient:
            states = {i: state | {"gradient": gradients[i]} for i, state in states.items()}
        lanes = rates.lanes(members)
        transform = stage.transform.at(t)
        scalars = {lane: _tensors(transform.scalars(t, rate)) for lane, rate in lanes.items()}
        common: State = {}
        if stage.is_shared:
            common, own = transform.shared(
                [updates[i] for i in members],
                [values[i] for i in members],
                [states[i] for i in members],
                self.state(k, None, slots),
                _tensors(transform.scalars(t, rates.base)),
            )
            self._store(k, None, own, slots)
        for batch in self._batches(stage, members, updates, states, rates):
            first = batch[0]
            h = scalars[rates.lane(first)] | common
            if self.dtypes[first] != "float32":
                h = {name: ops.cast(value, self.dtypes[first]) for name, value in h.items()}
            results = _updated(transform, [(updates[i], values[i], states[i]) for i in batch], h)
            for i, (update, state) in zip(batch, results, strict=True):
                updates[i] = update
                self._store(k, i, state, slots)
        if "rate_factor" in common:
            rates.multiply(members, common["rate_factor"], k)
        return common

    def _batches(
        self, stage: Stage, members: Sequence[int], updates: Tensors, states: Mapping[int, State], rates: Rates
    ) -> Iterable[list[int]]:
        """Returns the variables that one call of `update` serves together: one each, unless the transform batches."""
        if not stage.transform.batches:
            return [[i] for i in members]
        alike: dict[Any, list[int]] = {}
        for i in members:
            shapes = (tuple(updates[i].shape), *(tuple(tensor.shape) for tensor in states[i].values()))
            alike.setdefault((shapes, rates.lane(i), self.dtypes[i]), []).append(i)
        return alike.values()

    def _started(self, params: Tensors, slots: Sequence[Tensor], t: Tensor) -> list[Tensor]:
        """Returns the state, with copies of the variables at step 1 where a slot starts as one."""
        started = list(slots)
        for position, key in enumerate(self.layout):
            if key.slot.start == "variable" and key.variable is not None and key.variable in params:
                value = ops.cast(params[key.variable], self.dtypes[key.variable])
                started[position] = ops.where(t == 1, ops.reshape(value, slots[position].shape), slots[position])
        return started

    def _in_training(self, values: dict[int, Tensor], slots: list[Tensor]) -> dict[int, Tensor]:
        """Returns the values to train, and writes state, of variables that hold an average since the last `fit`."""
        for k in reversed(self.averaging):
            for i in self.stages[k].members:
                if i in values:
                    values[i] = self._exchanged(k, i, values[i], slots, to_average=False)
        return values

    @property
    def averaging(self) -> list[int]:
        """The stages whose transform evaluates with other weights than it trains."""
        return [k for k, stage in enumerate(self.stages) if stage.transform.averages]

    def exchanged(
        self, params: Tensors, slots: Sequence[Tensor], *, to_average: bool
    ) -> tuple[dict[int, Tensor], list]:
        """Returns the weights to evaluate with (or, the other way, those to train with), and the state beside them.

        A variable that is in the wanted state already stays as it is.

        Args:
            params: Values by index.
            slots: The state, in the order of `layout`.
            to_average: Which way.
        """
        values = {i: ops.cast(value, self.dtypes[i]) for i, value in params.items() if i in self.factors}
        new_slots = list(slots)
        # The last transform of a chain saw the weights last, so that its average is of what the others made.
        for k in self.averaging if to_average else reversed(self.averaging):
            for i in self.stages[k].members:
                if i in values:
                    values[i] = self._exchanged(k, i, values[i], new_slots, to_average=to_average)
        return {i: ops.cast(values[i], params[i].dtype) for i in values}, new_slots

    def _exchanged(self, k: int, i: int, value: Tensor, slots: list[Tensor], *, to_average: bool) -> Tensor:
        transform, state = self.stages[k].transform, self.state(k, i, slots)
        flag = state.pop(AVERAGED.name)
        one = ops.ones((), "float32")
        h = {name: ops.cast(x, self.dtypes[i]) for name, x in _tensors(transform.scalars(one, one)).items()}
        exchange = transform.to_average if to_average else transform.from_average
        new_value, new_state = exchange(value, state, h)
        is_due = ops.equal(flag, 0.0 if to_average else 1.0)
        changed = {name: tensor for name, tensor in new_state.items() if tensor is not state[name]}
        new = {name: ops.where(is_due, tensor, state[name]) for name, tensor in changed.items()}
        self._store(k, i, new | {AVERAGED.name: ops.full_like(flag, 1.0 if to_average else 0.0)}, slots)
        return ops.where(is_due, new_value, value)

    def state(self, k: int, i: int | None, slots: Sequence[Tensor]) -> State:
        """Returns by name, of all the state, what stage k keeps for variable i; for None, what it keeps once."""
        return {self.layout[position].slot.name: slots[position] for position in self.positions.get((k, i), ())}

    def _store(self, k: int, i: int | None, state: State, slots: list[Tensor]) -> None:
        for position in self.positions.get((k, i), ()):
            name = self.layout[position].slot.name
            if name in state:
                slots[position] = state[name]


def merged(chains: Mapping[int, Sequence[Transform]]) -> Iterable[Stage]:
    """Yields stages in an order that agrees with every chain.

    An instance that stands in several chains becomes one stage; the chains wait for each other there.
    """
    lanes: dict[tuple[int, ...], list[int]] = {}
    for i, chain in chains.items():
        lanes.setdefault(tuple(map(id, chain)), []).append(i)
    remaining = [(list(chains[members[0]]), members) for members in lanes.values()]
    while remaining := [(chain, members) for chain, members in remaining if chain]:
        heads = [chain[0] for chain, _ in remaining]
        ready = next((head for head in heads if not any(_holds(chain[1:], head) for chain, _ in remaining)), None)
        if ready is None:
            raise ValueError("The same transforms stand in two groups in opposite orders: give each group its own.")
        at_head = [(chain, members) for chain, members in remaining if chain[0] is ready]
        yield Stage(ready, tuple(sorted(i for _, members in at_head for i in members)))
        for chain, _ in at_head:
            chain.pop(0)


def _holds(chain: Sequence[Transform], transform: Transform) -> bool:
    return any(item is transform for item in chain)


def _stage_layout(
    k: int, stage: Stage, variables: Sequence[Any], decided: Mapping[int, Sequence[float]]
) -> Iterable[SlotKey]:
    for slot in stage.transform.own_slots():
        yield SlotKey(k, None, slot, slot.name in stage.transform.estimates)
    flag = [AVERAGED] if stage.transform.averages else []
    per_variable = {i: [*stage.transform.slots(variables[i]), *flag] for i in stage.members}
    for name in dict.fromkeys(slot.name for slots in per_variable.values() for slot in slots):
        for i, slots in per_variable.items():
            yield from (SlotKey(k, i, _decided(slot, stage, i, decided)) for slot in slots if slot.name == name)


def _decided(slot: Slot, stage: Stage, i: int, decided: Mapping[int, Sequence[float]]) -> Slot:
    return Slot(slot.name, slot.shape, decided[id(stage.transform)][i]) if slot.start == "decided" else slot


def _tensors(scalars: Mapping[str, Any]) -> State:
    return {name: ops.convert_to_tensor(value, "float32") for name, value in scalars.items()}


def _updated(
    transform: Transform, given: Sequence[tuple[Tensor, Tensor, State]], h: State
) -> list[tuple[Tensor, State]]:
    """Returns the new updates and state of variables of one shape, in one call."""
    if len(given) == 1:
        return [transform.update(*given[0], h)]
    updates, values, states = zip(*given, strict=True)
    # The cast is to the dtype that they have: on TensorFlow it makes tensors of Keras' variables, which do not stack.
    dtype = updates[0].dtype
    together = {name: ops.stack([ops.cast(state[name], dtype) for state in states]) for name in states[0]}
    u, state = transform.update(ops.stack(updates), ops.stack(values), together, h)
    parts = {name: ops.unstack(tensor, len(given)) for name, tensor in state.items()}
    return [(x, {name: parts[name][n] for name in parts}) for n, x in enumerate(ops.unstack(u, len(given)))]

"""A second train function beside the user's: the same step, with its gradients looked at on the way.

The user's compiled function stays as it is and runs on every step that is not looked at. The others are built by Keras
itself from the same `train_step`, compiled when first needed, and used for one call at a time: one for each set of
quantities that fall due together.
"""

import contextlib
import functools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from keras import ops

from kopt._backend import adapter_module, watch
from kopt.monitoring.batch_loss import BatchLoss, LossFunctions
from kopt.monitoring.layout import Layout
from kopt.monitoring.notes import Notes, watch_forward
from kopt.monitoring.quantity import Kept, Quantity, SeenStep

Due = tuple[Quantity, ...]
Seen = tuple[Due, dict[str, float], dict[str, np.ndarray], Kept]
_AT_MOST, _SECONDS = 16, 0.25


@dataclass(frozen=True)
class Share:
    """What one observer wants to see of a step; several may look at the same step.

    Attributes:
        owner: The observer.
        due: Its quantities.
        is_chosen: Says of a path whether its user wants to see that variable, or layer, by itself.
    """

    owner: Any
    due: Due
    is_chosen: Callable[[str], bool]


@dataclass
class _Variant:
    """One instrumented train function, and what was learnt when it was traced."""

    shares: tuple[Share, ...]
    keeps: frozenset[str]
    step: Callable[..., Any] | None = None
    function: Callable[..., Any] | None = None
    layout: Layout = field(default_factory=Layout)
    paths: list[str] = field(default_factory=list)
    tags: dict[Share, set[str]] = field(default_factory=dict)
    trained: list[str] = field(default_factory=list)
    structure: Any = None
    places: list[int] = field(default_factory=list)
    choices: dict[Share, tuple[list[str], list[int]]] = field(default_factory=dict)

    def chosen(self, share: Share) -> list[int]:
        """Returns the positions of the paths that are shown one by one."""
        paths, chosen = self.choices.get(share, (None, []))
        if paths is not self.paths:  # They are noted anew where the step is traced, or runs eagerly.
            chosen = [i for i, path in enumerate(self.paths) if share.is_chosen(path)]
            self.choices[share] = self.paths, chosen
        return chosen


@dataclass
class _Look:
    """What one instrumented call saw, still on the device."""

    variant: _Variant
    vector: Any
    tensors: dict[str, Any]
    seconds_in_call: Callable[[Any], float | None]
    waited: float
    since: float


class Instrument:
    """The instrumented train functions of one model, and what their last call saw.

    Attributes:
        is_blind: Whether a call was seen in which no optimizer of the model took a step.

    Args:
        model: A compiled Keras model whose `train_function` exists.
        accumulation: Batches to an optimizer step.
    """

    def __init__(self, model: Any, accumulation: int) -> None:
        self.model = model
        self.accumulation = accumulation
        self.plain = model.train_function
        self.optimizers = watch.optimizers_of(model)
        held = [id(optimizer) for optimizer in self.optimizers.values()]
        self._attributes = [(name, owned) for name, owned in vars(model).items() if id(owned) in held]
        self.is_blind = False
        self._step_function: Callable[[Any], Any] = model.train_step
        self._variants: dict[tuple[Share, ...], _Variant] = {}
        self._armed: _Variant | None = None
        self._replicas = adapter_module.replicas_of(model)
        self._waited = 0.0
        self._looks: list[_Look] = []
        self._seen: dict[int, list[Seen]] = {}
        self._losses = LossFunctions(model)
        # Under `tf.distribute` replicas take turns inside one step, each in its own thread.
        self._replica = threading.local()

    def fits(self, model: Any) -> bool:
        """Returns whether the model still trains with the function and optimizers that this was made for."""
        owned = vars(model)
        return model.train_function is self.plain and all(owned.get(name) is o for name, o in self._attributes)

    def arm(self, share: Share, waited: float = 0.0) -> None:
        """Makes the next call of `model.train_function` one that looks at some quantities.

        Args:
            share: The quantities, and whose they are.
            waited: Seconds that the step has waited for its data already.
        """
        self._arm((share,))
        self._waited = waited

    def join(self, share: Share) -> None:
        """Makes the call for which this is armed look at another observer's quantities as well."""
        assert self._armed is not None
        self._arm((*self._armed.shares, share))

    def _arm(self, shares: tuple[Share, ...]) -> None:
        if shares not in self._variants:
            keeps = frozenset(name for s in shares for quantity in s.due for name in quantity.keeps(self.accumulation))
            variant = _Variant(shares, keeps)
            variant.function = self._built(variant)
            self._variants[shares] = variant
        self._armed = self._variants[shares]
        watch.set_train_function(self.model, self._once)

    def disarm(self) -> None:
        """Puts the user's function back, if the armed call never came."""
        if self.model.train_function == self._once:
            watch.set_train_function(self.model, self.plain)

    def take(self, owner: Any, *, now: bool) -> list[Seen]:
        """Returns what instrumented calls saw for an observer, each once, oldest first; may wait for the last of them.

        To wait at each step for its numbers would keep the device from running ahead of Python. So they are left where
        they are until there are some, or they are old, or what was kept of a step holds memory.

        Args:
            owner: The observer.
            now: Whether to wait in any case.
        """
        self._settle(now=now)
        return self._seen.pop(id(owner), [])

    def _settle(self, *, now: bool) -> None:
        looks = self._looks
        is_time = looks and (
            now or len(looks) >= _AT_MOST or looks[-1].variant.keeps or time.perf_counter() - looks[0].since > _SECONDS
        )
        if not is_time:
            return
        self._looks = []
        for look in looks:
            self._unpack(look, is_last=look is looks[-1])

    def _unpack(self, look: "_Look", *, is_last: bool) -> None:
        variant = look.variant
        if not variant.layout.tags:
            self.is_blind = True
            return
        numbers, counts = variant.layout.unpack(ops.convert_to_numpy(look.vector))
        in_call = look.seconds_in_call(look.tensors.pop("arrived", None))
        tensors = {name: list(values) for name, values in look.tensors.items()}
        kept = functools.partial(
            Kept,
            step=int(numbers.pop("step")),
            paths=variant.paths,
            tensors=tensors,
            loss=self._batch_loss(variant, tensors) if "loss" in variant.keeps else None,
            trained=variant.trained,
            accumulation=self.accumulation,
            examples=round(numbers.pop("examples")) * self._replicas,
            waited=None if in_call is None else look.waited + in_call,
            taken=time.perf_counter() if is_last else None,
        )
        for share in variant.shares:
            own, histograms = numbers, counts
            if len(variant.shares) > 1:
                tags = variant.tags[share]
                own = {tag: value for tag, value in numbers.items() if tag in tags}
                histograms = {tag: found for tag, found in counts.items() if tag in tags}
            seen = (share.due, own, histograms, kept(chosen=variant.chosen(share)))
            self._seen.setdefault(id(share.owner), []).append(seen)

    def _once(self, *args: Any) -> Any:
        watch.set_train_function(self.model, self.plain)
        variant = self._armed
        assert variant is not None
        assert variant.function is not None
        with watch.overriding(self.model, "train_step", variant.step), contextlib.ExitStack() as stack:
            if self._replicas > 1:
                self._watch(stack, variant)
            args, seconds_in_call = adapter_module.timed(args)
            outputs, replaced = adapter_module.outputs_of(variant.function(*args))
        look = _Look(
            variant, outputs["seen"], dict(outputs["kept"]), seconds_in_call, self._waited, time.perf_counter()
        )
        self._looks.append(look)
        return replaced(outputs["logs"])

    def _step_of(self, variant: _Variant) -> Callable[..., Any]:
        """Returns the `train_step` of a variant, which watches while it is traced, or runs eagerly.

        Replicas run theirs in threads that take turns: what they share is watched from outside.
        """

        def train_step(*args: Any) -> Any:
            with contextlib.ExitStack() as stack:
                if self._replicas == 1:
                    self._watch(stack, variant)
                return self._train_step(variant, *args)

        return train_step

    def _watch(self, stack: contextlib.ExitStack, variant: _Variant) -> None:
        for name, optimizer in self.optimizers.items():
            see = lambda step, name=name: self._replica.steps.append((name, step))  # noqa: E731
            stack.enter_context(watch.overriding(optimizer, *adapter_module.watched(optimizer, see)))
        watch_forward(stack, self.model, [(s.due, s.is_chosen) for s in variant.shares], lambda: self._replica.notes)

    def _built(self, variant: _Variant) -> Callable[..., Any]:
        model = self.model
        if hasattr(model, "jax_state_sync"):
            # In the middle of an epoch JAX' variables are empty, but Keras reads the sharding of their values here.
            model.jax_state_sync()
        try:
            variant.step = self._step_of(variant)
            with watch.overriding(model, "train_step", variant.step):
                model.make_train_function(force=True)
            return model.train_function
        finally:
            model.train_function = self.plain

    def _train_step(self, variant: _Variant, *args: Any) -> Any:
        replica = self._replica
        replica.steps, replica.notes = [], Notes()
        data = args[-1]
        leaves = [leaf for leaf in keras.tree.flatten(data) if leaf is not None]
        kept: dict[str, Any] = adapter_module.arrival(self.model, leaves)
        if "loss" in variant.keeps:
            kept["all_before"], kept["state"] = adapter_module.values_at(self.model, args)
            variant.structure = keras.tree.map_structure(lambda leaf: None if leaf is None else 0, data)
            kept["leaves"] = leaves
        logs, replaced = adapter_module.outputs_of(self._step_function(*args))
        last = dict(replica.steps)  # An optimizer that takes several steps in one call shows the last.
        numbers, counts = self._numbers(variant, last, replica.notes)
        if numbers:
            numbers["examples"] = ops.shape(leaves[0])[0]
        for name in ("gradients", "last_gradients", "before", "after"):
            if name in variant.keeps or (name == "after" and "loss" in variant.keeps):
                shown = [(tensor, step.number) for step in last.values() for tensor in getattr(step, name)]
                kept[name] = [adapter_module.apart(tensor, number) for tensor, number in shown]
        # TensorFlow would make one tensor of a list.
        kept = {name: tuple(value) if isinstance(value, list) else value for name, value in kept.items()}
        return replaced({"logs": logs, "seen": variant.layout.pack(numbers, counts), "kept": kept})

    def _numbers(self, variant: _Variant, steps: dict[str, watch.Step], notes: Notes) -> Any:
        if not steps:
            return {}, {}
        every = [variable for step in steps.values() for variable in step.variables]
        variant.paths = watch.unique_paths(self.model, every)
        trained = list(self.model.trainable_variables)
        variant.trained = watch.unique_paths(self.model, trained)
        places = {id(variable): i for i, variable in enumerate(trained)}
        variant.places = [places.get(id(variable), -1) for variable in every]
        numbers: Any = {"step": next(iter(steps.values())).number}
        counts: dict[str, Any] = {}
        done = 0
        for name, step in steps.items():
            end = done + len(step.variables)
            paths = variant.paths[done:end]
            optimizer = self.optimizers[name]
            clipped = lambda step=step, optimizer=optimizer: watch.clipped(optimizer, step)  # noqa: E731
            suffix = f"/{name}" if len(steps) > 1 else ""
            for place, share in enumerate(variant.shares):
                chosen = [i for i, path in enumerate(paths) if share.is_chosen(path)]
                seen = SeenStep(step, paths, chosen, clipped, notes.seen_by(place) if not done else {}, suffix)
                tags = variant.tags.setdefault(share, set())
                for quantity in share.due:
                    found, more = quantity.in_step(seen), quantity.counts_in_step(seen)
                    tags.update(tag for tag in found if isinstance(tag, str))
                    tags.update(tag for several in found if not isinstance(several, str) for tag in several)
                    tags.update(more)
                    numbers |= found
                    counts |= more
            done = end
        return numbers, counts

    def _batch_loss(self, variant: _Variant, tensors: dict[str, list[Any]]) -> BatchLoss:
        after = list(tensors["all_before"])
        for place, value in zip(variant.places, tensors["after"], strict=True):
            if place >= 0:
                after[place] = value
        return BatchLoss(
            self._losses, variant.structure, tensors["leaves"], tensors["all_before"], after, tensors["state"]
        )


def armed(model: Any) -> Instrument | None:
    """Returns the instrument that the next call of the model's train function is one of; None if it is none."""
    owner = getattr(model.train_function, "__self__", None)
    return owner if isinstance(owner, Instrument) else None


def unsupported(model: Any) -> str | None:
    """Returns why the model's steps cannot be instrumented, or None."""
    if not watch.optimizers_of(model):
        return "the model has no optimizer."
    if getattr(keras.config, "is_nnx_enabled", lambda: False)():
        return "Keras' NNX mode calls the class's `train_step`, which cannot be replaced on one model."
    return None

"""A second train function beside the user's: the same step, with its gradients looked at on the way.

The user's compiled function stays as it is and runs on every step that is not logged. The second one is built by Keras
itself from the same `train_step`, compiled at the first logged step, and used for one call at a time.
"""

import contextlib
import threading
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from kopt._backend import adapter_module, watch
from kopt.callbacks.statistics import Layout, global_norm, pack, unpack


class Instrument:
    """The instrumented train function of one model, and what its last call saw.

    Attributes:
        is_blind: Whether a call was seen in which `model.optimizer` took no step.

    Args:
        model: A compiled Keras model whose `train_function` exists.
        histograms: Whether to count the gradients' elements into buckets as well.
    """

    def __init__(self, model: Any, *, histograms: bool) -> None:
        self.model = model
        self.plain = model.train_function
        self.optimizer = model.optimizer
        self.layout = Layout(histograms=histograms)
        self.is_blind = False
        self._step_function: Callable[[Any], Any] = model.train_step
        self._function: Callable[..., Any] | None = None
        self._seen: Any = None
        # Under `tf.distribute` replicas take turns inside one step, each in its own thread.
        self._replica = threading.local()
        self._overridden = [
            (model, "train_step", self._train_step),
            (model.optimizer, *adapter_module.watched(model.optimizer, self._see_step)),
            *((tracker, "update_state", self._watched_update(tracker)) for tracker in watch.loss_trackers(model)),
        ]

    def fits(self, model: Any) -> bool:
        """Returns whether the model still trains with the function and optimizer that this was made for."""
        return model.train_function is self.plain and model.optimizer is self.optimizer

    def arm(self) -> None:
        """Makes the next call of `model.train_function` the instrumented one."""
        if self._function is None:
            self._function = self._built()
        self.model.train_function = self._once

    def disarm(self) -> None:
        """Puts the user's function back, if the armed call never came."""
        if self.model.train_function == self._once:
            self.model.train_function = self.plain

    def take(self) -> tuple[dict[str, float], dict[str, np.ndarray]] | None:
        """Returns scalars by tag and bucket counts by path of the last instrumented call, once; may wait for it."""
        seen, self._seen = self._seen, None
        if seen is None:
            return None
        if not self.layout.paths:
            self.is_blind = True
            return None
        return unpack(self.layout, ops.convert_to_numpy(seen))

    def _once(self, *args: Any) -> Any:
        self.model.train_function = self.plain
        assert self._function is not None
        with contextlib.ExitStack() as stack:
            for owner, name, function in self._overridden:
                stack.enter_context(watch.overriding(owner, name, function))
            outputs, replaced = adapter_module.outputs_of(self._function(*args))
        self._seen = outputs["seen"]
        return replaced(outputs["logs"])

    def _built(self) -> Callable[..., Any]:
        model = self.model
        if hasattr(model, "jax_state_sync"):
            # In the middle of an epoch JAX' variables are empty, but Keras reads the sharding of their values here.
            model.jax_state_sync()
        try:
            with watch.overriding(model, "train_step", self._train_step):
                model.make_train_function(force=True)
            return model.train_function
        finally:
            model.train_function = self.plain

    def _train_step(self, *args: Any) -> Any:
        seen = self._replica
        seen.steps, seen.losses, seen.trace = [], [], adapter_module.trace()
        logs, replaced = adapter_module.outputs_of(self._step_function(*args))
        return replaced({"logs": logs, "seen": self._numbers(seen.steps, seen.losses)})

    def _see_step(self, step: watch.Step) -> None:
        self._replica.steps.append(step)

    def _watched_update(self, tracker: Any) -> Callable[..., Any]:
        original = tracker.update_state

        def update_state(*args: Any, **kwargs: Any) -> Any:
            # A loss that a user's model tracks inside JAX' gradient must not leave it.
            if adapter_module.trace() == self._replica.trace:
                value = args[0] if args else kwargs["values"]
                self._replica.losses.append(ops.stop_gradient(ops.mean(ops.cast(value, "float32"))))
            return original(*args, **kwargs)

        return update_state

    def _numbers(self, steps: list[watch.Step], losses: list[Any]) -> Any:
        if not steps:
            return ops.zeros((0,))
        step = steps[-1]
        scalars = {"step": step.number, **step.learning_rates, **step.estimates}
        if losses:
            scalars["loss/total"] = losses[-1]
        penalties = [
            ops.sum(ops.cast(variable.regularizer(value), "float32"))
            for variable, value in zip(step.variables, step.before, strict=True)
            if getattr(variable, "regularizer", None) is not None
        ]
        if penalties:
            scalars["loss/regularization"] = ops.sum(ops.stack(penalties))
        if step.loss_scale is not None:
            scalars["loss_scale"] = step.loss_scale
        scalars["gradients/global_norm"] = global_norm(step.gradients)
        scalars["gradients/global_norm_clipped"] = global_norm(self._clipped(step))
        paths = unique_paths(self.model, step.variables)
        return pack(self.layout, scalars, paths, step.gradients, step.before, step.after)

    def _clipped(self, step: watch.Step) -> list[Any]:
        clipped: list[Any] = []
        for optimizer, members in watch.parts(self.optimizer, step.variables):
            gradients = [step.gradients[i] for i in members]
            if hasattr(optimizer, "clipped_gradients"):
                variables, values = [step.variables[i] for i in members], [step.before[i] for i in members]
                clipped += optimizer.clipped_gradients(gradients, variables, values)
            else:
                clipped += clipped_by_keywords(optimizer, gradients)
        return clipped


def clipped_by_keywords(optimizer: Any, gradients: list[Any]) -> list[Any]:
    """Returns gradients as Keras' `clipnorm`, `global_clipnorm` and `clipvalue` leave them."""
    if optimizer.clipnorm:
        limit = optimizer.clipnorm
        return [g * (limit / ops.maximum(ops.sqrt(ops.sum(ops.square(g))), limit)) for g in gradients]
    if optimizer.global_clipnorm:
        limit = optimizer.global_clipnorm
        scale = limit / ops.maximum(global_norm(gradients), limit)
        return [g * scale for g in gradients]
    if optimizer.clipvalue:
        return [ops.clip(g, -optimizer.clipvalue, optimizer.clipvalue) for g in gradients]
    return gradients


def unique_paths(model: Any, variables: list[Any]) -> list[str]:
    """Returns the variables' paths without the model's own name, so that the tags of two runs line up."""
    prefix = f"{model.name}/"
    paths: list[str] = []
    for variable in variables:
        path = getattr(variable, "path", None) or variable.name
        path = path.removeprefix(prefix).replace(":", "_")
        paths.append(path if path not in paths else f"{path}_{len(paths)}")
    return paths


def is_armed(model: Any) -> bool:
    """Returns whether the next call of the model's train function is an instrumented one."""
    return isinstance(getattr(model.train_function, "__self__", None), Instrument)


def unsupported(model: Any) -> str | None:
    """Returns why the model's steps cannot be instrumented, or None."""
    if model.optimizer is None:
        return "the model has no optimizer."
    if getattr(keras.config, "is_nnx_enabled", lambda: False)():
        return "Keras' NNX mode calls the class's `train_step`, which cannot be replaced on one model."
    return None

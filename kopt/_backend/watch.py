"""What the monitor may see of a Keras optimizer and trainer: the private Keras names that it needs, in one place."""

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops
from keras.src.models.functional import Functional
from keras.src.utils import module_utils

from kopt._backend.driven import DrivenOptimizer


@dataclass
class Step:
    """One optimizer step as tensors.

    Attributes:
        number: Optimizer steps taken including this one.
        learning_rates: The rates that it used, by tag: of the optimizer, and of its groups or inner optimizers; and
            the other hyperparameters that follow schedules.
        loss_scale: The factor on the loss; None without scaling.
        variables: The trainable variables that got a gradient.
        gradients: The gradients that the optimizer acted on: unscaled, averaged over accumulated micro-batches, summed
            over replicas, dense; before clipping.
        last_gradients: The same of the last micro-batch alone; without accumulation these are `gradients`.
        before: The variables' values before the step.
        after: Their values after it.
        estimates: What the optimizer, or the inner ones, have estimated by themselves, after the step, by tag.
    """

    number: Any
    learning_rates: dict[str, Any]
    loss_scale: Any
    variables: list[Any]
    gradients: list[Any]
    last_gradients: list[Any]
    before: list[Any]
    after: list[Any]
    estimates: dict[str, Any]


def innermost(optimizer: Any) -> Any:
    """Returns the optimizer inside a `LossScaleOptimizer`, or the optimizer itself."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def inner_optimizers(optimizer: Any) -> list[Any]:
    """Returns the optimizers of a `MultiOptimizer`, or the innermost optimizer alone."""
    inner = innermost(optimizer)
    return list(getattr(inner, "optimizers", [inner]))


def parts(optimizer: Any, variables: Sequence[Any]) -> list[tuple[Any, list[int]]]:
    """Returns the optimizers that update the variables, each with the positions of its own."""
    inner = innermost(optimizer)
    if not hasattr(inner, "optimizers"):
        return [(inner, list(range(len(variables))))]
    members: list[list[int]] = [[] for _ in inner.optimizers]
    for i, variable in enumerate(variables):
        members[inner._var_to_optimizer_idx[inner._var_key(variable)]].append(i)
    return [(part, own) for part, own in zip(inner.optimizers, members, strict=True) if own]


def micro_steps(optimizer: Any) -> int:
    """Returns on the host how many batches the optimizer has seen, micro-batches included."""
    return 0 if optimizer is None else int(ops.convert_to_numpy(innermost(optimizer)._iterations))


def accumulation(optimizer: Any) -> int:
    """Returns how many batches make one optimizer step."""
    return innermost(optimizer).gradient_accumulation_steps or 1


def optimizers_of(model: Any) -> dict[str, Any]:
    """Returns the optimizers that a model holds, by attribute: `optimizer`, and those of a train step of its own."""
    named = {name.lstrip("_"): value for name, value in vars(model).items() if _is_optimizer(value)}
    return dict(sorted(named.items(), key=lambda item: item[0] != "optimizer"))


def _is_optimizer(value: Any) -> bool:
    return isinstance(value, keras.optimizers.Optimizer)


def leading(optimizers: dict[str, Any]) -> Any:
    """Returns the optimizer that has taken the most steps; None where there is none."""
    return max(optimizers.values(), key=micro_steps, default=None)


def steps_done(model: Any) -> int:
    """Returns on the host how many optimizer steps a model has taken; JAX empties the variables inside an epoch."""
    optimizer = leading(optimizers_of(model))
    return 0 if optimizer is None else micro_steps(optimizer) // accumulation(optimizer)


def loss_trackers(model: Any) -> list[tuple[str, Any]]:
    """Returns the metrics that are shown the loss of each batch, with its tag: Keras' own, and users' called `loss`."""
    trackers = [model._loss_tracker, *(metric for metric in model.metrics if metric.name == "loss")]
    return [("loss/total", tracker) for tracker in _once_each(trackers)]


def _once_each(trackers: Sequence[Any]) -> list[Any]:
    return list({id(tracker): tracker for tracker in trackers if tracker is not None}.values())


def output_loss_trackers(model: Any) -> list[tuple[str, Any]]:
    """Returns the metrics that are shown the losses of single outputs, with tags; none before the loss is built."""
    found = getattr(model._compile_loss, "metrics", [])
    return [(f"loss/{metric.name.removesuffix('_loss')}", metric) for metric in found]


def unbuilt_loss(model: Any) -> Any:
    """Returns the compiled loss if its first call will build it; else None."""
    loss = model._compile_loss
    return loss if loss is not None and not loss.built else None


def flat_layers(model: Any) -> list[Any]:
    """Returns the layers of a model and those inside them, at any depth, each once and always in the same order."""
    return model._flatten_layers(include_self=False)


def inner_layers(layer: Any) -> list[Any]:
    """Returns the layers that a layer or model holds itself, without those inside them."""
    return layer._flatten_layers(include_self=False, recursive=False)


def is_graph(layer: Any) -> bool:
    """Returns whether a layer is a Sequential or Functional model, whose config lists layers with names."""
    return isinstance(layer, keras.Sequential | Functional)


def compile_arguments(model: Any) -> dict[str, Any]:
    """Returns what `compile` was called with, the objects themselves."""
    return dict(model._compile_config.config)


def drop_compiled(model: Any) -> None:
    """Lets a model compile its steps anew, for what is compiled into them has changed."""
    model.train_function = model.test_function = model.predict_function = None


def layers_by_path(model: Any) -> dict[str, Any]:
    """Returns the layers inside a model by paths that are unique and leave out its own name, but for nested models.

    What runs inside a loop of a layer, as the cells of recurrent ones do, is left out.
    """
    loops = (keras.layers.RNN, keras.layers.TimeDistributed, keras.layers.Bidirectional)
    layers = flat_layers(model)
    inside = {id(part) for layer in layers if isinstance(layer, loops) for part in flat_layers(layer)}
    shown = [layer for layer in layers if id(layer) not in inside and not isinstance(layer, keras.Model)]
    return dict(zip(_unique([_path(model, layer) for layer in shown]), shown, strict=True))


def unique_paths(model: Any, variables: list[Any]) -> list[str]:
    """Returns the variables' paths without the model's own name (if there is one), so that tags of two runs line up."""
    return _unique([_path(model, variable) for variable in variables])


def _path(model: Any, owned: Any) -> str:
    path = getattr(owned, "path", None) or owned.name
    return (path if model is None else path.removeprefix(f"{model.name}/")).replace(":", "_")


def _unique(paths: list[str]) -> list[str]:
    found: list[str] = []
    for path in paths:
        found.append(path if path not in found else f"{path}_{len(found)}")
    return found


def takes_training(model: Any) -> bool:
    """Returns whether the model's `call` has an argument `training`."""
    return model._call_has_training_arg


def clipped(optimizer: Any, step: "Step") -> list[Any]:
    """Returns the gradients of a step as the optimizer's clipping leaves them, without those of frozen groups."""
    result: list[Any] = []
    for part, members in parts(optimizer, step.variables):
        gradients = [step.gradients[i] for i in members]
        if hasattr(part, "clipped_gradients"):
            variables, values = [step.variables[i] for i in members], [step.before[i] for i in members]
            result += part.clipped_gradients(gradients, variables, values)
        else:
            result += clipped_by_keywords(part, gradients)
    return result


def clipped_by_keywords(optimizer: Any, gradients: list[Any]) -> list[Any]:
    """Returns gradients as Keras' `clipnorm`, `global_clipnorm` and `clipvalue` leave them."""
    if optimizer.clipnorm:
        limit = optimizer.clipnorm
        return [g * (limit / ops.maximum(ops.sqrt(ops.sum(ops.square(g))), limit)) for g in gradients]
    if optimizer.global_clipnorm:
        limit = optimizer.global_clipnorm
        norm = ops.sqrt(ops.sum(ops.stack([ops.sum(ops.square(g)) for g in gradients])))
        return [g * (limit / ops.maximum(norm, limit)) for g in gradients]
    if optimizer.clipvalue:
        return [ops.clip(g, -optimizer.clipvalue, optimizer.clipvalue) for g in gradients]
    return gradients


@contextlib.contextmanager
def overriding(owner: Any, name: str, function: Any) -> Iterator[None]:
    """Puts `function` in front of a method of one instance while the context is open."""
    attributes = owner.__dict__
    had, previous = name in attributes, attributes.get(name)
    attributes[name] = function
    try:
        yield
    finally:
        if had:
            attributes[name] = previous
        else:
            attributes.pop(name, None)


def set_train_function(model: Any, function: Callable[..., Any]) -> None:
    """Makes a model train with a function; past Keras' tracking of attributes, which takes 50 microseconds."""
    vars(model)["train_function"] = function


@contextlib.contextmanager
def without_tensorflow() -> Iterator[None]:
    """Keeps Keras from importing TensorFlow just to see whether an object that it serializes is one of its."""
    lazy = vars(module_utils.tensorflow)
    if "tensorflow" in sys.modules or lazy.get("_available", True) is not None:
        yield
        return
    lazy["_available"] = False
    try:
        yield
    finally:
        lazy["_available"] = None


def loss_scale(optimizer: Any) -> Any:
    """Returns the factor that the loss was multiplied by, or None."""
    if hasattr(optimizer, "dynamic_scale"):
        return _scalar(optimizer.dynamic_scale)
    return optimizer.loss_scale_factor


def current_rates(optimizer: Any) -> dict[str, Any]:
    """Returns the learning rates and scheduled hyperparameters of the coming step by tag, as float32 scalars."""
    inner = innermost(optimizer)
    several = getattr(inner, "optimizers", None)
    if several is not None:
        rates = {f"learning_rate/{part.name}": _scalar(part.learning_rate) for part in several}
        return rates | {tag: x for part in several for tag, x in _scheduled(part, f"/{part.name}").items()}
    rate = _scalar(inner.learning_rate)
    factors = getattr(inner, "group_factors", {})
    groups = {f"learning_rate/{name}": rate * factor for name, factor in factors.items()}
    return {"learning_rate": rate} | groups | _scheduled(inner)


def _scheduled(optimizer: Any, suffix: str = "") -> dict[str, Any]:
    found = getattr(optimizer, "hyperparameter_schedules", {})
    return {f"hyperparameters/{name}{suffix}": _scalar(follow(optimizer.iterations)) for name, follow in found.items()}


def constant_hyperparameters(optimizer: Any) -> dict[str, float]:
    """Returns momentum, first beta and weight decay (also of groups) by tag, as far as they are plain numbers."""
    found: dict[str, Any] = {}
    parts = inner_optimizers(optimizer)
    for part in parts:
        suffix = f"/{part.name}" if len(parts) > 1 else ""
        with without_tensorflow():
            config = part.get_config()
        own = {name: config.get(name) for name in ("momentum", "beta_1", "weight_decay")}
        own |= {f"weight_decay/{group.name}": group.weight_decay for group in getattr(part, "groups", ())}
        found |= {f"hyperparameters/{name}{suffix}": value for name, value in own.items()}
    return {tag: float(x) for tag, x in found.items() if isinstance(x, int | float) and not isinstance(x, bool)}


def current_estimates(optimizer: Any) -> dict[str, Any]:
    """Returns what the optimizer has estimated so far by tag, as float32 scalars; empty for Keras' optimizers."""
    inner = innermost(optimizer)
    several = getattr(inner, "optimizers", None)
    if several is not None:
        found = {part.name: getattr(part, "estimates", {}) for part in several}
        return {f"estimates/{name}/{part}": _scalar(x) for part, own in found.items() for name, x in own.items()}
    return {f"estimates/{name}": _scalar(value) for name, value in getattr(inner, "estimates", {}).items()}


def _scalar(value: Any) -> Any:
    # A copy: where variables are written in place, the step itself may change this one.
    return ops.copy(ops.cast(ops.convert_to_tensor(value), "float32"))


def effective_gradients(
    optimizer: Any, gradients: Sequence[Any], indices: Sequence[int]
) -> tuple[list[Any], list[Any]]:
    """Returns gradients divided by the loss scale and averaged with what has been accumulated, as float32.

    Beside them those of the last micro-batch alone.
    """
    inner = innermost(optimizer)
    scale = loss_scale(optimizer)
    result = [ops.cast(gradient, "float32") for gradient in gradients]
    if scale is not None:
        result = [gradient / scale for gradient in result]
    last = result
    if inner.gradient_accumulation_steps:
        sums = [ops.convert_to_tensor(inner._accumulated_gradients[i]) for i in indices]
        steps = inner.gradient_accumulation_steps
        result = [(g + ops.cast(s, "float32")) / steps for g, s in zip(last, sums, strict=True)]
    return result, last


def watched_apply(
    optimizer: Any,
    observe: Callable[[Step], None],
    prepare: Callable[[Sequence[Any]], list[Any]],
    copy: Callable[[Any], Any],
) -> Callable[..., Any]:
    """Returns an `apply` that behaves as the optimizer's own and shows each step to `observe`.

    Args:
        optimizer: The optimizer that the model calls.
        observe: Gets the step.
        prepare: Makes gradients dense and sums them over replicas.
        copy: Returns a variable's value, safe from writes in place.
    """
    original = optimizer.apply

    def apply(grads: Any, trainable_variables: Any = None) -> Any:
        grads = list(grads)
        variables = list(trainable_variables or innermost(optimizer)._trainable_variables)
        if not optimizer.built:
            # As Keras does it: a `MultiOptimizer` opens no scope.
            several = hasattr(optimizer, "optimizers")
            with contextlib.nullcontext() if several else keras.name_scope(optimizer.name, caller=optimizer):
                optimizer.build(variables)
        pairs = [(g, v) for g, v in zip(grads, variables, strict=True) if g is not None]
        kept = [variable for _, variable in pairs]
        indices = [innermost(optimizer)._get_variable_index(variable) for variable in kept]
        gradients, last = effective_gradients(optimizer, prepare([g for g, _ in pairs]), indices)
        before = [copy(variable) for variable in kept]
        number, rates, scale = innermost(optimizer).iterations + 1, current_rates(optimizer), loss_scale(optimizer)
        result = original(grads, trainable_variables)
        after = [copy(variable) for variable in kept]
        observe(Step(number, rates, scale, kept, gradients, last, before, after, current_estimates(optimizer)))
        return result

    return apply


def watched_stateless_apply(optimizer: Any, observe: Callable[[Step], None]) -> Callable[..., Any]:
    """Returns a `stateless_apply` that behaves as the optimizer's own and shows each step to `observe`."""
    original = optimizer.stateless_apply

    def stateless_apply(optimizer_variables: Any, grads: Any, trainable_variables: Any) -> Any:
        variables = list(innermost(optimizer)._trainable_variables)
        kept = [i for i, gradient in enumerate(grads) if gradient is not None]
        mapping = list(zip(optimizer.variables, optimizer_variables, strict=True))
        with keras.StatelessScope(state_mapping=mapping):
            gradients, last = effective_gradients(optimizer, [grads[i] for i in kept], kept)
            number, rates = innermost(optimizer).iterations + 1, current_rates(optimizer)
            scale = loss_scale(optimizer)
        new_values, new_state = original(optimizer_variables, grads, trainable_variables)
        with keras.StatelessScope(state_mapping=list(zip(optimizer.variables, new_state, strict=True))):
            estimates = current_estimates(optimizer)
        before, after = [trainable_variables[i] for i in kept], [new_values[i] for i in kept]
        chosen = [variables[i] for i in kept]
        observe(Step(number, rates, scale, chosen, gradients, last, before, after, estimates))
        return new_values, new_state

    return stateless_apply


def owned_schedules(optimizer: Any) -> list[tuple[Any, int]]:
    """Returns the schedules of an optimizer and those inside it, each with the batches to one of the steps it counts.

    Those of the learning rate, and in kopt's optimizers those of other hyperparameters.

    Keras shows its schedules the batches, also where it accumulates several into one step.
    """
    return [
        (schedule, accumulation(part) if isinstance(part, DrivenOptimizer) else 1)
        for part in inner_optimizers(optimizer)
        for schedule in (part._learning_rate, *getattr(part, "hyperparameter_schedules", {}).values())
        if isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule)
    ]

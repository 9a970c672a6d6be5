"""The numbers of a training step that the user writes by hand."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from kopt._backend import adapter_module, watch
from kopt._core import checks
from kopt._core.configured import unknown_argument
from kopt.monitoring.presets import chosen_quantities
from kopt.monitoring.quantity import Numbers, SeenStep


def monitor_step(
    variables: Sequence[Any],
    gradients: Sequence[Any],
    before: Sequence[Any],
    after: Sequence[Any],
    *,
    step: Any,
    quantities: Any = None,
    model: Any = None,
    name: str = "",
    **shown: Any,
) -> dict[str, Any]:
    """Returns the numbers of one step of a custom training loop, as a dict from tag to scalar tensor.

    A pure function of tensors for `tf.function`, `jax.jit` and eager loops. `kopt.callbacks.TensorBoard.write`, or any
    sink's `scalars`, takes what it returns; docs/tensorboard.md has a whole loop.

    Args:
        variables: The trained Keras variables, for their paths.
        gradients: One for each variable, or None where there is none.
        before: The variables' values before the step.
        after: Their values after it. Without JAX, copy the former (`keras.ops.copy`) before the optimizer writes.
        step: Number of the optimizer step, from 1.
        quantities: What to look at, as for `TensorBoard(monitor=...)`; only what can be seen inside a step is shown.
        model: Whose name to leave out of the variables' paths; None to leave paths as they are.
        name: Of the optimizer, where several take steps: `gradients/global_norm/<name>`.
        shown: `loss=` and `learning_rate=`, to be shown as `loss/total` and `learning_rate`.

    Raises:
        ValueError: The lists differ in length, no variable has a gradient, or `quantities` names nothing.
        TypeError: There is another keyword.
    """
    one = _step(variables, gradients, before, after, step)
    noted: Numbers = {_SHOWN[word]: ops.cast(x, "float32") for word, x in _known(shown).items() if x is not None}
    rates = {tag: noted.pop(tag) for tag in ("learning_rate",) if tag in noted}
    one.learning_rates.update(rates)
    paths = watch.unique_paths(model, one.variables)
    seen = SeenStep(one, paths, list(range(len(paths))), lambda: one.gradients, noted, f"/{name}" if name else "")
    return _flat([quantity.in_step(seen) for quantity in chosen_quantities(quantities)])


_SHOWN = {"loss": "loss/total", "learning_rate": "learning_rate"}


def _known(shown: dict[str, Any]) -> dict[str, Any]:
    for word in shown:
        if word not in _SHOWN:
            raise unknown_argument("monitor_step", word, ["step", "quantities", "model", "name", *_SHOWN])
    return shown


def _step(
    variables: Sequence[Any], gradients: Sequence[Any], before: Sequence[Any], after: Sequence[Any], number: Any
) -> watch.Step:
    lengths = [len(values) for values in (variables, gradients, before, after)]
    if len(set(lengths)) != 1:
        raise ValueError(
            "`variables`, `gradients`, `before` and `after` must be lists of one length. "
            f"Received: lengths {', '.join(map(str, lengths))}."
        )
    kept = [i for i, gradient in enumerate(gradients) if gradient is not None]
    if not kept:
        raise checks.fail("gradients", "a list with at least one that is not None", list(gradients))
    dense = [ops.cast(adapter_module.dense(gradients[i]), "float32") for i in kept]
    return watch.Step(
        number=number,
        learning_rates={},
        loss_scale=None,
        variables=[variables[i] for i in kept],
        gradients=dense,
        last_gradients=dense,
        before=[before[i] for i in kept],
        after=[after[i] for i in kept],
        estimates={},
    )


def _flat(parts: Sequence[Numbers]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for tag, value in [item for part in parts for item in part.items()]:
        if isinstance(tag, str):
            found[tag] = value
        else:
            found |= {each: value[i] for i, each in enumerate(tag)}
    return {tag: value for tag, value in found.items() if not tag.startswith("_")}

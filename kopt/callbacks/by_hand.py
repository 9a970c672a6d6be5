"""The numbers of a training step that the user writes by hand."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from kopt._backend import adapter_module, watch
from kopt._core import checks
from kopt.monitoring.presets import chosen_quantities
from kopt.monitoring.quantity import Numbers, SeenStep


def monitor_step(
    variables: Sequence[Any],
    gradients: Sequence[Any],
    before: Sequence[Any],
    after: Sequence[Any],
    *,
    step: Any,
    loss: Any = None,
    learning_rate: Any = None,
    quantities: Any = None,
    model: Any = None,
    name: str = "",
) -> dict[str, Any]:
    """Returns the numbers of one step of a custom training loop, as a dict from tag to scalar tensor.

    A pure function of tensors: it works inside `tf.function`, `jax.jit` and in eager loops, so that what it reads is
    part of the compiled step. `kopt.callbacks.TensorBoard.write` (or any sink's `scalars`) takes what it returns.

    Args:
        variables: The trained Keras variables, for their paths.
        gradients: One for each variable, or None where there is none.
        before: The variables' values before the step.
        after: Their values after it. Without JAX, copy the former (`keras.ops.copy`) before the optimizer writes.
        step: Number of the optimizer step, from 1.
        loss: The loss, shown as `loss/total`; None to leave it out.
        learning_rate: The rate, shown as `learning_rate`; None to leave it out.
        quantities: What to look at, as for `TensorBoard(monitor=...)`; only what can be seen inside a step is shown.
        model: Whose name to leave out of the variables' paths; None to leave paths as they are.
        name: Of the optimizer, where several take steps: `gradients/global_norm/<name>`.

    Returns:
        A dict from tag to float32 scalar tensor.

    Raises:
        ValueError: The lists differ in length, or no variable has a gradient.

    Example:

    ```python
    board = kopt.callbacks.TensorBoard("logs/by_hand")

    @tf.function
    def train_step(x, y):
        with tf.GradientTape() as tape:
            loss = loss_function(y, model(x, training=True))
        gradients = tape.gradient(loss, model.trainable_variables)
        before = [tf.identity(v.value) for v in model.trainable_variables]
        optimizer.apply(gradients, model.trainable_variables)
        after = [tf.identity(v.value) for v in model.trainable_variables]
        return kopt.callbacks.monitor_step(
            model.trainable_variables, gradients, before, after, step=optimizer.iterations, loss=loss
        )

    for step, (x, y) in enumerate(data, start=1):
        numbers = train_step(x, y)
        if step % 100 == 0:
            board.write(numbers, step)
    ```
    """
    lengths = {len(variables), len(gradients), len(before), len(after)}
    if len(lengths) != 1:
        received = f"{len(variables)}, {len(gradients)}, {len(before)}, {len(after)}"
        raise ValueError(
            f"`variables`, `gradients`, `before` and `after` must be lists of one length. Received: lengths {received}."
        )
    kept = [i for i, gradient in enumerate(gradients) if gradient is not None]
    if not kept:
        raise checks.fail("gradients", "a list with at least one that is not None", list(gradients))
    dense = [ops.cast(adapter_module.dense(gradients[i]), "float32") for i in kept]
    rates = {} if learning_rate is None else {"learning_rate": ops.cast(learning_rate, "float32")}
    one = watch.Step(
        number=step,
        learning_rates=rates,
        loss_scale=None,
        variables=[variables[i] for i in kept],
        gradients=dense,
        last_gradients=dense,
        before=[before[i] for i in kept],
        after=[after[i] for i in kept],
        estimates={},
    )
    noted: Numbers = {} if loss is None else {"loss/total": ops.cast(loss, "float32")}
    paths = watch.unique_paths(model, one.variables)
    seen = SeenStep(one, paths, list(range(len(kept))), lambda: dense, noted, f"/{name}" if name else "")
    return _flat([quantity.in_step(seen) for quantity in chosen_quantities(quantities)])


def _flat(parts: Sequence[Numbers]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for tag, value in [item for part in parts for item in part.items()]:
        if isinstance(tag, str):
            found[tag] = value
        else:
            found |= {each: value[i] for i, each in enumerate(tag)}
    return {tag: value for tag, value in found.items() if not tag.startswith("_")}

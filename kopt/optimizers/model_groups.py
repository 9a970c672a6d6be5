"""Groups that follow from a model: no decay on biases and norms, smaller rates for layers nearer to the input."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from kopt._core import checks
from kopt._core.match import list_of_paths, path_of
from kopt.optimizers.group import Group


def no_decay_groups(model: Any) -> list[Group]:
    """Returns one group, without weight decay, of what decay only harms: biases, normalisation, embeddings.

    These are the trainable variables of fewer than two dimensions, those named `bias` (attention's have two), and those
    with "embed" in their path. All others are left to the optimizer's own `weight_decay`.

    Args:
        model: A built Keras model.

    Returns:
        A list for `groups=`; empty if the model has no such variable.

    Raises:
        ValueError: The model has no trainable variables yet.

    Example:

    ```python
    kopt.optimizers.AdamW(1e-3, weight_decay=0.1, groups=kopt.optimizers.no_decay_groups(model))
    ```
    """
    variables = [variable for variable in _trainable(model) if _is_undecayed(variable)]
    return [Group(_exactly(variables), weight_decay=0.0, name="no_decay")] if variables else []


def layerwise_decay(model: Any, factor: float, *, blocks: str | None = None, no_decay: bool = True) -> list[Group]:
    """Returns groups whose rates fall by `factor` from each layer to the one before it; the last has the full rate.

    Args:
        model: A built Keras model. Nested models are entered; a composite layer counts as one.
        factor: Of the learning rate from layer to layer, in (0, 1]; 0.65 to 0.9 are usual in fine-tuning.
        blocks: A regular expression with one group, such as `r"block(\\d+)"`, searched in the variables' paths:
            variables for which the group finds the same text are one layer. Those before the first block (a stem) are
            one layer, those after the last (a head) another. None takes each layer of the model that has weights.
        no_decay: Whether biases, normalisation and embeddings are without weight decay, as in `no_decay_groups`.

    Returns:
        A list for `groups=`: one group per layer, `depth_0` nearest to the output, or two with `no_decay`.

    Raises:
        ValueError: An argument is out of its range, or the model has no trainable variables yet.

    References:
        Howard and Ruder 2018, https://arxiv.org/abs/1801.06146; Clark et al. 2020, https://arxiv.org/abs/2003.10555.
    """
    factor = checks.fraction("factor", factor, one=True)
    if not factor:
        raise checks.fail("factor", "a number in (0, 1]", factor, "Freeze layers with `Group(..., frozen=True)`.")
    checks.flag("no_decay", no_decay)
    variables = _trainable(model)
    layers = _by_layer(model) if blocks is None else _by_block(variables, blocks)
    groups = []
    for depth, members in enumerate(reversed(layers)):
        undecayed = [variable for variable in members if no_decay and _is_undecayed(variable)]
        decayed = [variable for variable in members if not (no_decay and _is_undecayed(variable))]
        rate = factor**depth
        if undecayed:
            groups.append(Group(_exactly(undecayed), rate, weight_decay=0.0, name=f"depth_{depth}_no_decay"))
        if decayed:
            groups.append(Group(_exactly(decayed), rate, name=f"depth_{depth}"))
    return groups


def _trainable(model: Any) -> list[Any]:
    variables = list(model.trainable_variables)
    if not variables:
        advice = "Call `model.build(input_shape)`, or the model on one batch, first."
        raise checks.fail("model", "a built model with trainable variables", getattr(model, "name", model), advice)
    return variables


def _is_undecayed(variable: Any) -> bool:
    path = path_of(variable)
    return len(variable.shape) < 2 or path.endswith("bias") or re.search("embed", path, re.IGNORECASE) is not None


def _exactly(variables: Sequence[Any]) -> str:
    return "^(" + "|".join(re.escape(path_of(variable)) for variable in variables) + ")$"


def _by_layer(model: Any) -> list[list[Any]]:
    seen: set[int] = set()
    layers = []
    for layer in _flat(model):
        own = [variable for variable in layer.trainable_variables if id(variable) not in seen]
        seen.update(map(id, own))
        if own:
            layers.append(own)
    rest = [variable for variable in model.trainable_variables if id(variable) not in seen]
    return [*layers, rest] if rest else layers


def _flat(model: Any) -> Iterator[Any]:
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from _flat(layer)
        else:
            yield layer


def _by_block(variables: Sequence[Any], blocks: str) -> list[list[Any]]:
    pattern = checks.pattern("blocks", blocks)
    if pattern.groups != 1:
        raise checks.fail("blocks", "a regular expression with exactly one group", blocks, r'Such as r"block(\d+)".')
    found = [pattern.search(path_of(variable)) for variable in variables]
    names = list(dict.fromkeys(match[1] for match in found if match))
    if not names:
        raise checks.fail("blocks", "found in some variable's path", blocks, list_of_paths(variables))
    last = max(i for i, match in enumerate(found) if match)
    stem = [v for v, match in zip(variables[:last], found[:last], strict=True) if not match]
    head = list(variables[last + 1 :])
    by_name = [[v for v, match in zip(variables, found, strict=True) if match and match[1] == name] for name in names]
    return [layer for layer in (stem, *by_name, head) if layer]

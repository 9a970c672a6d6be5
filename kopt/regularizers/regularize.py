"""A model made anew with penalties, dropout, drop paths and constraints, or without them.

It is made from the model's config, so all of it is saved and loaded. What is put where:

* Penalties go on the layers' kernels (those of depthwise and separable convolutions too), recurrent kernels, biases,
  embeddings or outputs, each where it is given. An instance that is given is used itself, by all layers:
  `penalty.l2.assign(1e-3)` of kopt's reaches them all.
* Normalization layers get none. Output layers, those with weights from which an output of the model comes without
  another such layer in between, get none either, unless `include` names them; what is removed is removed there too.
* Dropout goes behind dense layers and convolutions that are no output layers, behind the activation and
  normalization that follow them; layers that are called several times get one. Where a dropout layer follows already,
  as far as the next layer with weights, it gets the rate instead, and so do all others that there are, and the dropout
  inside recurrent layers and attention that is not 0.
* Drop paths go at the end of residual branches, in front of each `Add` (or `+`) of a tensor and what is computed from
  it, or of two such with a common origin. Their rates rise from 0 in the first branch to `drop_path` in the last one,
  as `kopt.layers.drop_path_rates` has them; each `Add` counts as a branch. `kopt.layers.DropPath` that are there get
  these rates. Each that is put in has two numbers of its own among the non-trainable weights.
* Layers that are put in have names that begin with "regularize_", by which `unregularize` knows them. Where branches
  run side by side, one that is put into one of them may change the order in which Keras lists the layers, and so that
  of `get_weights`; `get_layer` goes by names.
* A compiled model comes back compiled, with an optimizer that has not taken a step: its moments would be those of a
  model with another loss.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras

from kopt._backend import watch
from kopt._core import checks
from kopt._core.compiled import compile_like
from kopt._core.rebuild import counterparts, parts, remade
from kopt.regularizers import in_place as directly
from kopt.regularizers.dropping import is_dropped_after, is_inserted, set_drop_path, set_dropout
from kopt.regularizers.places import Matches, Place, Selection, Which, layers_in, place_of
from kopt.regularizers.wishes import KEEP, OF_YOUR_OWN, Wishes

_ADVICE = (
    "Give the model a `get_config` and a `from_config`; or make it with penalties and dropout from the beginning; or, "
    "for penalties and constraints alone, say `in_place=True`."
)


def regularize(
    model: keras.Model,
    *,
    kernel: Any = KEEP,
    recurrent: Any = KEEP,
    bias: Any = KEEP,
    embeddings: Any = KEEP,
    activity: Any = KEEP,
    dropout: float | None = None,
    drop_path: float | None = None,
    constraint: Any = KEEP,
    include: Which | Sequence[Which] | None = None,
    exclude: Which | Sequence[Which] = (),
    dropout_after: Which | Sequence[Which] | None = None,
    in_place: bool = False,
) -> keras.Model:
    """Returns a new model with other penalties, dropout, drop paths and constraints, and all else as it is.

    Weights, names, `trainable` flags and what comes out in inference are those of `model`, which stays as it is and
    shares no weight with it. "docs/regularization.md" says what goes where, and has examples.

    Args:
        model: A built model: Sequential, Functional, with such inside, or of a class of yours with a config.
        kernel: Penalty on kernels: a regularizer, a name as in Keras, None to remove what is there, `KEEP` to leave it.
        recurrent: Likewise on the recurrent kernels of recurrent layers.
        bias: Likewise on biases.
        embeddings: Likewise on embeddings.
        activity: Likewise on the outputs of layers with kernels or embeddings, or of wrappers around them.
        dropout: Its rate, in [0, 1), behind hidden layers and where it is already; None leaves all as it is.
        drop_path: Rate of the last residual branch, in [0, 1); None leaves all as it is.
        constraint: Of kernels, as Keras' layers take it, None to remove what is there, `KEEP` to leave it.
        include: Only these layers and what is inside them, output layers too: names of layers or classes, regular
            expressions for them, classes, functions `layer -> bool`, or a list of such. None: all but output layers.
        exclude: Not these layers, nor what is inside them: as `include`.
        dropout_after: Behind which layers dropout goes, as `include`; None for dense layers and convolutions.
        in_place: Change `model` itself, for models without a config: penalties and constraints on weights only.

    Returns:
        The new model; with `in_place`, `model`, whose penalties are not saved with layers of your own.

    Raises:
        ValueError: An argument is out of its range, the model is not built or cannot be made anew, nothing matches an
            argument, or a layer that is meant makes layers inside itself that its config does not reach.
    """
    penalties = {"kernel": kernel, "recurrent": recurrent, "bias": bias, "embeddings": embeddings, "activity": activity}
    wishes = Wishes(penalties, constraint, dropout, drop_path)
    check_built(model)
    make = directly.apply if checks.flag("in_place", in_place) else _anew
    return make(model, wishes, include, exclude, dropout_after)


def _anew(model: keras.Model, wishes: Wishes, include: Any, exclude: Any, dropout_after: Any) -> keras.Model:
    found: list[tuple[Place, Selection]] = []

    def edit(config: dict[str, Any]) -> None:
        root = place_of(config, model)
        selection = Selection(layers_in(root), include, exclude)
        found.append((root, selection))
        after = _after(root, dropout_after)
        wishes.edit(root, selection)
        if wishes.dropout is not None and not set_dropout(root, wishes.dropout, selection, after):
            advice = (
                "It has no dropout, and no dense layer or convolution in front of its output layers. Say where it is "
                'to go: `dropout_after="LSTM"`.'
            )
            raise _nothing("dropout", wishes.dropout, advice, root)
        # The first of the two may have put layers in.
        if wishes.drop_path is not None and not set_drop_path(place_of(config, model), wishes.drop_path, selection):
            advice = (
                "It has no `Add` or `+` of a residual branch between its layers, and no `kopt.layers.DropPath`. What a "
                "layer of your own adds inside itself cannot be reached: put a `DropPath` there."
            )
            raise _nothing("drop_path", wishes.drop_path, advice, root)

    new = remade(model, edit, argument="model", advice=_ADVICE, keep_weights=True, functions=wishes.functions)
    pairs = counterparts(model, new) or []
    ((root, selection),) = found
    wishes.check(root, selection, {id(old): layer for old, layer in pairs})
    compile_like(new, model, pairs)
    return new


def copied(model: keras.Model) -> keras.Model:
    """Returns a new model like the given one, with the same weights; compiled if that is.

    Args:
        model: As `regularize` takes it.
    """
    check_built(model)
    new = remade(model, lambda _: None, argument="model", advice=_ADVICE, keep_weights=True)
    compile_like(new, model, counterparts(model, new) or [])
    return new


def unregularize(model: keras.Model) -> keras.Model:
    """Returns a new model without penalties, constraints, and the layers that `regularize` has put in; else the same.

    All penalties go: on weights, also those of normalization, and on outputs. Dropout layers of your own stay, with the
    rate that they have; `regularize(model, dropout=0.0)` puts it to 0.

    Args:
        model: As `regularize` takes it.

    Returns:
        The new model, compiled if `model` is: as in `regularize`.

    Raises:
        ValueError: The model is not built or cannot be made anew, or a layer makes layers inside itself with
            penalties that its config does not reach.
    """
    check_built(model)

    def edit(config: dict[str, Any]) -> None:
        for part in parts(config):
            for key in part["config"]:
                if key.endswith(("_regularizer", "_constraint")):
                    part["config"][key] = None
        for place in place_of(config, model).walk():
            if place.graph is not None:
                place.graph.remove([name for name, layer in place.graph.layers.items() if is_inserted(layer)])

    new = remade(model, edit, argument="model", advice=_ADVICE, keep_weights=True, without=is_inserted)
    left = [layer for layer in watch.flat_layers(new) if any(v.regularizer is not None for v in layer.variables)]
    if left:
        raise checks.fail("model", "a model whose configs hold its penalties", left[0].name, _ADVICE)
    compile_like(new, model, counterparts(model, new, is_inserted) or [])
    return new


def check_built(model: Any) -> None:
    """Raises `ValueError` if it is not a model that is built."""
    if not isinstance(model, keras.Model):
        raise checks.fail("model", "a keras.Model", model)
    if not model.built:
        advice = "Call `model.build(input_shape)`, or the model on one batch, first."
        raise checks.fail("model", "built", model.name, advice)


def _after(root: Place, dropout_after: Any) -> Callable[[Any], bool]:
    if dropout_after is None:
        return is_dropped_after
    return Matches("dropout_after", dropout_after, layers_in(root))


def _nothing(argument: str, value: Any, advice: str, root: Place) -> ValueError:
    rule = "left out where the model has no place for it"
    return checks.fail(argument, rule, value, OF_YOUR_OWN if root.graph is None else advice)

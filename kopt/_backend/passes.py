"""What a layer or loss may know about the pass in which it is called: the private Keras names for that."""

from typing import Any

from keras.src import backend
from keras.src.backend.common import global_state


def is_first_in_pass(layer: Any) -> bool:
    """Returns whether a layer is called for the first time in a pass through the model; notes that it was called.

    Keras makes a context for the outermost call; its step on JAX has none, but a scope for the values of each pass.
    """
    place = backend.get_stateless_scope() or global_state.get_global_attribute("current_call_ctx")
    if place is None:
        return True
    called: set[int] = vars(place).setdefault("kopt_called", set())
    is_first = id(layer) not in called
    called.add(id(layer))
    return is_first


def is_symbolic() -> bool:
    """Returns whether only shapes and dtypes are asked for, as when Keras builds a compiled loss before training."""
    return bool(backend.in_symbolic_scope())


def masked(values: Any, mask: Any) -> Any:
    """Returns a loss's values with the mask that takes part of them out of the mean."""
    backend.set_keras_mask(values, mask=mask)
    return values


def seed_of(layer: Any) -> Any:
    """Returns the generator of a preprocessing layer, for the backend it computes with: TensorFlow in `tf.data`."""
    return layer._get_seed_generator(layer.backend._backend)


def is_prediction() -> bool:
    """Returns whether a layer is called where nobody will ask for penalties: in inference, outside of a train step.

    In the stateless call of a train or test step on JAX, losses are collected; elsewhere the call knows its `training`.
    """
    scope = backend.get_stateless_scope()
    if scope is not None:
        return not scope.collect_losses
    call = global_state.get_global_attribute("current_call_ctx")
    return call is not None and not call.get_value("training")

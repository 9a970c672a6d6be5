"""Compiles a pure function with the backend's compiler."""

import keras
import pytest


def by_compiler(function, *, xla=True):
    """Returns the function as the backend's compiler makes it; eager for torch, which `fit` does not compile.

    Args:
        function: Tensors in, tensors out.
        xla: Whether TensorFlow compiles it as well, or only makes a graph of it, which is much quicker to make.
    """
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        return jax.jit(function)
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.function(function, jit_compile=xla)
    return function


def dear_on_jax(test):
    """Marks a test slow where each operation outside a compiled step is compiled for itself."""
    return pytest.mark.slow(test) if keras.backend.backend() == "jax" else test


def others_dear_on_jax(first, *others):
    """Returns values for a test's parameter, of which all but the first are left to the slow tests on JAX."""
    marks = pytest.mark.slow if keras.backend.backend() == "jax" else ()
    return [first, *(pytest.param(*(other if isinstance(other, tuple) else (other,)), marks=marks) for other in others)]

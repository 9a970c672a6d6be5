"""Gradients and Hessian-vector products of a pure function, compiled where the backend compiles."""

import importlib

import keras

_module = importlib.import_module(f"kopt._backend.derivatives.{keras.backend.backend()}")
gradient_of = _module.gradient_of
product_of = _module.product_of
compiled = _module.compiled
input_gradient = _module.input_gradient

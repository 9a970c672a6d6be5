"""The only floor that knows TensorFlow, JAX and PyTorch; it hands out the one that Keras uses."""

import importlib

import keras

adapter_module = importlib.import_module(f"kopt._backend.{keras.backend.backend()}")
Adapter = adapter_module.Adapter

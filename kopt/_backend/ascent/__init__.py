"""A train step with two gradients, for each backend: the second one where the loss is higher nearby."""

import importlib

import keras

AscentTrainer = importlib.import_module(f"kopt._backend.ascent.{keras.backend.backend()}").AscentTrainer

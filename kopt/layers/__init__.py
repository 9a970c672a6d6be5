"""Layers that Keras lacks: dropout of paths and blocks, rates that follow a schedule."""

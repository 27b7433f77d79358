"""Neighbour lists and the inputs of a model."""

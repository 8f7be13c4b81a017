"""Families of `gradcore.nn.functional`, which holds all of their functions."""

"""Training through lightning."""

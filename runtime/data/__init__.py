"""Frames, labels, splits, statistics, batches."""

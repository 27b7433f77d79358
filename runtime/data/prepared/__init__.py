"""Frames on disk with their neighbours and labels, for sets larger than memory."""

from .prepare import prepare
from .store import PreparedFrames, Store, open_store

__all__ = ["PreparedFrames", "Store", "open_store", "prepare"]

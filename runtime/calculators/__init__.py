"""Interfaces to simulation engines."""

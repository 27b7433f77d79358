"""Steppers for phase-space models."""

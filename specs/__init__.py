"""Presets, ready specs and the JSON schema of the spec language, as package data."""

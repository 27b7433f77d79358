"""The typed layer graph: types, ops, text form."""

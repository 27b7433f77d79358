"""One torch module per kind of plan step."""

"""Groups, representations, irreps and units, in plain Python."""

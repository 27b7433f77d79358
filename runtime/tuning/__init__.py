"""Search over the fields that a spec marks, through Optuna."""

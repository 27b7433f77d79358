"""Random plans, inputs and group elements for tests."""

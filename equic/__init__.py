"""equic: declarative specs in, symmetry- and physics-constrained torch models out."""

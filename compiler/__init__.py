"""From a spec to a plan: language, symmetry, typed graph, passes, lowering. Never imports torch."""

if __name__ != "equic.compiler":  # a second copy under another name would split every isinstance check
    raise ImportError("import equic.compiler, not the folder compiler/ itself")

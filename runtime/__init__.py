"""From a plan to numbers: modules, data, training, certificates, exports. Never imports the compiler."""

if __name__ != "equic.runtime":  # a second copy under another name would split every isinstance check
    raise ImportError("import equic.runtime, not the folder runtime/ itself")

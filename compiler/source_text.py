"""The resolved spec as text: what an artifact stores, with bases merged, overrides applied, searches
settled.
"""

from __future__ import annotations

import yaml

from .pipeline import Compilation


def resolved_text(done: Compilation) -> str:
    """YAML of the resolved spec, with no file to follow; a spec that is one file is kept as written."""
    assert done.source is not None
    source = done.source
    if len(source.texts) == 1 and not done.spaces:
        return source.text
    data = {key: value for key, value in source.data.items() if key != "extends"}
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=110)

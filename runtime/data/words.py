"""Help for names that were not found."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(name: str, known: Iterable[str], what: str) -> str:
    """One line: the known name most like `name`, if any is, and all there are.

    Example:
        >>> did_you_mean("energy", ["REF_energy", "forces"], "its keys are")
        'did you mean `REF_energy`? its keys are: REF_energy, forces'
    """
    names = sorted(known)
    lower = {other.lower(): other for other in reversed(names)}
    word = name.lower()
    # files prefix and suffix the usual names (REF_energy, dft_forces), which spelling distance does not see
    related = [other for other in lower if word in other or (len(other) > 2 and other in word)]
    matches = get_close_matches(word, related, n=1, cutoff=0.0) or get_close_matches(word, lower, n=1)
    guess = f"did you mean `{lower[matches[0]]}`? " if matches else ""
    return f"{guess}{what}: {', '.join(names) if names else 'none'}"

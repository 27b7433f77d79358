"""Plain words for values and choices in messages."""

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

from .nodes import Path

_LONGEST = 40  # characters of a value quoted in a message
# words of YAML 1.1 for a truth
FALSE_FRIENDS = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}


def value_words(value: Any, text: str | None = None) -> str:
    """A value as a noun phrase; `text` is what the user wrote for it.

    Example:
        >>> [value_words(value) for value in ("abc", 3.5, True, None, [1], {})]
        ['the text `abc`', 'the number `3.5`', '`true`', 'nothing', 'a list', 'a mapping']
    """
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "`true`" if value else "`false`"
    if isinstance(value, (int, float)):
        return f"the number `{clip(text if text is not None else str(value))}`"
    if isinstance(value, str):
        return f"the text `{clip(value)}`" if value.strip() else "an empty text"
    return "a mapping" if isinstance(value, dict) else "a list"


def count_of(number: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun, in the singular where it is one.

    Example:
        >>> count_of(1, "mass", "masses"), count_of(2, "coordinate")
        ('1 mass', '2 coordinates')
    """
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def clip(text: str, longest: int = _LONGEST) -> str:
    """The text on one line, cut where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def listed(words: Iterable[Any], last: str = "or") -> str:
    """Words in backticks, joined as in a sentence.

    Example:
        >>> listed(["adam", "adamw", "amsgrad"])
        '`adam`, `adamw` or `amsgrad`'
    """
    quoted = [f"`{_yaml(word)}`" for word in words]
    return (
        quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} {last} {quoted[-1]}" if quoted else ""
    )


def nearest(word: Any, known: Iterable[Any], *, least: float = 0.6) -> str | None:
    """The known word that was probably meant, or None.

    Example:
        >>> nearest("chanels", ["channels", "layers"]), nearest("Adam", ["adam"]), nearest("x", ["layers"])
        ('channels', 'adam', None)
    """
    lower = {str(candidate).lower(): str(candidate) for candidate in known}
    close = difflib.get_close_matches(str(word).lower(), lower, n=1, cutoff=least)
    return lower[close[0]] if close else None


def certain(word: Any, known: Iterable[Any], *, least: float = 0.8) -> str | None:
    """The known word that was meant beyond doubt: so much like this one, and no other nearly as much.

    Keys may differ more (`least=0.75`) than values, where a wrong guess would change what the spec means.

    Example:
        >>> certain("chanels", ["channels", "layers"]), certain("lmx", ["lmax", "lmin"]), certain("ADAM", ["adam"])
        ('channels', None, 'adam')
    """
    text = str(word).lower()
    scores = sorted(
        (
            (difflib.SequenceMatcher(None, text, str(one).lower()).ratio(), str(one))
            for one in set(map(str, known))
        ),
        reverse=True,
    )
    if not scores or scores[0][0] < least:
        return None
    return None if len(scores) > 1 and scores[1][0] > scores[0][0] - 0.1 else scores[0][1]


def suggestion(word: Any, known: Sequence[Any], otherwise: str) -> str:
    """`did you mean ...?` where a known word is close, else the sentence given."""
    close = nearest(word, known)
    return f"did you mean `{close}`?" if close is not None else otherwise


def place_words(path: Path, root: str = "the spec") -> str:
    """The value at a path, as the subject of a sentence.

    Example:
        >>> [place_words(path) for path in ((), ("train", "epochs"), ("model", "hidden", 1))]
        ['the spec', '`epochs`', 'item 2 of `hidden`']
    """
    if not path:
        return root
    last = path[-1]
    if isinstance(last, str):
        return f"`{last}`"
    return f"item {last + 1} of {place_words(path[:-1], root)}"


def _yaml(word: Any) -> str:
    if word is None:
        return "null"
    return str(word).lower() if isinstance(word, bool) else str(word)

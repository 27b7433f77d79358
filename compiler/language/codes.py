"""The closed table of diagnostic codes. To add one: a line here, and a `Page` in the module of its letter.

S source text and YAML · L the language · T types and symmetry · U units · P physics · R search.
The explanations live in `pages_*.py` and load only when someone asks for them.
"""

from dataclasses import dataclass
from enum import StrEnum


class Code(StrEnum):
    """Every code that a diagnostic may carry.

    Example:
        >>> Code.GATE_COUNT, Code("T204").name
        (<Code.GATE_COUNT: 'T204'>, 'GATE_COUNT')
    """

    # S: source text and YAML
    SYNTAX = "S001"
    TAB = "S002"
    DUPLICATE_KEY = "S003"
    MERGE_KEY = "S004"
    TAG = "S005"
    KEY_NOT_TEXT = "S006"
    UNKNOWN_ALIAS = "S007"
    RECURSIVE_ALIAS = "S008"
    TOO_MANY_VALUES = "S009"
    TOO_DEEP = "S010"
    TOO_LARGE = "S011"
    ENCODING = "S012"
    CONTROL_CHARACTER = "S013"
    SEVERAL_DOCUMENTS = "S014"
    EMPTY_FILE = "S015"
    FILE_NOT_FOUND = "S016"
    EXTENDS_CYCLE = "S017"
    NUMBER_TOO_LARGE = "S018"
    NOT_A_MAPPING = "S019"
    BAD_EXTENDS = "S020"
    FILE_NOT_READABLE = "S021"

    # L: the language
    UNKNOWN_KEY = "L101"
    MISSING_KEY = "L102"
    WRONG_TYPE = "L103"
    WRONG_CHOICE = "L104"
    UNKNOWN_KIND = "L105"
    OUT_OF_RANGE = "L106"
    BAD_IRREPS = "L107"
    BAD_QUANTITY = "L108"
    UNKNOWN_ARCHITECTURE = "L109"
    UNKNOWN_REFERENCE = "L110"
    UNSUPPORTED_VERSION = "L111"
    BAD_OVERRIDE = "L112"
    INVALID_VALUE = "L113"
    WRONG_LENGTH = "L114"
    CONFLICTING_KEYS = "L115"

    # T: types and symmetry
    BROKEN_SYMMETRY = "T201"
    REP_MISMATCH = "T202"
    CHANNELS_UNEQUAL = "T203"
    GATE_COUNT = "T204"
    ACTIVATION_ON_NONSCALAR = "T205"
    UNREACHABLE_IRREPS = "T206"
    UNKNOWN_GROUP = "T207"
    INDEX_MISMATCH = "T208"

    # U: units
    UNIT_MISMATCH = "U301"
    UNKNOWN_UNIT = "U302"
    WRONG_DIMENSION = "U303"

    # P: physics
    NOT_SEPARABLE = "P401"
    FORCES_WITHOUT_ENERGY = "P402"
    BAD_COORDINATES = "P404"
    BAD_MASSES = "P405"

    # R: search
    EMPTY_SEARCH = "R601"
    BAD_SEARCH = "R602"
    REVERSED_BOUNDS = "R603"
    NESTED_SEARCH = "R604"
    NOTHING_TO_SEARCH = "R605"
    TINY_SEARCH = "R606"


@dataclass(frozen=True, slots=True)
class Page:
    """What `equic explain CODE` prints: a title and three sections, none of them empty."""

    title: str
    meaning: str
    example: str
    mend: str


def pages() -> dict[Code, Page]:
    """Every page by its code, in the order of the codes."""
    from .pages_language import PAGES as language
    from .pages_physics import PAGES as physics
    from .pages_source import PAGES as source
    from .pages_types import PAGES as types

    found = {**source, **language, **types, **physics}
    return {code: found[code] for code in Code}


def explain(code: Code | str) -> str:
    """The page of a code as plain text. Raises `ValueError` for a code that does not exist.

    Example:
        >>> print(explain("S003").splitlines()[0])
        S003: a key is written twice
    """
    page = pages()[Code(code)]
    example = "\n".join(f"    {line}" if line else "" for line in page.example.strip("\n").splitlines())
    return (
        f"{Code(code)}: {page.title}\n\n"
        f"What it means\n\n{page.meaning.strip()}\n\n"
        f"An example that triggers it\n\n{example}\n\n"
        f"How to mend it\n\n{page.mend.strip()}\n"
    )

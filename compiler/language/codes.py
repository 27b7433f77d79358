"""The closed table of diagnostic codes. To add one: a line here, and a `Page` in the module of its letter.

S source text and YAML · L the language · T types and symmetry · U units · P physics · D data · R search.
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
    IRREPS_TOO_LARGE = "L116"
    AMBIGUOUS_ARCHITECTURE = "L117"
    OTHER_ARCHITECTURE = "L118"
    UNKNOWN_PARAMETER = "L119"
    NAME_TAKEN = "L120"
    CIRCULAR_VALUES = "L121"
    TARGET_NOT_COMPUTED = "L122"
    UNKNOWN_ELEMENT = "L123"
    LISTED_TWICE = "L124"
    BAD_NAME = "L125"
    MODEL_TOO_LARGE = "L126"

    # T: types and symmetry
    BROKEN_SYMMETRY = "T201"
    REP_MISMATCH = "T202"
    CHANNELS_UNEQUAL = "T203"
    GATE_COUNT = "T204"
    ACTIVATION_ON_NONSCALAR = "T205"
    UNREACHABLE_IRREPS = "T206"
    UNKNOWN_GROUP = "T207"
    INDEX_MISMATCH = "T208"
    FACTOR_TWICE = "T209"
    UNREACHABLE_BY_LINEAR = "T210"
    UNREACHABLE_BY_POWER = "T211"
    UNREACHABLE_PARITY = "T212"
    EVEN_FUNCTION_ON_ODD = "T213"
    MODE_NOT_OFFERED = "T214"
    IMPLIED_GROUP = "T215"
    FEATURES_NOT_INVARIANT = "T216"
    TARGET_REP = "T217"
    TARGET_INDEX = "T218"
    ABSOLUTE_POSITIONS = "T219"
    BAD_SLICE = "T220"
    PATH_WEIGHTS = "T221"
    GRADIENT_OF_FIELD = "T222"
    LABELS_NOT_NUMBERS = "T223"
    TWO_MODES = "T224"
    BAD_SWAP = "T225"
    TARGET_FROM_SCALARS = "T226"
    TARGET_NOT_CARRIED = "T227"
    TARGET_FORM = "T228"
    OTHER_FRAME = "T229"
    ONLY_APPROXIMATE = "T230"
    NO_CUTOFF = "T231"

    # U: units
    UNIT_MISMATCH = "U301"
    UNKNOWN_UNIT = "U302"
    WRONG_DIMENSION = "U303"
    MISSING_UNIT = "U304"
    UNIT_NOT_COMPUTED = "U305"
    LABEL_UNIT = "U306"
    GRADIENT_UNIT = "U307"

    # P: physics
    NOT_SEPARABLE = "P401"
    FORCES_WITHOUT_ENERGY = "P402"
    BAD_COORDINATES = "P404"
    BAD_MASSES = "P405"
    NO_HAMILTONIAN = "P406"
    FLOW_NOT_ASKED = "P407"
    HAMILTONIAN_OF_ATOMS = "P408"
    GRADIENT_OF_GRADIENT = "P409"
    WRONG_DERIVATIVE = "P410"
    FORCE_SIGN = "P411"
    MASSES_MISSING = "P412"
    TERM_TWICE = "P413"
    TOO_FEW_BODIES = "P414"
    COORDINATES_DO_NOT_PAIR = "P415"
    MASSES_UNUSED = "P416"
    TERM_WITHOUT_ENERGY = "P417"
    GRADIENT_OF_JUMP = "P418"
    NOTHING_TO_TABULATE = "P419"
    MOMENTUM_DECLARED = "P420"
    JUMPING_ENERGY = "P421"

    # D: data
    NO_LABELS = "D501"
    UNKNOWN_LABEL = "D502"
    ISOLATED_ATOMS = "D503"
    LOSS_WITHOUT_LABEL = "D504"
    SET_NAME = "D505"
    DATA_FILE = "D506"
    LABEL_MISSING = "D507"
    LABEL_SHAPE = "D508"
    LABEL_NOT_FINITE = "D509"
    UNDECLARED_SPECIES = "D510"
    UNSEEN_SPECIES = "D511"
    UNLIKELY_UNIT = "D512"
    SHARED_STRUCTURES = "D513"
    NO_ISOLATED_ATOM = "D514"
    UNLIKELY_BINDING = "D515"
    LABELS_CONTRADICT = "D516"
    STRESS_NOT_PERIODIC = "D517"
    CONSTANT_LABEL = "D518"
    NOTHING_LEFT = "D519"
    INPUT_MISSING = "D520"

    # R: search
    EMPTY_SEARCH = "R601"
    BAD_SEARCH = "R602"
    REVERSED_BOUNDS = "R603"
    NESTED_SEARCH = "R604"
    NOTHING_TO_SEARCH = "R605"
    TINY_SEARCH = "R606"
    UNKNOWN_OBJECTIVE = "R607"
    SEVERAL_OBJECTIVES = "R608"
    LOG_FROM_ZERO = "R609"
    BAD_DEFAULT = "R610"
    BAD_STEP = "R611"
    UNSOUND_CHOICE = "R612"


@dataclass(frozen=True, slots=True)
class Page:
    """What `equic explain CODE` prints: a title and three sections, none of them empty."""

    title: str
    meaning: str
    example: str
    mend: str


def pages() -> dict[Code, Page]:
    """Every page by its code, in the order of the codes."""
    from .pages_data import PAGES as data
    from .pages_language import PAGES as language
    from .pages_physics import PAGES as physics
    from .pages_source import PAGES as source
    from .pages_symmetry import PAGES as symmetry
    from .pages_types import PAGES as types

    found = {**source, **language, **types, **symmetry, **physics, **data}
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

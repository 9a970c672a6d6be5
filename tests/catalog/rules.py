"""What an argument must be, and values that break the rule."""

import math

NAN, INF = math.nan, math.inf
NON_NEGATIVE = ("a finite number >= 0", [-0.1, NAN, INF, -INF, True, "0.1", [0.1], 1j])
POSITIVE = ("a finite number > 0", [0, -0.1, NAN, INF, True, "0.1", [0.1]])
FRACTION = ("a number in [0, 1)", [-0.1, 1, 1.5, NAN, INF, True, "0.5", None])
FRACTION_WITHOUT_ZERO = ("a number in (0, 1)", [0, -0.1, 1, NAN, True, "0.5", None])
FRACTION_OR_ONE = ("a number in [0, 1]", [-0.1, 1.1, NAN, True, "0.5", None])
AT_LEAST_ONE = ("a finite number >= 1", [0.9, 0, -1, NAN, INF, True, "2", None])
COUNT = ("an integer >= 1", [0, -1, 2.0, NAN, True, "3"])
ZERO_OR_MORE = ("an integer >= 0", [-1, 2.0, NAN, True, "3"])
TWO_OR_MORE = ("an integer >= 2", [1, 0, -2, 2.0, True, "3"])
TEXT = ("a string that is not empty", ["", None, 3, ["loss"], True])
FLAG = ("True or False", [0, 1, None, "yes"])
SCHEDULE = ("a schedule or a number", [True, None, "cosine", [0.1]])


def one_of(*words: str) -> tuple[str, list]:
    """Returns the rule for an argument that is one of a few words."""
    return f"one of {', '.join(map(repr, words))}", ["other", None, 1, True, [words[0]], words[0].upper()]

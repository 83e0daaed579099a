"""What screening and preparation say of a case, in one word."""

from enum import StrEnum


class Verdict(StrEnum):
    """Whether a case can be used; its `cause`, in a column beside it, says why not.

    Attributes:
        OK: usable as it is.
        REPAIRED: usable, once something that has one meaning was put right while reading. The
            pool catalogue counts such a case as ok.
        QUARANTINED: set aside.
    """

    OK = "ok"
    REPAIRED = "repaired"
    QUARANTINED = "quarantined"

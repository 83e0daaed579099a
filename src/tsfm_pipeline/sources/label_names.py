"""Do the names that a download gives its label values fit what we map them to?"""

import re
from collections.abc import Iterable, Mapping

_SAME_WORD = {"tumour": "tumor", "cancer": "tumor"}

Words = frozenset[str]


def renumbered(
    published: Mapping[int, str],
    labels: Mapping[int | str, str | None],
    spellings: Mapping[int, str],
) -> dict[int, int]:
    """Find values whose published name is that of another value's target.

    Names are compared as sets of words, so `right kidney` is `kidney_right`; a name that is part of
    a target's (`Vessel` of `hepatic_vessel`) fits it, less well than the whole. A name that fits no
    target says nothing.

    >>> renumbered({1: "cancer", 2: "liver"}, {1: "liver", 2: "liver_tumor"}, {})
    {1: 2, 2: 1}

    Args:
        published: value -> name, as the download lists them.
        labels: value -> target, or None where the value is dropped.
        spellings: value -> another name that the publisher gives it.

    Returns:
        Value -> the value whose target its name fits better than that of its own.
    """
    names = {
        value: [_words(name) for name in (target, spellings.get(value)) if name]
        for value, target in labels.items()
        if isinstance(value, int)
    }
    found = {}
    for value, name in published.items():
        words = _words(name)
        target = labels.get(value)
        own = _fit(words, names.get(value, []))
        if target is None:
            own = max(own, 1)  # part of a name does not tell what was dropped
        for other, theirs in names.items():
            if labels[other] not in (target, None) and _fit(words, theirs) > own:
                found[value] = other
    return found


def _fit(words: Words, names: Iterable[Words]) -> int:
    """Return 2 for a whole name, 1 for part of one, 0 for none."""
    return max(
        (2 if words == name else int(bool(words) and words < name) for name in names), default=0
    )


def _words(name: str) -> Words:
    found = re.findall(r"[^\W_]+", name.lower())
    return frozenset(_SAME_WORD.get(word, word) for word in found)

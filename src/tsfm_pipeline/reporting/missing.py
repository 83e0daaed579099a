"""What a report does not show, and why."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import product

import pandas as pd

from tsfm_pipeline.reporting.staleness import STALE


@dataclass(frozen=True)
class Missing:
    """Experiments that share a status and a reason.

    Attributes:
        why: not run, failed, needs checkpoint or stale.
        reason: recorded for all of them; may be empty.
        patterns: shell patterns that match these experiments and no others, with their numbers.
    """

    why: str
    reason: str
    patterns: dict[str, int]

    @property
    def number(self) -> int:
        """Of experiments."""
        return sum(self.patterns.values())


def what_is_missing(comparison: pd.DataFrame, statuses: pd.DataFrame) -> list[Missing]:
    """Count the experiments without a current figure.

    Args:
        comparison: all tables in long form (`comparison.build_table`).
        statuses: experiment, status and reason of each experiment.

    Returns:
        Failed experiments, those that need a checkpoint, not run and stale ones, by their reason.
    """
    names = [str(name) for name in statuses["experiment"]]
    found = []
    for why in ("failed", "needs checkpoint", "not run"):
        rows = statuses[statuses["status"] == why].fillna({"reason": ""})
        for reason, group in rows.groupby("reason", sort=False):
            patterns = shell_patterns(list(map(str, group["experiment"])), names)
            found.append(Missing(why, str(reason), patterns))
    stale = comparison.loc[comparison["status"] == STALE, "experiment"].unique()
    if len(stale):
        found.append(Missing(STALE, "", shell_patterns(list(map(str, stale)), names)))
    return found


def shell_patterns(names: Collection[str], of: Collection[str]) -> dict[str, int]:
    """Describe names by few shell patterns that match none of the others.

    Args:
        names: dotted.
        of: all names there are.

    Returns:
        Pattern -> how many of the names it stands for, in the order of the names.

    >>> names = ["study.few1.kits19", "study.few2.kits19", "pretrain.nnunet"]
    >>> shell_patterns(names, [*names, "study.few1.brats", "pretrain.tsfm"])
    {'study.*.kits19': 2, 'pretrain.nnunet': 1}
    """
    left = list(dict.fromkeys(names))
    others = set(of) - set(left)
    patterns = {}
    while left:
        covered = {
            pattern: matched
            for pattern in _candidates(left[0])
            if not any(fnmatchcase(name, pattern) for name in others)
            and (matched := [name for name in left if fnmatchcase(name, pattern)])
        }
        # most names; of those patterns the most telling one, and a single name as it is
        best = max(covered, key=lambda pattern: (len(covered[pattern]), _literals(pattern)))
        patterns[best] = len(covered[best])
        left = [name for name in left if name not in covered[best]]
    return patterns


def _candidates(name: str) -> Iterator[str]:
    """Yield the name, and what it becomes where parts after the first are left open."""
    first, *parts = name.split(".")
    for chosen in product(*((part, "*") for part in parts)):
        yield ".".join((first, *chosen))
    yield f"{first}.*"
    for i in range(1, len(parts) + 1):
        yield ".".join((first, *parts[:i])) + "*"


def _literals(pattern: str) -> int:
    return len(pattern.replace("*", "").replace(".", ""))

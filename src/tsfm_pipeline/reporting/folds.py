"""The folds of a cross-validation as one report."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from tsfm_pipeline.evaluation.folds import FoldError
from tsfm_pipeline.reporting.provenance import Provenance


@dataclass(frozen=True)
class Fold:
    """What the last run in a workspace left.

    Attributes:
        scores: rows of `evaluation.metrics.SCORES_SCHEMA`.
        statuses: rows of `experiments.outcome.STATUSES_SCHEMA`.
        provenance: of these scores.
        settings: experiment -> what decided its weights, besides cases and initial weights.
    """

    scores: pd.DataFrame
    statuses: pd.DataFrame
    provenance: Provenance
    settings: Mapping[str, Mapping[str, Any]]


def refuse_other_settings(folds: Mapping[str, Fold]) -> None:
    """Refuse folds of different pools, and experiments that were trained differently.

    Raises:
        FoldError: naming two workspaces and what differs.
    """
    (first, one), *others = folds.items()
    for workspace, fold in others:
        where = f"{first} and {workspace}"
        if fold.provenance.pool != one.provenance.pool:
            raise FoldError(
                f"{where} are of two pools, {one.provenance.pool} and {fold.provenance.pool}; run"
                " the older one again"
            )
        for name in one.settings.keys() & fold.settings.keys():
            here, there = one.settings[name], fold.settings[name]
            differing = sorted(key for key in {**here, **there} if here.get(key) != there.get(key))
            if differing:
                raise FoldError(
                    f"{where} have trained {name} with another {', '.join(differing)}; run both"
                    " with the same settings"
                )


def pooled_provenance(folds: Sequence[Provenance]) -> Provenance:
    """Say where the figures of all folds come from, with a selection per fold."""
    names = dict.fromkeys(name for fold in folds for name in fold.selections)
    return replace(
        folds[0],
        workspace=", ".join(fold.workspace for fold in folds),
        stale={name: pool for fold in folds for name, pool in fold.stale.items()},
        origins={},
        selections={
            name: [one for fold in folds for one in fold.selections.get(name, ())] for name in names
        },
        folds=tuple(number for fold in folds for number in fold.folds),
    )


def pooled_statuses(folds: Mapping[str, Fold], left_out: Mapping[str, str]) -> pd.DataFrame:
    """Call an experiment finished where all folds have finished it; else say which has not.

    Args:
        folds: by workspace.
        left_out: experiment -> workspace that has no scores of it.
    """
    rows: dict[str, dict[Hashable, Any]] = {}
    for workspace, fold in folds.items():
        for row in fold.statuses.to_dict("records"):
            name = str(row["experiment"])
            if row["status"] == "finished" and left_out.get(name) == workspace:
                row |= {"status": "not run", "reason": "no scores"}
            if row["status"] != "finished":
                row["reason"] = f"{workspace}: {row['reason']}"
            if name not in rows or rows[name]["status"] == "finished":
                rows[name] = row
    return pd.DataFrame(list(rows.values()))

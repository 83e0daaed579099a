"""Other readings of what a target is, scored beside a case's regions from the same two maps."""

from collections.abc import Mapping, Sequence

import pandas as pd

from tsfm_pipeline.evaluation.settings import EvaluationSettings
from tsfm_pipeline.imaging.labels import LabelError, LabelTable

ALONE = "{} (label alone)"
"""Name of the first target of a region without the others that lie in it."""


def extra_targets(
    regions: Sequence[str], table: LabelTable, unions: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[int, ...]]:
    """Return what else can be scored where these regions are, by name, as stored integers.

    - A region with others inside it is its first target alone, too: the liver as label 1.
    - Targets of which all parts are there (`LabelTable.compositions`): both kidneys as `kidney`.
    - The unions that the settings name: BraTS's whole tumour.

    >>> table = LabelTable(
    ...     targets={"liver": 5, "liver_tumor": 25}, regions={"liver": ("liver", "liver_tumor")}
    ... )
    >>> extra_targets(["liver", "liver_tumor"], table, {"lesions": ("liver_tumor", "cyst")})
    {'liver (label alone)': (5,)}
    >>> extra_targets(["liver"], table, {})  # a dataset without the tumour
    {}
    """
    by_name = {table.plain_name(region): region for region in regions}
    scored = {table.region_ids(region) for region in regions}
    found: dict[str, tuple[int, ...]] = {}
    for name, region in by_name.items():
        first, *inside = table.region_targets(region)
        alone = (table.id_of(first),)
        if set(inside) & set(regions) and alone not in scored:
            found[ALONE.format(name)] = alone
    for target, parts in table.compositions.items():
        if target not in by_name and set(parts) <= by_name.keys():
            found[target] = table.composed_ids(target)
    for name, parts in unions.items():
        if set(parts) <= by_name.keys():
            found[name] = tuple(i for part in parts for i in table.region_ids(by_name[part]))
    return found


def without_extra(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the regions themselves, as means and tests over targets want them.

    Args:
        rows: with the column `extra` of `metrics.SCORES_SCHEMA`; older tables have nulls in it.
    """
    return rows[~rows["extra"].eq(True)]


def check_unions(settings: EvaluationSettings, table: LabelTable) -> None:
    """Refuse unions that would never be scored, or under the name of something else.

    Raises:
        LabelError: naming them.
    """
    known = {table.plain_name(name) for name in (*table.targets, *table.regions)}
    for name, parts in settings.unions.items():
        if name in known:
            raise LabelError(f"evaluation.unions.{name} is a target or region; choose another name")
        if unknown := sorted(set(parts) - known):
            raise LabelError(
                f"evaluation.unions.{name}: unknown target(s) {', '.join(unknown)}; correct the"
                " names"
            )

"""What a pool holds, as tables for people: datasets, targets, and who annotates what."""

from collections.abc import Mapping
from itertools import combinations
from typing import get_args

import numpy as np
import pandas as pd
import pyarrow as pa

from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.pool.leakage import leaking_cases
from tsfm_pipeline.pool.roles import Role
from tsfm_pipeline.pool.settings import PoolSettings
from tsfm_pipeline.preparation.verdict import Verdict
from tsfm_pipeline.sources import Source

_MEASURES = ("spacing_z", "spacing_y", "spacing_x", "size_z", "size_y", "size_x")
_STATISTICS = ("min", "median", "max")

POOL_DATASETS_SCHEMA = pa.schema(
    [
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("part", pa.string(), nullable=False),
        pa.field("modalities", pa.string(), nullable=False),
        *(
            pa.field(name, pa.int64(), nullable=False)
            for name in ("found", "ok", "repaired", "quarantined", "leaking", "left_out")
        ),
        *(pa.field(name, pa.int64(), nullable=False) for name in ("training", "validation")),
        *(pa.field(name, pa.int64()) for name in ("test", "release", "paper")),
        *(
            pa.field(f"{measure}_{statistic}", pa.float64(), nullable=False)
            for measure in _MEASURES
            for statistic in _STATISTICS
        ),
        pa.field("licence", pa.string(), nullable=False),
        pa.field("url", pa.string(), nullable=False),
    ]
)
"""Spacing in mm and size in voxels of the raw images in canonical orientation."""

POOL_TARGETS_SCHEMA = pa.schema(
    [
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("target", pa.string(), nullable=False),
        pa.field("cases", pa.int64(), nullable=False),
        pa.field("voxels", pa.int64(), nullable=False),
        pa.field("median_ml", pa.float64(), nullable=False),
    ]
)

SUPERVISION_SCHEMA = pa.schema(
    [
        pa.field("region", pa.string(), nullable=False),
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("modality", pa.string(), nullable=False),
        pa.field("cases", pa.int64(), nullable=False),
        pa.field("by_parts", pa.bool_()),
    ]
)
"""`by_parts`: the dataset labels the parts that the region's first target is composed of, and not
that target; null in tables of before."""


def dataset_table(
    catalogue: pd.DataFrame,
    leakage: pd.DataFrame,
    splits: pd.DataFrame,
    sources: Mapping[str, Source],
    pool: PoolSettings,
    integrity: pd.DataFrame,
) -> pd.DataFrame:
    """Return a row per dataset, those of the pool first, in the order of the settings.

    Args:
        catalogue: the pool catalogue.
        leakage: rows of `find_leakage`.
        splits: cases in use.
        sources: all configured datasets.
        pool: which of them are the pool.
        integrity: the integrity table, whose verdicts tell repaired cases from sound ones.

    Returns:
        Columns of POOL_DATASETS_SCHEMA. `found` = `ok` + `repaired` + `quarantined`; `leaking`
        cases are downstream too, and `left_out` of all roles when the pool is to be leakage-free.
        `release` is the size of the public release, `paper` our reading of the paper's count.
    """
    repaired_keys = set(integrity.loc[integrity["verdict"] == Verdict.REPAIRED, "key"])
    usable = catalogue[catalogue["verdict"] == Verdict.OK]
    leaking_keys = set(usable.loc[leaking_cases(usable, leakage, pool), "key"])
    rows = []
    for dataset in [*pool.datasets, *pool.downstream]:
        found = catalogue[catalogue["dataset"] == dataset]
        sound = usable[usable["dataset"] == dataset]
        used = splits[splits["dataset"] == dataset]
        repaired = int(sound["key"].isin(repaired_keys).sum())
        source = sources[dataset]
        rows.append(
            {
                "dataset": dataset,
                "part": "pool" if dataset in pool.datasets else "downstream",
                "modalities": ", ".join(sorted(set(found["modality"]))),
                "found": len(found),
                "ok": len(sound) - repaired,
                "repaired": repaired,
                "quarantined": len(found) - len(sound),
                "leaking": int(sound["key"].isin(leaking_keys).sum()),
                "left_out": len(sound) - len(used),
                **{role: int((used["role"] == role).sum()) for role in get_args(Role)},
                "release": source.expected_cases,
                "paper": pool.paper_cases.get(dataset),
                **_distributions(sound),
                "licence": source.licence,
                "url": source.url,
            }
        )
    table = pd.DataFrame(rows, columns=POOL_DATASETS_SCHEMA.names)
    return table.astype({"release": "Int64", "paper": "Int64"})


def target_table(
    catalogue: pd.DataFrame, sources: Mapping[str, Source], table: LabelTable
) -> pd.DataFrame:
    """Return, per dataset and target: cases that show it, voxels in the pool, median volume.

    A target that a dataset annotates and no usable case shows has 0 of all three: a label that
    the download does not use, or that `datasets.*.labels` maps from the wrong value.
    """
    usable = catalogue[catalogue["verdict"] == Verdict.OK]
    long = usable[["dataset", "target_names", "target_voxels", "voxel_volume"]].explode(
        ["target_names", "target_voxels"]
    )
    long = long.dropna(subset="target_names").rename(columns={"target_names": "target"})
    long["target_voxels"] = long["target_voxels"].astype("int64")
    long["ml"] = long["target_voxels"] * long["voxel_volume"] / 1000
    groups = long.groupby(["dataset", "target"], sort=False)
    shown = groups.agg(
        cases=("target_voxels", "size"), voxels=("target_voxels", "sum"), median_ml=("ml", "median")
    ).round({"median_ml": 3})
    modalities = usable[["dataset", "modality"]].drop_duplicates().itertuples(index=False)
    annotated = dict.fromkeys(
        (dataset, target)
        for dataset, modality in modalities
        for target in sources[dataset].annotated_targets(modality, table)
    )
    unseen = pd.DataFrame(
        [(*pair, 0, 0, 0.0) for pair in annotated if pair not in shown.index],
        columns=POOL_TARGETS_SCHEMA.names,
    )
    return pd.concat([shown.reset_index(), unseen], ignore_index=True)


def overlap_table(duplicates: pd.DataFrame, pool: PoolSettings) -> pd.DataFrame:
    """Return what is published of datasets in use that share scans, and the pairs found of each.

    Returns:
        Columns datasets, pairs (those of `find_duplicates`) and source. No pair where an overlap
        is published is as worth a look as one where none is.
    """
    used = {*pool.datasets, *pool.downstream}
    names = duplicates[["key", "other_key"]].apply(lambda keys: keys.str.split("/").str[0])
    found = pd.Series(
        [frozenset(pair) for pair in names.itertuples(index=False)], dtype=object
    ).value_counts()
    rows = [
        (" = ".join(some), int(found.get(frozenset(some), 0)), overlap.source)
        for overlap in pool.known_overlaps
        for some in (
            combinations(overlap.datasets, 2) if overlap.datasets[1:] else [overlap.datasets]
        )
        if used.issuperset(some)
    ]
    return pd.DataFrame(rows, columns=["datasets", "pairs", "source"])


def supervision_table(
    catalogue: pd.DataFrame,
    splits: pd.DataFrame,
    sources: Mapping[str, Source],
    table: LabelTable,
) -> pd.DataFrame:
    """Return which dataset annotates which region (network channel), in how many cases in use.

    A region is annotated by all cases of a dataset's modality or by none; a case that does not
    show it counts, because its background is a statement, too. Parts count within the pool alone:
    a downstream dataset is trained by itself, and so without channels that it does not name.
    """
    used = catalogue[catalogue["key"].isin(splits["key"])]
    cases = used.groupby(["dataset", "modality"], sort=False).size().reset_index(name="cases")
    targets = {
        (dataset, modality): sources[dataset].annotated_targets(modality, table)
        for dataset, modality, _ in cases.itertuples(index=False)
    }
    pool = set(splits.loc[splits["pool"], "dataset"])
    channels = table.regions_annotated_by(
        [name for (dataset, _), names in targets.items() if dataset in pool for name in names]
    )
    rows = []
    for dataset, modality, count in cases.itertuples(index=False):
        own = table.regions_annotated_by(targets[dataset, modality])
        for region in table.regions_supervised_by(targets[dataset, modality]):
            if region in own or (dataset in pool and region in channels):
                rows.append((region, dataset, modality, count, region not in own))
    return pd.DataFrame(rows, columns=SUPERVISION_SCHEMA.names)


def _distributions(cases: pd.DataFrame) -> dict[str, float]:
    spacing = np.array(list(cases["canonical_spacing"]), float)
    size = np.array(list(cases["canonical_shape"]), float)
    columns = dict(zip(_MEASURES, np.hstack([spacing, size]).T, strict=True))
    return {
        f"{name}_{statistic}": round(float(getattr(np, statistic)(values)), 4)
        for name, values in columns.items()
        for statistic in _STATISTICS
    }

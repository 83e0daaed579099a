"""The index of all raw cases: one table row per case, usable or listed with its problem."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from tsfm_pipeline.sources.source import LabelFile, Source, SourceCase, SourceError

logger = logging.getLogger(__name__)

CASE_INDEX_SCHEMA = pa.schema(
    [
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("case", pa.string(), nullable=False),
        pa.field("patient", pa.string(), nullable=False),
        pa.field("modality", pa.string(), nullable=False),
        pa.field("images", pa.list_(pa.string()), nullable=False),
        pa.field("label_files", pa.list_(pa.string()), nullable=False),
        pa.field("label_classes", pa.list_(pa.string()), nullable=False),
        pa.field("problem", pa.string(), nullable=False),
    ]
)


def build_case_index(
    datasets: Mapping[str, Source], names: Sequence[str], raw_root: Path
) -> pd.DataFrame:
    """List the cases of the named datasets from their folders, reading no volume.

    Args:
        datasets: all configured datasets by name.
        names: those to index, in this order.
        raw_root: folder that the datasets' own folders are relative to.

    Returns:
        One row per case with the columns of CASE_INDEX_SCHEMA; a class "" stands for an integer
        map, a problem "" for a usable case.

    Raises:
        SourceError: an unknown dataset name, folders that are missing or hold no case (all of
            them in one message), or a dataset named twice.
    """
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise SourceError(f"{repeated} named more than once; name each dataset once in `pool`")
    unknown = [name for name in names if name not in datasets]
    if unknown:
        raise SourceError(f"unknown dataset(s) {unknown}; `datasets` has {sorted(datasets)}")
    cases: list[SourceCase] = []
    errors: list[str] = []
    for name in names:
        try:
            found = datasets[name].find_cases(raw_root)
        except SourceError as error:
            errors.append(str(error))
            continue
        found = _without_twins(found)
        _warn_of_problems(name, found)
        cases += found
    if errors:
        raise SourceError("\n".join(errors))
    _warn_of_counts(datasets, names, cases)
    return pd.DataFrame([_row(case) for case in cases], columns=CASE_INDEX_SCHEMA.names)


def require_root(raw_root: Path) -> None:
    """Raise SourceError where the folder of the raw datasets is missing."""
    if not raw_root.is_dir():
        raise SourceError(
            f"raw_root: there is no folder {raw_root}. Set it to the folder of your downloads in"
            " conf/<environment>/globals.yml, or give --params raw_root=PATH"
        )


def require_folders(datasets: Mapping[str, Source], names: Sequence[str], raw_root: Path) -> None:
    """Look for the folders of the named datasets; open none.

    Raises:
        SourceError: some are missing, all of them in one message.
    """
    missing = [name for name in names if not (raw_root / datasets[name].folder).is_dir()]
    if missing:
        listed = ", ".join(f"{name} ({datasets[name].folder})" for name in missing)
        raise SourceError(
            f"{len(missing)} of {len(names)} datasets have no folder in raw_root, {raw_root}:\n"
            f"{listed}\n"
            "Download them (`tsfm-pipeline check-data` says from where), correct"
            " `datasets.<name>.folder`, or take them out of `pool.datasets` and `pool.downstream`"
        )


def case_from_row(row: Mapping[str, Any] | pd.Series) -> SourceCase:
    """Rebuild a case from a row of the index, also after a round trip through Parquet."""
    return SourceCase(
        dataset=row["dataset"],
        case=row["case"],
        patient=row["patient"],
        modality=row["modality"],
        images=tuple(Path(path) for path in row["images"]),
        labels=tuple(
            LabelFile(Path(path), class_name or None)
            for path, class_name in zip(row["label_files"], row["label_classes"], strict=True)
        ),
        problem=row["problem"],
    )


def _row(case: SourceCase) -> dict[str, str | list[str]]:
    return {
        "dataset": case.dataset,
        "case": case.case,
        "patient": case.patient,
        "modality": case.modality,
        "images": [str(path) for path in case.images],
        "label_files": [str(label.path) for label in case.labels],
        "label_classes": [label.class_name or "" for label in case.labels],
        "problem": case.problem,
    }


def _without_twins(cases: Sequence[SourceCase]) -> list[SourceCase]:
    """Keep one row of each case name; of two cases of one name none can be used."""
    kept: dict[str, SourceCase] = {}
    for case in cases:
        twin = kept.setdefault(case.key, case)
        if twin != case:
            problem = (
                f"two cases are named {case.key}: {twin.images[0]} with {twin.labels[0].path}, and"
                f" {case.images[0]} with {case.labels[0].path}. Rename one."
            )
            kept[case.key] = replace(twin, problem=problem)
    return list(kept.values())


def _warn_of_problems(name: str, cases: Sequence[SourceCase]) -> None:
    bad = [case for case in cases if case.problem and not case.is_left_out]
    if bad:
        logger.warning(
            "%s: %d of %d cases can't be used; %s: %s (all are in the case index)",
            name,
            len(bad),
            len(cases),
            bad[0].case,
            bad[0].problem,
        )


def _warn_of_counts(
    datasets: Mapping[str, Source], names: Sequence[str], cases: Sequence[SourceCase]
) -> None:
    """Say in one line which datasets are not the size of the public release."""
    usable = {name: 0 for name in names}
    for case in cases:
        usable[case.dataset] += not case.problem
    unexpected = [
        f"{name} {usable[name]} of {datasets[name].expected_cases}"
        for name in names
        if datasets[name].expected_cases not in (None, usable[name])
    ]
    if unexpected:
        logger.warning("usable cases differ from the public releases: %s", ", ".join(unexpected))

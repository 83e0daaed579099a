"""Say which datasets are found, missing or odd, without reading volumes: --env paper."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tsfm_pipeline.sources.data_check import DatasetCheck

HEADING = ("dataset", "state", "cases", "published", "size", "folder")


def main(arguments: Sequence[str]) -> int:
    """Print one table; exit status 1 where a dataset would stop a run, 2 for wrong settings."""
    parse = argparse.ArgumentParser(
        prog="tsfm-pipeline check-data",
        description="Look for the raw datasets of an environment. No volume is read.",
        epilog="Exit status: 0, a run can start; 1, a dataset is missing or unusable; 2, wrong"
        " settings.",
    )
    add = parse.add_argument
    add("--env", help="environment; default: local")
    add("--dataset", action="append", help="this one alone; can be given several times")
    add("--raw-root", type=Path, help="instead of the environment's raw_root")
    add("--conf-source", default="conf", help="the project's configuration; default: conf")
    given = parse.parse_args(arguments)

    from tqdm import tqdm  # heavy imports wait for right arguments

    from tsfm_pipeline.parameters import ParametersError, did_you_mean, load_parameters
    from tsfm_pipeline.sources.data_check import check_dataset

    try:
        parameters = load_parameters(given.conf_source, given.env)
        known = parameters.datasets.root
        names = given.dataset or [*parameters.pool.datasets, *parameters.pool.downstream]
        for name in names:
            if name not in known:
                raise ParametersError(
                    f"`datasets` has no entry {name!r}{did_you_mean(name, known)}"
                )
    except ValueError as error:
        sys.stderr.write(f"tsfm-pipeline check-data: {error}\n")
        return 2
    raw_root = given.raw_root or Path(parameters.raw_root)
    checks = [
        check_dataset(known[name], raw_root, parameters.labels)
        for name in tqdm(names, desc="Looking", unit="dataset", disable=None)
    ]
    sys.stdout.write(f"raw_root: {raw_root.absolute()}\n\n{table_of(checks)}\n")
    return int(any(check.state in ("missing", "unusable") for check in checks))


def table_of(checks: Sequence["DatasetCheck"]) -> str:
    """Return the table, and below it what is odd, by dataset."""
    rows = [HEADING]
    for check in checks:
        listed = "-" if check.cases is None else f"{check.usable} of {check.cases}"
        rows.append(
            (
                check.name,
                check.state,
                listed,
                "-" if check.published is None else str(check.published),
                _readable(check.size),
                check.folder.name,
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADING))]
    lines = [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    remarks = [
        f"{check.name}: {remark.removeprefix(f'datasets.{check.name}: ')}"
        for check in checks
        for remark in check.remarks
    ]
    counts = ", ".join(
        f"{sum(check.state == state for check in checks)} {state}"
        for state in ("found", "odd", "missing", "unusable")
    )
    return "\n".join([*lines, *([""] if remarks else []), *remarks, "", counts])


def _readable(size: int) -> str:
    if not size:
        return "-"
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"

"""Whether the labels of the raw datasets fit the fused label table."""

from collections.abc import Mapping

from tsfm_pipeline.imaging.labels import OUTSIDE, LabelError, LabelTable
from tsfm_pipeline.sources.source import Source


def check_labels(datasets: Mapping[str, Source], table: LabelTable) -> None:
    """Check that the table knows every target that a dataset maps to, by names that can be listed.

    Raises:
        LabelError: naming dataset, source value, target and remedy, for all that don't fit; or a
            target or region with a comma, which would be two in the table of predictions.
    """
    if listed := [name for name in (*table.targets, *table.regions) if "," in name]:
        raise LabelError(
            f"labels: {listed[0]!r} has a comma, which parts names in lists; rename it"
        )
    unknown = [
        f"datasets.{dataset}.labels.{value}: unknown target {table.target_of(dataset, target)!r}"
        for dataset, source in datasets.items()
        for value, target in source.labels.items()
        if target is not None and table.target_of(dataset, target) not in table.targets
    ]
    if unknown:
        where = "targets" if table.reading == "merged" else "per_dataset"
        free = next((i for i in range(1, OUTSIDE) if i not in table.targets.values()), "none")
        raise LabelError(
            "; ".join(unknown) + f". Correct the name, add it to `labels.{where}` (the first free"
            f" integer is {free}), or map the value to null to drop it."
        )

"""A folder of records, one file each, as a catalogue entry that Kedro-Viz can show."""

import json

from kedro_datasets._typing import JSONPreview
from kedro_datasets.partitions import PartitionedDataset


class RecordFolderDataset(PartitionedDataset):  # type: ignore[misc]  # untyped
    """Kedro's partitioned dataset over `RecordDataset`, with a preview."""

    def preview(self) -> JSONPreview:
        """Return all records by name; there is one a dataset of the pool."""
        records = {
            name: load().model_dump(mode="json") for name, load in sorted(self.load().items())
        }
        return JSONPreview(json.dumps(records))

"""What a user can set about reports."""

from fnmatch import fnmatchcase

from tsfm_pipeline.schema import Settings


class ReportingSettings(Settings):
    """How results are named and grouped.

    Attributes:
        workspace: what the data are called in the reports' headers.
        tumor_targets: shell patterns of the targets that count as tumours; all others count as
            organs.
    """

    workspace: str
    tumor_targets: tuple[str, ...]

    def is_tumor(self, target: str) -> bool:
        """Say whether a target is averaged with the tumours."""
        return any(fnmatchcase(target, pattern) for pattern in self.tumor_targets)

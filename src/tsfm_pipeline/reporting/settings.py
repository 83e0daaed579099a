"""What a user can set about reports."""

from tsfm_pipeline.schema import Settings


class ReportingSettings(Settings):
    """How results are named.

    Attributes:
        workspace: what the data are called in the reports' headers.
    """

    workspace: str

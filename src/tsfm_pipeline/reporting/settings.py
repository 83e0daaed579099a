"""What a user can set about reports."""

from tsfm_pipeline.frozen import FrozenModel


class ReportingSettings(FrozenModel):
    """How results are named.

    Attributes:
        workspace: what the data are called in the reports' headers.
    """

    workspace: str

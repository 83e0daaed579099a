"""What is known about a training both before it starts and ever after."""

from tsfm_pipeline.frozen import FrozenModel
from tsfm_pipeline.imaging.geometry import TripleFloat
from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.model.training_settings import TrainingSettings


class TrainingSpec(FrozenModel):
    """The fields that the task of a training and the card of its model have in common.

    Attributes:
        name: of the training, for messages and the progress bar.
        settings: how to train.
        training: keys (`dataset/case`) of the training cases.
        validation: keys of the cases behind the pseudo-Dice, which chooses the best weights; none
            leaves validation out, and the best weights are the last.
        table: the label table that the regions belong to.
        regions: the network's output channels, in order.
        target_spacing: mm (z, y, x) that the cases were, and scans are to be, resampled to; None
            keeps a case's own.
        pool_version: version of the pool that the cases were taken from, first used.
        synthetic: whether the cases are the built-in phantoms, no patients; None where nobody said.
        test: keys of the cases that neither train nor choose, and are scored; none where the
            validation cases are scored, as in nnU-Net and in folders older than this field.
    """

    name: str
    settings: TrainingSettings
    training: tuple[str, ...]
    validation: tuple[str, ...]
    table: LabelTable
    regions: tuple[str, ...]
    target_spacing: TripleFloat | None = None
    pool_version: str = ""
    synthetic: bool | None = None
    test: tuple[str, ...] = ()

    @property
    def scored(self) -> tuple[str, ...]:
        """Keys of the held-out cases that are predicted and scored."""
        return self.test or self.validation

    @property
    def outputs(self) -> tuple[str, ...]:
        """What the network's channels are: regions, or exclusive targets (softmax)."""
        if self.settings.loss == "softmax":
            return self.table.exclusive_targets(self.regions)
        return self.regions

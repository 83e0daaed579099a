"""One training of the grid, described by data."""

from collections.abc import Collection
from typing import Literal

from pydantic import Field

from tsfm_pipeline.frozen import FrozenModel

Role = Literal["baseline", "pretrain", "ablation", "transfer", "study"]


class Experiment(FrozenModel):
    """One training, described by data.

    Attributes:
        name: dotted; the first part is the pipeline it belongs to, the whole is its namespace.
        role: which entry of the `experiments` parameters sets its values.
        method: which entry of `experiments.methods` sets network, loss and optimiser.
        datasets: what it trains on; empty means every dataset of the pool.
        initial: the experiment whose best weights it starts from (paper 3.3), or None.
        budget: key of `experiments.transfer.epochs`; None takes the role's own epochs.
        cases: key of `experiments.transfer.cases`, how many it trains on; None takes all.
        seed: added to the settings' seed.
        leakage_free: leave out of the training what shows persons of the downstream sets.
        trains: false takes the weights of `initial` as they are.
    """

    name: str = Field(pattern=r"^[a-z0-9_]+(\.[a-z0-9_]+)+$")
    role: Role
    method: str = "tsfm"
    datasets: tuple[str, ...] = ()
    initial: str | None = None
    budget: str | None = None
    cases: str | None = None
    seed: int = 0
    leakage_free: bool = False
    trains: bool = True

    @property
    def pipeline(self) -> str:
        """Name of the pipeline it belongs to."""
        return self.name.partition(".")[0]

    @property
    def flat_name(self) -> str:
        """Its name as a prefix of catalogue entries (dots are reserved for namespaces)."""
        return self.name.replace(".", "_")

    def why_no_data(self, datasets: Collection[str]) -> str | None:
        """Say which of its datasets are not among those of an environment; None where all are."""
        missing = ", ".join(name for name in self.datasets if name not in datasets)
        return f"{missing} is not among this environment's datasets" if missing else None

"""The folder of a model: the one place that knows what its files are called."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from tsfm_pipeline.files import file_digest, write_text
from tsfm_pipeline.model.card import ModelCard
from tsfm_pipeline.model.summary import TrainingSummary

Weights = Literal["best", "final"]
WEIGHTS: tuple[Weights, ...] = ("best", "final")
"""Both are kept and scored: a best checkpoint chosen on the scored cases is optimistic."""


class ModelError(ValueError):
    """A model folder that can't be used, or a case that the model was not trained for."""


@dataclass(frozen=True)
class ModelFolder:
    """A folder that training fills, a release copies and inference reads.

    >>> folder = ModelFolder(Path("weights"))
    >>> folder.weights("best").as_posix(), folder.fast.weights("final").as_posix()
    ('weights/best.safetensors', 'weights/fast/final.safetensors')

    Attributes:
        path: of the folder; it need not exist.
    """

    path: Path

    @cached_property
    def card(self) -> ModelCard:
        """The model's card, read once.

        Raises:
            ModelError: there is none, or it can't be read.
        """
        try:
            return ModelCard.model_validate_json(self.card_path.read_bytes())
        except (OSError, ValidationError) as error:
            raise ModelError(
                f"{self.path} has no usable {self.card_path.name}"
                f" ({' '.join(str(error).split())[:200]}); name the folder of a released model, or"
                " one that training left: data/06_models/WORKSPACE/EXPERIMENT/DIGEST, `folder` in"
                " data/06_models/WORKSPACE/EXPERIMENT.json"
            ) from error

    @property
    def summary(self) -> TrainingSummary | None:
        """The summary of the training, read anew each time; None while nothing has finished."""
        path = self.summary_path
        return TrainingSummary.model_validate_json(path.read_bytes()) if path.exists() else None

    def used_weights(self) -> Weights:
        """Return which weights to use: the best ones where there are any.

        Raises:
            ModelError: there are no final ones either.
        """
        for kind in WEIGHTS:
            if self.weights(kind).exists():
                return kind
        names = " nor ".join(self.weights(kind).name for kind in WEIGHTS)
        raise ModelError(f"{self.path} has neither {names}; let its training go on to the end")

    def digests(self, kind: Weights) -> tuple[str, str, str | None]:
        """Return the digests of card, weights and rule (None without one): they decide the labels.

        Raises:
            OSError: card or weights can't be read.
        """
        rule = self.rule(kind)
        return (
            file_digest(self.card_path),
            file_digest(self.weights(kind)),
            file_digest(rule) if rule.exists() else None,
        )

    def write_card(self, card: ModelCard) -> None:
        """Write the card atomically."""
        write_text(self.card_path, card.model_dump_json(indent=1))
        self.__dict__.pop("card", None)  # what was read before no longer holds

    def write_summary(self, summary: TrainingSummary) -> None:
        """Write the summary atomically."""
        write_text(self.summary_path, summary.model_dump_json(indent=1))

    # ------------------------------------------------------------- for inference

    @property
    def card_path(self) -> Path:
        """The card's JSON."""
        return self.path / "model.json"

    def weights(self, kind: Weights) -> Path:
        """Return the file of some weights (safetensors)."""
        return self.path / f"{kind}.safetensors"

    def rule(self, kind: Weights) -> Path:
        """Return the file of the postprocessing rule decided for some weights."""
        return self.path / f"postprocessing_{kind}.json"

    @property
    def fast(self) -> "ModelFolder":
        """A release's coarser model of the same regions; it need not have one."""
        return ModelFolder(self.path / "fast")

    # -------------------------------------------------------------- for training

    @property
    def summary_path(self) -> Path:
        """The JSON of the summary."""
        return self.path / "summary.json"

    @property
    def task(self) -> Path:
        """What the processes of a group are to train."""
        return self.path / "task.json"

    @property
    def metrics(self) -> Path:
        """One JSON line per epoch."""
        return self.path / "metrics.jsonl"

    @property
    def weights_table(self) -> Path:
        """What became of each tensor of the initial weights."""
        return self.path / "weights.json"

    @property
    def state(self) -> Path:
        """The state that training goes on from."""
        return self.path / "state.pt"

    @property
    def previous_state(self) -> Path:
        """The state saved before it, should that one be damaged."""
        return self.path / "state.previous.pt"

    @property
    def damaged_state(self) -> Path:
        """A state that could not be read, set aside."""
        return self.path / "state.damaged.pt"

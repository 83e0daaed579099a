"""The folder of a model: the one place that knows what its files are called."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from tsfm_pipeline.files import file_digest, write_text
from tsfm_pipeline.model.card import ModelCard
from tsfm_pipeline.model.summary import TrainingSummary

WEIGHTS_SUFFIX = ".safetensors"

Weights = Literal["best", "final"]
WEIGHTS: tuple[Weights, ...] = ("best", "final")
"""Both are kept and scored: a best checkpoint is optimistic where the scored cases chose it."""


class ModelError(ValueError):
    """A model folder that can't be used, or a case that the model was not trained for."""


@dataclass(frozen=True)
class ModelFolder:
    """A folder that training fills, a release copies and inference reads.

    >>> folder = ModelFolder(Path("weights"))
    >>> folder.weights("best").as_posix(), folder.fast.weights("final").as_posix()
    ('weights/best.safetensors', 'weights/fast/final.safetensors')

    Finished files are sealed: their digests stand in a file of the folder, and what is read is
    compared with them. A file that training still changes has no seal, nor have folders older than
    this rule; nothing vouches for those.

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
            self.check(self.card_path)
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
        """The summary of the training, read anew each time; None while nothing has finished.

        Raises:
            ModelError: it is damaged.
        """
        path = self.summary_path
        if not path.exists():
            return None
        self.check(path)
        return TrainingSummary.model_validate_json(path.read_bytes())

    def used_weights(self) -> Weights:
        """Return which weights to use: the best ones where there are any.

        Raises:
            ModelError: there are no final ones either; or the best ones are gone.
        """
        for kind in WEIGHTS:
            if self.weights(kind).exists():
                return kind
            self.check(self.weights(kind))
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
        """Write the card atomically; what changes now has no seal until the training ends."""
        self.unseal(self.card_path, self.metrics, self.weights_table)
        write_text(self.card_path, card.model_dump_json(indent=1))
        self.__dict__.pop("card", None)  # what was read before no longer holds

    def write_summary(self, summary: TrainingSummary) -> None:
        """Write the summary atomically, and seal all that the training leaves."""
        self.unseal(self.summary_path)
        write_text(self.summary_path, summary.model_dump_json(indent=1))
        self.seal_all()

    # -------------------------------------------------------------------- seals

    @property
    def seals(self) -> Path:
        """Digests of the folder's files by name."""
        return self.path / "digests.json"

    def seal(self, *paths: Path) -> None:
        """Keep the digests of files of this folder that do not change any more."""
        digests = self._sealed() | {path.name: file_digest(path) for path in paths}
        write_text(self.seals, json.dumps(digests, indent=1, sort_keys=True) + "\n")

    def seal_all(self) -> None:
        """Seal what a finished training leaves."""
        records = (self.summary_path, self.metrics, self.weights_table)
        left = (self.card_path, *records, *map(self.weights, WEIGHTS))
        self.seal(*(path for path in left if path.exists()))

    def is_sealed(self, path: Path) -> bool:
        """Tell whether a file of this folder has a seal: no training has changed it since."""
        return path.name in self._sealed()

    def lost(self) -> list[Path]:
        """List sealed weights that are not there any more."""
        weights = map(self.weights, WEIGHTS)
        return [path for path in weights if self.is_sealed(path) and not path.exists()]

    def unseal(self, *paths: Path) -> None:
        """Forget the digests of files: to be called before they are changed."""
        sealed = self._sealed()
        digests = {name: digest for name, digest in sealed.items() if self.path / name not in paths}
        if digests != sealed:
            write_text(self.seals, json.dumps(digests, indent=1, sort_keys=True) + "\n")

    def check(self, path: Path) -> None:
        """Compare a file of this folder with its seal, if it has one.

        Raises:
            ModelError: it is gone, or not what was sealed.
            OSError: it can't be read.
        """
        sealed = self._sealed().get(path.name)
        if sealed is None:
            return
        remedy = "copy the model folder again from where it came from, or remove it and train again"
        if not path.exists():
            raise ModelError(f"{path} is gone; {remedy}")
        if sealed != file_digest(path):
            raise ModelError(
                f"{path} is damaged: its digest is not the one in {self.seals.name}; {remedy}"
            )

    def _sealed(self) -> dict[str, str]:
        if not self.seals.exists():
            return {}
        try:
            digests = json.loads(self.seals.read_bytes())
            return {str(name): str(digest) for name, digest in digests.items()}
        except (ValueError, AttributeError) as error:
            raise ModelError(
                f"{self.seals} is damaged ({error}); copy the model folder again from where it came"
                " from, or remove it and train again"
            ) from error

    # ------------------------------------------------------------- for inference

    @property
    def card_path(self) -> Path:
        """The card's JSON."""
        return self.path / "model.json"

    def weights(self, kind: Weights) -> Path:
        """Return the file of some weights (safetensors)."""
        return self.path / f"{kind}{WEIGHTS_SUFFIX}"

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
    def lock(self) -> Path:
        """Held by the run that trains here: a second one waits for it."""
        return self.path / "training.lock"

    @property
    def metrics(self) -> Path:
        """One JSON line per epoch."""
        return self.path / "metrics.jsonl"

    def epochs(self) -> list[dict[str, float]]:
        """Return the metrics of the epochs in order; of one repeated after a restart, the last.

        A line that is being written, that a killed process has cut off, or that is damaged
        otherwise, is passed over.
        """
        if not self.metrics.exists():
            return []
        found = {}
        for line in self.metrics.read_text("utf-8", "replace").splitlines():
            try:
                metrics = json.loads(line)
                found[metrics["epoch"]] = metrics
            except (ValueError, TypeError, KeyError):
                continue
        return [found[epoch] for epoch in sorted(found)]

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

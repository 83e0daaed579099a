"""Make a model folder that works anywhere: weights, plans, labels and a model card to read."""

import hashlib
import shutil
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from tsfm_pipeline import __version__
from tsfm_pipeline.files import write_text
from tsfm_pipeline.files.folder import atomic_folder
from tsfm_pipeline.inference.model import load_model
from tsfm_pipeline.inference.postprocessing import PostprocessingRule
from tsfm_pipeline.model.card import ModelCard
from tsfm_pipeline.model.folder import ModelFolder, Weights
from tsfm_pipeline.scans.label_files import JSON, label_names, labels_json
from tsfm_pipeline.scans.loading import known_modalities
from tsfm_pipeline.scans.training_data import training_cases

README = "README.md"

_TEMPLATES = Environment(
    loader=PackageLoader("tsfm_pipeline.scans"),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


class ReleaseError(ValueError):
    """A model that can't be released as asked."""


@dataclass(frozen=True)
class Origin:
    """Where a dataset of the pool comes from.

    Attributes:
        url: of its home.
        licence: as its home states it.
    """

    url: str
    licence: str


def release_model(
    model: Path,
    output: Path,
    origins: Mapping[str, Origin],
    *,
    weights: Weights = "best",
    fast: Path | None = None,
    scores: pd.DataFrame | None = None,
) -> None:
    """Write a release folder, which `tsfm-predict` and `segment` take as it is.

    Args:
        model: folder of a finished training.
        output: the release; it appears complete or not at all, and replaces an older one.
        origins: dataset -> its home and licence, for the model card.
        weights: which weights; the release holds these only.
        fast: folder of a coarser model of the same regions, for `--fast`.
        scores: score table (columns experiment, weights, dataset, target, dice); the model's rows
            go into the model card.

    Raises:
        ModelError: a folder is no usable model.
        ReleaseError: a training dataset without licence, a coarser model that does not match, or
            an output folder that is no release.
    """
    folder = ModelFolder(model)
    coarser = None if fast is None else ModelFolder(fast)
    card = folder.card
    if output.exists() and any(output.iterdir()) and not ModelFolder(output).card_path.exists():
        raise ReleaseError(f"{output} holds something else than a release; name another folder")
    unknown = sorted(set(training_cases(card)) - set(origins))
    if unknown:
        raise ReleaseError(
            f"no licence is known for {', '.join(unknown)}; run this in the project that trained"
            " the model, with its --env, or add them to conf/base/parameters_datasets.yml"
        )
    if coarser is not None and set(coarser.card.regions) != set(card.regions):
        raise ReleaseError(f"{fast} does not predict the regions of {model}; name another model")
    with atomic_folder(output) as path:
        release = ModelFolder(path)
        digest, rule = _copy_model(folder, release, weights)
        if coarser is not None:
            _copy_model(coarser, release.fast, weights)
        text = model_card_text(card, origins, weights, digest, rule, fast is not None, scores)
        write_text(path / README, text)


def _copy_model(
    model: ModelFolder, copy: ModelFolder, weights: Weights
) -> tuple[str, PostprocessingRule | None]:
    """Copy what prediction needs and check that it loads; return the weights' SHA-256 and rule."""
    rule = load_model(model, weights, "cpu").postprocessing
    copy.path.mkdir(exist_ok=True)
    shutil.copyfile(model.weights(weights), copy.weights(weights))
    shutil.copyfile(model.card_path, copy.card_path)
    if rule is not None:
        shutil.copyfile(model.rule(weights), copy.rule(weights))
    write_text(copy.path / JSON, labels_json(model.card.table, model.card.regions))
    copy.seal(copy.card_path, copy.weights(weights), *([copy.rule(weights)] if rule else []))
    with copy.weights(weights).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), rule


def model_card_text(
    card: ModelCard,
    origins: Mapping[str, Origin],
    weights: str,
    digest: str,
    rule: PostprocessingRule | None,
    fast: bool,
    scores: pd.DataFrame | None,
) -> str:
    """Return the model card in Markdown."""
    return _TEMPLATES.get_template("model_card.md").render(
        card=card,
        version=__version__,
        modalities=known_modalities(card),
        targets=[
            (value, name, card.table.composed_targets(name))
            for value, name in label_names(card.table, card.regions).items()
        ],
        training_cases=training_cases(card),
        origins=origins,
        network=card.network.model_dump(),
        weights=weights,
        digest=digest,
        rule=rule,
        fast=fast,
        scores=_mean_dice(card, weights, scores) if scores is not None else None,
    )


def _mean_dice(card: ModelCard, weights: str, scores: pd.DataFrame) -> list[dict[Hashable, Any]]:
    """Return the model's rows of the score table, averaged over cases."""
    chosen = scores[(scores["experiment"] == card.name) & (scores["weights"] == weights)]
    if chosen.empty:
        raise ReleaseError(
            f"the score table has no row of experiment {card.name} with {weights} weights;"
            " give the table that the model's pipeline wrote"
        )
    by_target = chosen.groupby(["dataset", "target"])["dice"]
    return by_target.agg(cases="count", dice="mean").reset_index().to_dict("records")

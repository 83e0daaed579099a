"""Decide a model's postprocessing rule on training cases, which no table scores."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from tqdm import tqdm

from tsfm_pipeline.evaluation.postprocessing import Case, decide_postprocessing
from tsfm_pipeline.files import file_digest, write_text
from tsfm_pipeline.inference.case import predict_case
from tsfm_pipeline.inference.export import OriginalGrid
from tsfm_pipeline.inference.model import SegmentationModel
from tsfm_pipeline.inference.postprocessing import PostprocessingRule
from tsfm_pipeline.inference.settings import InferenceSettings
from tsfm_pipeline.model.folder import ModelFolder, Weights
from tsfm_pipeline.store.case_store import CaseStore


def find_rule(
    model: SegmentationModel,
    folder: ModelFolder,
    weights: Weights,
    settings: InferenceSettings,
    store: CaseStore,
) -> PostprocessingRule:
    """Return the rule of some weights: the recorded one, or a new one that is then recorded.

    nnU-Net decides it on the joined cross-validation predictions. Of one fold those are the scored
    cases, so a sample of the training cases is predicted instead. A model makes fewer false
    components there, so the rule errs on the side of changing nothing. Label maps are compared on
    the stored grid, where predictions and labels are at hand without any raw file.

    Args:
        model: with the weights; its own rule is not applied.
        folder: the model's; it keeps the rule.
        weights: which of its weights the model has.
        settings: how is predicted, and how many cases of each dataset.
        store: holds the training cases.
    """
    path, weights_digest = folder.rule(weights), file_digest(folder.weights(weights))
    keys = sample(model.card.training, settings.postprocessing_cases)
    if path.exists():
        rule = PostprocessingRule.model_validate_json(path.read_bytes())
        made_from = (rule.weights_digest, rule.cases, rule.prediction.deciding())
        if made_from == (weights_digest, keys, settings.deciding()):
            return rule
    plain = replace(model, postprocessing=None)
    cases = _predicted(plain, keys, settings, store)
    rule = decide_postprocessing(cases, model.card.table, weights_digest, settings)
    folder.unseal(path)
    write_text(path, rule.model_dump_json(indent=1))
    folder.seal(path)
    return rule


def sample(keys: Sequence[str], count: int) -> tuple[str, ...]:
    """Choose up to `count` cases of each dataset, evenly spread over their sorted keys."""
    by_dataset: dict[str, list[str]] = {}
    for key in sorted(keys):
        by_dataset.setdefault(key.partition("/")[0], []).append(key)
    chosen = []
    for found in by_dataset.values():
        spread = np.linspace(0, len(found) - 1, min(count, len(found))).round().astype(int)
        chosen += [found[index] for index in spread]
    return tuple(chosen)


def _predicted(
    model: SegmentationModel, keys: Sequence[str], settings: InferenceSettings, store: CaseStore
) -> Iterator[Case]:
    for key in tqdm(keys, desc="Deciding postprocessing", unit="case", disable=None):
        record = store.record(key)
        regions = model.regions_for(record.annotated)
        labels_ZYX = predict_case(
            model,
            store.read_image(key),
            record.modality,
            OriginalGrid.stored(record),
            regions,
            settings,
        )
        yield key, regions, store.read_labels(key), labels_ZYX

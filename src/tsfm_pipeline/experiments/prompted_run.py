"""Predict and score cases with SAM-Med3D, whose crop and clicks come from the reference."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import torch
from tqdm import tqdm

from tsfm_pipeline.evaluation.metrics import ONLY, SCORES_SCHEMA, Row
from tsfm_pipeline.evaluation.prompted import Segmenter, score_prompted
from tsfm_pipeline.evaluation.sam_med3d import sam_med3d_segmenter
from tsfm_pipeline.evaluation.settings import EvaluationSettings
from tsfm_pipeline.experiments.outcome import Outcome
from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.imaging.volume import read_image
from tsfm_pipeline.machine import MachineError, fault_of_machine
from tsfm_pipeline.model.published.reading import PublishedError
from tsfm_pipeline.network.extras import MissingExtra
from tsfm_pipeline.preparation.labels import read_targets
from tsfm_pipeline.sources import Source, SourceCase

logger = logging.getLogger(__name__)


def run_prompted(
    experiment: str,
    checkpoint: Path,
    cases: Sequence[SourceCase],
    sources: Mapping[str, Source],
    table: LabelTable,
    settings: EvaluationSettings,
    device: torch.device,
    clicks: int = 1,
) -> tuple[pd.DataFrame, Outcome]:
    """Prompt SAM-Med3D once for every region that each case annotates, and score what it outlines.

    The raw images are read: it has a preparation of its own. Of several channels it is given the
    first, as it takes one.

    Args:
        experiment: its name in the grid.
        checkpoint: SAM-Med3D's own, such as `sam_med3d_turbo.pth`.
        cases: those to predict; their labels are the prompts, too.
        sources: the dataset entries.
        table: the fused label table.
        settings: how predictions are scored.
        device: where the network runs.
        clicks: per region.

    Returns:
        Rows of `evaluation.metrics.SCORES_SCHEMA` with the protocol "prompted with ground truth",
        one per case and region; and the outcome. Where one case fails there are no rows, as of
        `scoring_run.run_scoring`.

    Raises:
        MachineError: a full disk or no memory, which would stop the other experiments, too.
    """
    rows: list[Row] = []
    outcome = Outcome(experiment=experiment, stage="scoring", status="finished")
    at = ""  # until a case is at hand
    try:
        segmenter = sam_med3d_segmenter(checkpoint, device)
        for case in tqdm(cases, desc=f"Prompting {experiment}", unit="case", disable=None):
            at = f"{case.key}: "
            shared: Row = {
                "experiment": experiment,
                "weights": ONLY,
                "dataset": case.dataset,
                "case": case.case,
                "patient": case.patient,
            }
            scored = _score(case, sources[case.dataset], table, settings, segmenter, clicks)
            rows += [{**shared, **row} for row in scored]
    except Exception as error:  # the other experiments go on; the outcome keeps the cause
        if fault := fault_of_machine(error):  # they could not go on either
            raise MachineError(fault) from error
        logger.exception("Prompting of %s failed", experiment)
        named = isinstance(error, PublishedError | MissingExtra)  # its text says it all
        reason = str(error) if named else f"{at}{type(error).__name__}: {error}"
        outcome = outcome.next(stage="scoring", status="failed", reason=reason)
        rows = []
    return pd.DataFrame(rows, columns=SCORES_SCHEMA.names), outcome


def _score(
    case: SourceCase,
    source: Source,
    table: LabelTable,
    settings: EvaluationSettings,
    segmenter: Segmenter,
    clicks: int,
) -> list[Row]:
    """Return the rows of one case."""
    image = read_image(case.images)
    reference_ZYX = read_targets(case, source, table, image)
    regions = table.regions_annotated_by(source.annotated_targets(case.modality, table))
    spacing = image.geometry.spacing
    return score_prompted(
        image.array[0], reference_ZYX, regions, table, spacing, segmenter, settings, clicks
    )

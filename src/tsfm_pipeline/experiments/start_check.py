"""What the experiments of a run start with, looked at before anything is made."""

from collections.abc import Collection, Sequence
from pathlib import Path

import torch

from tsfm_pipeline.experiments.experiment import Experiment
from tsfm_pipeline.experiments.grid import PROMPTED
from tsfm_pipeline.experiments.settings import ExperimentSettings
from tsfm_pipeline.imaging.geometry import TripleFloat
from tsfm_pipeline.model.published.sam_med3d import check_sam_med3d
from tsfm_pipeline.network.build import build_network
from tsfm_pipeline.network.extras import why_missing
from tsfm_pipeline.network.sizes import Architecture
from tsfm_pipeline.nnunetv2.engine import check_environment
from tsfm_pipeline.planning.architecture import architecture_for
from tsfm_pipeline.training.transfer import check_weights


def check_starts(
    settings: ExperimentSettings,
    experiments: Sequence[Experiment],
    prompted: bool,
    finished: Collection[str],
    spacing: TripleFloat | None,
) -> None:
    """Refuse weights that fit no network, and an environment of nnU-Net v2 that does not work.

    Of weights the names and shapes are looked at. The depth of a U-Net that is planned is not
    known yet: of its weights only the family is.

    Args:
        settings: values of the experiments.
        experiments: those of the run, of datasets of this environment.
        prompted: whether SAM-Med3D is to be scored.
        finished: experiments that nnU-Net v2 has finished.
        spacing: mm (z, y, x) of the cases; None where it is not known or each has its own.

    Raises:
        TrainingError: of weights, as `training.transfer.check_weights`.
        PublishedError: of SAM-Med3D's, as `load_sam_med3d`.
        NnunetError: of the environment, as `check_environment`.
    """
    trained = [each for each in experiments if each.trains and not settings.why_not_run(each)]
    if any(
        settings.engine_of(each) == "nnunetv2" and each.name not in finished for each in trained
    ):
        check_environment(settings.nnunet.python)
    checked: set[tuple[Path, Architecture]] = set()
    for experiment in trained:
        training = settings.training_of(experiment)
        weights = settings.initial_weights_of(experiment)
        if training is None or weights is None:
            continue
        architecture = architecture_for(training, spacing)
        if (weights, architecture) in checked:
            continue
        checked.add((weights, architecture))
        with torch.device("meta"):
            network = build_network(architecture, 1, 1, training.patch)
        planned = spacing is None or "patch" in settings.planned_of(experiment)
        check_weights(network, weights, any_size=training.network == "nnunet" and planned)
    checkpoint = settings.methods["sam_med3d"].checkpoint
    if prompted and checkpoint is not None and settings.why_not_prompted() is None:
        check_sam_med3d(checkpoint)


def missing_extras(
    settings: ExperimentSettings, experiments: Sequence[Experiment], prompted: bool
) -> dict[str, list[str]]:
    """Return what is not installed -> the experiments of the run that are not run for it."""
    missing: dict[str, list[str]] = {}
    for experiment in experiments:
        reason = why_missing(settings.network_of(experiment))
        if reason is not None and reason == settings.why_not_run(experiment):
            missing.setdefault(reason, []).append(experiment.name)
    reason = why_missing("sam_med3d")
    if prompted and reason is not None and reason == settings.why_not_prompted():
        missing.setdefault(reason, []).append(PROMPTED)
    return missing

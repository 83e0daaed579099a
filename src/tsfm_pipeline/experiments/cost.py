"""What the trainings of the grid cost: memory, time and disk, before any of them is started."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from heapq import heappop, heappush
from pathlib import Path
from statistics import median

from tsfm_pipeline.experiments.experiment import Experiment
from tsfm_pipeline.experiments.planned import with_plan
from tsfm_pipeline.experiments.settings import ExperimentSettings
from tsfm_pipeline.imaging.geometry import Triple, TripleFloat
from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.model.folder import ModelFolder
from tsfm_pipeline.model.training_settings import TrainingSettings
from tsfm_pipeline.model.training_spec import TrainingSpec
from tsfm_pipeline.network.footprint import Footprint, footprint
from tsfm_pipeline.network.sizes import Architecture
from tsfm_pipeline.planning.architecture import architecture_for
from tsfm_pipeline.planning.dataset_plan import DatasetPlan
from tsfm_pipeline.planning.network_table import training_gib
from tsfm_pipeline.sources import Source

PEAK_TFLOPS = 989.0
"""Dense bf16 rate of an H100 or H200 (data sheet)."""
REACHED = 0.36
"""The share of it that a training is taken to reach where nothing was measured: an H200's with
`huge` (benchmarks/gpu)."""

FORWARD_PASSES = 3
"""That a step costs: the gradients of maps and of weights cost one each."""
FORWARD_FLOPS_PER_KEPT_VALUE = 4000
"""With fewer operations per value that is kept for the backward pass, a step waits for memory, and
takes as long as if it had so many. `huge` has about so many; with it the steps of `huge6` and
`base` on an H200 are met within 15 % (benchmarks/gpu)."""
WEIGHT_BYTES = 4
WEIGHT_FILES = 2
"""Best and final."""
STATE_FILES = 2
"""The state and the one before it."""
STATE_VALUES = {"sgd": 2, "adamw": 3}
"""Numbers that a saved state holds of a parameter: weight and moments."""


@dataclass(frozen=True)
class Cost:
    """What one training costs.

    Attributes:
        experiment: its name.
        starts_from: the experiment that has to be finished before; empty without one.
        network: its name.
        size: its size.
        patch: voxels (z, y, x).
        batch_size: samples per iteration.
        assumed: whether a plan decides patch or batch that is not made yet, so that the settings'
            default stands for it.
        parameters: deep-supervision heads included.
        memory_gib: of a step on one device, an estimate.
        iterations: of all epochs.
        seconds: per iteration.
        measured: whether a training like it took these seconds; else they follow from its
            operations and feature maps.
        devices: that train it together.
        hours: of all devices together, without validation, prediction and scoring.
        disk_gb: 10^9 bytes of its model folder; predictions are not counted.
    """

    experiment: str
    starts_from: str
    network: str
    size: str
    patch: Triple
    batch_size: int
    assumed: bool
    parameters: int
    memory_gib: float
    iterations: int
    seconds: float
    measured: bool
    devices: int
    hours: float
    disk_gb: float


def hours_at_once(costs: Sequence[Cost], devices: int) -> float:
    """Return the hours until all trainings are finished that run side by side on some devices.

    A training begins when as many devices are free as it takes and what it starts from is finished;
    of those that could, the one with the longest way behind it comes first (list scheduling).
    """
    waiting = {cost.experiment: cost for cost in costs}
    used = {cost.experiment: min(cost.devices, devices) for cost in costs}
    takes = {cost.experiment: cost.hours / used[cost.experiment] for cost in costs}
    followers: dict[str, list[str]] = {name: [] for name in waiting}
    for cost in costs:
        if cost.starts_from in followers:
            followers[cost.starts_from].append(cost.experiment)

    @cache
    def way(name: str) -> float:
        return takes[name] + max(map(way, followers[name]), default=0.0)

    free, now, running = devices, 0.0, list[tuple[float, str]]()
    while waiting or running:
        unfinished = {*waiting, *(name for _, name in running)}
        ready = [name for name, cost in waiting.items() if cost.starts_from not in unfinished]
        for name in sorted(ready, key=way, reverse=True):
            if used[name] <= free:
                free -= used[name]
                del waiting[name]
                heappush(running, (now + takes[name], name))
        now, name = heappop(running)
        free += used[name]
    return now


@dataclass(frozen=True)
class CostEstimator:
    """All that the costs of an environment's trainings follow from.

    Attributes:
        settings: values of the experiments.
        sources: the dataset entries of pool and downstream, by name.
        pool: datasets of the pool.
        table: the fused label table.
        spacing: mm (z, y, x) of the cases; None where it is not known or each has its own.
        plans: of the datasets that are planned already.
        measured: `measured_seconds` of earlier trainings.
        tflops: 10^12 operations per second that a device reaches where it doesn't wait for memory.
    """

    settings: ExperimentSettings
    sources: Mapping[str, Source]
    pool: Sequence[str]
    table: LabelTable
    spacing: TripleFloat | None
    plans: Mapping[str, DatasetPlan]
    measured: Mapping[Hashable, float]
    tflops: float = REACHED * PEAK_TFLOPS

    def why_free(self, experiment: Experiment) -> str | None:
        """Say why an experiment trains nothing in this environment; None where it does."""
        if reason := self.settings.why_not_run(experiment):
            return reason
        if not experiment.trains:
            return "takes weights as they are"
        if experiment.why_no_data(self.sources):  # counted by reason, so not by dataset
            return "its datasets are not among this environment's"
        return None

    def cost_of(self, experiment: Experiment) -> Cost:
        """Count an experiment that `why_free` has nothing to say about, with one image channel."""
        training = self.settings.training_of(experiment)
        assert training is not None  # `why_free`
        datasets = experiment.datasets or self.pool
        planned = self.settings.planned_of(experiment)
        assumed = bool(planned) and datasets[0] not in self.plans
        if not assumed:
            training = with_plan(training, planned, datasets, self.plans)
        outputs = self.outputs_of(experiment)
        architecture = architecture_for(training, self.spacing)
        whole, network = (
            _footprint(architecture, training.patch, checkpointing).with_outputs(outputs)
            for checkpointing in (False, training.activation_checkpointing)
        )
        parameters = network.parameters + network.supervision_parameters
        devices = training.parallel.processes * training.parallel.machines
        at_once = training.batch_size // devices // training.micro_batches
        measured = self.measured.get(_what_takes_time(training))
        seconds = step_flops(whole, training) / (self.tflops * 1e12 * devices)
        if measured is not None:
            seconds = measured
        iterations = training.epochs * training.iterations_per_epoch
        values = WEIGHT_FILES + STATE_FILES * STATE_VALUES[training.optimizer]
        return Cost(
            experiment=experiment.name,
            starts_from=self.settings.start_of(experiment) or "",
            network=training.network,
            size=training.size,
            patch=training.patch,
            batch_size=training.batch_size,
            assumed=assumed,
            parameters=parameters,
            memory_gib=training_gib(network, at_once, training.optimizer),
            iterations=iterations,
            seconds=seconds,
            measured=measured is not None,
            devices=devices,
            hours=iterations * seconds * devices / 3600,
            disk_gb=values * WEIGHT_BYTES * parameters / 1e9,
        )

    def outputs_of(self, experiment: Experiment) -> int:
        """Count the channels of a network that learns all that its datasets annotate."""
        training = self.settings.training_of(experiment)
        assert training is not None  # `why_free`
        annotated = sorted(
            {
                target
                for dataset in experiment.datasets or self.pool
                for modality in ("CT", "MR")
                for target in self.sources[dataset].annotated_targets(modality, self.table)
            }
        )
        table = self.table.over(annotated) if training.loss == "softmax" else self.table
        spec = TrainingSpec(
            name=experiment.name,
            settings=training,
            training=(),
            validation=(),
            table=table,
            regions=table.regions_annotated_by(annotated),
        )
        return len(spec.outputs)


def step_flops(network: Footprint, training: TrainingSettings) -> float:
    """Count the operations of a training step, of all devices; a multiply-add counts two.

    Where memory decides, those that would take as long. Checkpointing computes the forward pass
    again, and so do several `micro_batches`.

    Args:
        network: its footprint without checkpointing.
        training: batch, and what is computed again.
    """
    passes = FORWARD_PASSES + training.activation_checkpointing + (training.micro_batches > 1)
    forward = max(network.forward_flops, FORWARD_FLOPS_PER_KEPT_VALUE * network.kept_values)
    return passes * forward * training.batch_size


def measured_seconds(folders: Sequence[ModelFolder]) -> dict[Hashable, float]:
    """Collect what an iteration took in trainings that have finished an epoch.

    Args:
        folders: of any trainings; those without a card are nnU-Net v2's, and passed over.

    Returns:
        What the time depends on -> the median of the epochs' seconds per iteration.

    Raises:
        ModelError: a card is damaged.
    """
    found: dict[Hashable, list[float]] = {}
    for folder in folders:
        name = "seconds_per_iteration"
        taken = [epoch[name] for epoch in folder.epochs() if name in epoch]
        if taken and folder.card_path.exists():
            found.setdefault(_what_takes_time(folder.card.settings), []).extend(taken)
    return {key: median(seconds) for key, seconds in found.items()}


def model_folders(models_root: Path) -> list[ModelFolder]:
    """Return the folders of all trainings of a workspace."""
    return [ModelFolder(path) for path in sorted(models_root.glob("*/*")) if path.is_dir()]


def _what_takes_time(training: TrainingSettings) -> Hashable:
    """Return the settings that decide the time of an iteration."""
    return (
        training.network,
        training.size,
        training.patch,
        training.batch_size,
        training.micro_batches,
        training.activation_checkpointing,
        training.device,
        training.amp,
        training.channels_last,
        training.compile,
        training.parallel,
    )


@cache
def _footprint(architecture: Architecture, patch: Triple, checkpointing: bool) -> Footprint:
    return footprint(architecture, 1, 1, patch, checkpointing)

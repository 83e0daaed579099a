"""Which patch comes next: every draw follows from (run seed, epoch, sample index).

So the samples depend neither on the number of workers nor on restarts. Patch placement and
foreground oversampling are nnU-Net v1's (`dataset_loading.py:DataLoader3D`), case probabilities
MultiTalent's (paper section 2.1).
"""

import signal
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from tsfm_pipeline.imaging.geometry import Triple
from tsfm_pipeline.imaging.intensity import CtStatistics
from tsfm_pipeline.imaging.labels import OUTSIDE
from tsfm_pipeline.model.training_settings import TrainingSettings
from tsfm_pipeline.processes import die_with_parent
from tsfm_pipeline.store.record import CaseRecord
from tsfm_pipeline.training.augmentation import Augmentation
from tsfm_pipeline.training.device_augmentation import DeviceAugmentation
from tsfm_pipeline.training.group import ALONE, Group
from tsfm_pipeline.training.task import TrainingTask


class Sample(TypedDict):
    """One training sample.

    Keys:
        image: (C, D, H, W) float32, normalised.
        labels: (D, H, W) uint8, stored integers.
        annotated: (K,) bool, the channels that the case annotates.
        case: index into the dataset's `keys`.
        seed: of what is still to be varied on the device.
        masked: whether the image was normalised inside its nonzero mask only.
        swappable: whether it may be mirrored left-right.
    """

    image: Tensor
    labels: Tensor
    annotated: Tensor
    case: int
    seed: int
    masked: bool
    swappable: bool


class Batch(TypedDict):
    """Samples as the loader collates them.

    Keys:
        image: (B, C, D, H, W) float32.
        labels: (B, D, H, W) uint8.
        annotated: (B, K) bool.
        case: (B,) int64.
        seed: (B,) int64.
        masked: (B,) bool.
        swappable: (B,) bool.
    """

    image: Tensor
    labels: Tensor
    annotated: Tensor
    case: Tensor
    seed: Tensor
    masked: Tensor
    swappable: Tensor


class PatchDataset(Dataset[Sample]):
    """The endless list of samples of a run: sample i of epoch e is item e * per_epoch + i.

    Args:
        task: gives store, regions, label table and settings.
        role: training samples are augmented; the two roles never share a random stream.
        records: record of every case.
        ct_statistics: normalises CT; None where no case is CT.

    Attributes:
        keys: the cases of the role.
        per_epoch: samples per epoch.
    """

    def __init__(
        self,
        task: TrainingTask,
        role: Literal["training", "validation"],
        records: Mapping[str, CaseRecord],
        ct_statistics: CtStatistics | None,
    ) -> None:
        training, settings = role == "training", task.settings
        self.keys = list(task.training if training else task.validation)
        iterations = settings.iterations_per_epoch if training else settings.validation_iterations
        self.per_epoch = iterations * settings.batch_size
        self._store = task.cases
        self._settings = settings
        self._stream = 0 if training else 1
        self._ct_statistics = ct_statistics
        self._records = [records[key] for key in self.keys]
        self._cumulative = np.cumsum(case_probabilities(self._records, settings.dataset_sampling))
        self._augmentation = (
            Augmentation(settings.augmentation, settings.patch, task.table, task.regions)
            if training
            else None
        )
        self._swappable = [
            self._augmentation is not None and self._augmentation.swappable(record.annotated)
            for record in self._records
        ]
        # foreground that no channel predicts is not aimed at
        self._wanted = {i for region in task.regions for i in task.table.composed_ids(region)}
        everywhere = training and not settings.masked_loss
        self._annotated = [
            torch.tensor(
                [everywhere or region in task.annotated(record) for region in task.regions]
            )
            for record in self._records
        ]

    def __getitem__(self, item: int) -> Sample:
        """Load, place, normalise and vary one patch."""
        settings = self._settings
        epoch, index = divmod(item, self.per_epoch)
        seeds = np.random.SeedSequence(settings.seed, spawn_key=(self._stream, epoch, index))
        rng = np.random.Generator(np.random.Philox(seeds))
        case = min(int(np.searchsorted(self._cumulative, rng.random(), "right")), len(self) - 1)
        key, record = self.keys[case], self._records[case]
        loaded = settings.patch if self._augmentation is None else self._augmentation.enlarged
        voxel = None
        if oversamples_foreground(index % settings.batch_size, settings):
            voxel = self._foreground_voxel(key, rng)
        lower = patch_lower(record.geometry.shape, settings.patch, loaded, voxel, rng)
        image_CDHW, labels_DHW, inside = self._store.read_patch(
            key, lower, loaded, self._ct_statistics
        )
        masked = False
        if record.modality == "MR":
            # exact zeros outside the nonzero mask: z-scored inside it only
            outside = labels_DHW[inside] == OUTSIDE
            masked = bool(outside.any()) and not image_CDHW[:, *inside][:, outside].any()
        image, labels = torch.from_numpy(image_CDHW), torch.from_numpy(labels_DHW)
        seed = int(rng.integers(2**32))
        if self._augmentation is not None and settings.augmentation.where == "workers":
            with _isolated(seed):
                image, labels = self._augmentation(image, labels, record.annotated, masked)
        return Sample(
            image=image.contiguous(),
            labels=labels.contiguous(),
            annotated=self._annotated[case],
            case=case,
            seed=seed,
            masked=masked,
            swappable=self._swappable[case],
        )

    def __len__(self) -> int:
        """Return the number of cases; items are not limited by it."""
        return len(self.keys)

    def device_augmentation(self) -> DeviceAugmentation | None:
        """Return what is left to be done to batches on the device; None for nothing."""
        if self._augmentation is None or self._settings.augmentation.where == "workers":
            return None
        return DeviceAugmentation(self._augmentation, self._settings.patch)

    def _foreground_voxel(self, key: str, rng: np.random.Generator) -> NDArray[np.int32] | None:
        """Draw a stored target of the case, then one of its voxels; None without foreground."""
        points = self._store.foreground(key)
        present = sorted(i for i, found in points.items() if len(found) and i in self._wanted)
        if not present:
            return None
        chosen = points[present[rng.integers(len(present))]]
        return np.asarray(chosen[rng.integers(len(chosen))])


def case_probabilities(
    records: Sequence[CaseRecord], sampling: Literal["square_root", "uniform"]
) -> NDArray[np.float64]:
    """Return each case's probability, summing to 1.

    Square root: ~ 1 / sqrt(cases of its dataset), so that a dataset is drawn in proportion to the
    square root of its size. Uniform: every case alike.
    """
    counts = Counter(record.dataset for record in records)
    power = -0.5 if sampling == "square_root" else 0.0
    weights = np.array([counts[record.dataset] ** power for record in records])
    return np.asarray(weights / weights.sum())


def oversamples_foreground(position: int, settings: TrainingSettings) -> bool:
    """Tell whether an item of a batch is centred on foreground (nnU-Net's rounding)."""
    return position >= round(settings.batch_size * (1 - settings.oversample_foreground))


def patch_lower(
    shape: Triple,
    patch: Triple,
    loaded: Triple,
    voxel: NDArray[np.int32] | None,
    rng: np.random.Generator,
) -> Triple:
    """Return the first voxel (z, y, x) of the box to load; it may lie outside the volume.

    Args:
        shape: voxels of the volume.
        patch: voxels of the training patch.
        loaded: voxels of the box, at least the patch, which is cut from its middle.
        voxel: foreground voxel to centre on; None places the box at random.
        rng: draws the place.
    """
    lower = []
    for axis in range(3):
        pad = max(loaded[axis] - patch[axis], loaded[axis] - shape[axis])
        first = -pad // 2
        last = shape[axis] + pad // 2 + pad % 2 - loaded[axis]
        if voxel is None:
            lower.append(int(rng.integers(first, last + 1)))
        else:
            # bounded from below only, as nnU-Net does
            lower.append(max(first, int(voxel[axis]) - loaded[axis] // 2))
    return (lower[0], lower[1], lower[2])


class RankSampler(Sampler[int]):
    """The items that one process takes: its consecutive part of every global batch.

    Args:
        first: first item, the start of a batch.
        last: one past the last item.
        batch_size: samples of a global batch.
        rank: number of the process.
        size: processes; they divide the batch.
    """

    def __init__(self, first: int, last: int, batch_size: int, rank: int, size: int) -> None:
        self._batches = range(first, last, batch_size)
        self._part = range(rank * batch_size // size, (rank + 1) * batch_size // size)

    def __iter__(self) -> Iterator[int]:
        """Yield the items in order."""
        for start in self._batches:
            for position in self._part:
                yield start + position

    def __len__(self) -> int:
        """Return how many items there are."""
        return len(self._batches) * len(self._part)


def make_loader(
    dataset: PatchDataset, first: int, last: int, settings: TrainingSettings, group: Group = ALONE
) -> DataLoader[Sample]:
    """Return a loader over this process's share of the items `first` to `last` - 1, in batches."""
    return DataLoader(
        dataset,
        batch_size=settings.batch_size // group.size,
        sampler=RankSampler(first, last, settings.batch_size, group.rank, group.size),
        num_workers=settings.workers,
        pin_memory=torch.cuda.is_available() and settings.device != "cpu",
        worker_init_fn=_start_worker if settings.workers else None,
    )


def _start_worker(worker: int) -> None:
    """Leave Ctrl-C and a scheduler's SIGTERM to the training process; end when it is killed."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


@contextmanager
def _isolated(seed: int) -> Iterator[None]:
    """Seed the global generators for one sample and restore them afterwards.

    One thread, as in a loader process: sums over voxels would else be rounded differently.
    """
    threads = torch.get_num_threads()
    numpy_state = np.random.get_state()  # noqa: NPY002 (batchgeneratorsv2 draws from it)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            np.random.set_state(numpy_state)  # noqa: NPY002

"""Which samples are drawn: frequencies, foreground, placement, independence of workers."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import torch

from tests.training.conftest import TABLE, with_settings, write_case
from tsfm_pipeline.imaging.intensity import CtStatistics
from tsfm_pipeline.imaging.labels import OUTSIDE, LabelTable
from tsfm_pipeline.model.training_settings import AugmentationSettings, TrainingSettings
from tsfm_pipeline.store.case_store import CaseStore
from tsfm_pipeline.training.sampling import (
    Batch,
    PatchDataset,
    case_probabilities,
    make_loader,
    oversamples_foreground,
    patch_lower,
)
from tsfm_pipeline.training.task import TrainingTask

MakeTask = Callable[..., TrainingTask]
MakeSettings = Callable[..., TrainingSettings]

UNVARIED = AugmentationSettings(transforms="none", mirror_axes=())
STATISTICS = CtStatistics(lower=-50, upper=400, mean=150, sd=100)


def _dataset(
    task: TrainingTask, settings: TrainingSettings, role: str = "training"
) -> PatchDataset:
    return PatchDataset(with_settings(task, settings), role, task.records(), STATISTICS)  # type: ignore[arg-type]


def test_case_probability_is_one_over_root_of_dataset_size(
    make_task: MakeTask, make_settings: MakeSettings, store: CaseStore
) -> None:
    task = make_task()
    records = [store.record(key) for key in task.training]
    np.testing.assert_allclose(case_probabilities(records, "uniform"), [1 / 5] * 5)
    probabilities = case_probabilities(records, "square_root")
    weights = np.array([3**-0.5] * 3 + [1, 1])
    np.testing.assert_allclose(probabilities, weights / weights.sum())
    settings = make_settings(augmentation=UNVARIED)
    dataset = _dataset(task, settings)
    drawn = Counter(dataset[item]["case"] for item in range(600))
    for case, probability in enumerate(probabilities):
        spread = np.sqrt(600 * probability * (1 - probability))
        assert abs(drawn[case] - 600 * probability) < 3.5 * spread


def test_without_masking_everything_counts_in_training_alone(
    make_task: MakeTask, make_settings: MakeSettings
) -> None:
    task = make_task()
    partly = [
        not all(_dataset(task, make_settings(masked_loss=masked), role)[0]["annotated"])
        for masked, role in ((True, "training"), (False, "training"), (False, "validation"))
    ]
    assert partly[1] is False
    assert partly[0] == partly[2]


@pytest.mark.parametrize(("batch", "forced"), [(1, []), (2, [1]), (3, [2]), (4, [3]), (6, [4, 5])])
def test_forced_items_are_nnunets(
    make_settings: MakeSettings, batch: int, forced: list[int]
) -> None:
    settings = make_settings(batch_size=batch)
    # the expression of nnU-Net v1's DataLoader3D
    assert forced == [j for j in range(batch) if not j < round(batch * (1 - 0.33))]
    assert forced == [j for j in range(batch) if oversamples_foreground(j, settings)]


def test_second_item_holds_foreground_in_its_middle_with_uniform_class(
    make_task: MakeTask, make_settings: MakeSettings
) -> None:
    task = make_task(training=["organs/0", "organs/1"], regions=("spleen", "liver"))
    # a patch so small that no voxel of the cuboids is too near the volume's border
    dataset = _dataset(task, make_settings(patch=(4, 4, 4), augmentation=UNVARIED))
    middles = Counter(int(dataset[item]["labels"][2, 2, 2]) for item in range(1, 401, 2))
    # only the classes that a channel predicts are aimed at, equally often
    assert set(middles) == {1, 5}
    assert 70 < middles[1] < 130


def test_validation_and_epochs_have_streams_of_their_own(
    make_task: MakeTask, make_settings: MakeSettings
) -> None:
    settings = make_settings(augmentation=UNVARIED)
    same = ["organs/0", "organs/1", "organs/2"]
    task = make_task(training=same, regions=("spleen",))
    training = _dataset(task, settings)
    first_epochs = [[training[e * 6 + i]["image"] for i in range(6)] for e in (0, 1)]
    assert not any(torch.equal(a, b) for a, b in zip(*first_epochs, strict=True))
    assert torch.equal(training[7]["image"], first_epochs[1][1])
    other = _dataset(task, settings.model_copy(update={"seed": 1}))
    assert not torch.equal(other[0]["image"], training[0]["image"])


def test_place_of_random_patches() -> None:
    """nnU-Net's bounds: inside the volume, and around it where it is smaller than the patch."""
    rng = np.random.default_rng(0)
    places = np.array(
        [patch_lower((20, 9, 16), (16, 16, 16), (16, 16, 16), None, rng) for _ in range(300)]
    )
    assert set(places[:, 0]) == {0, 1, 2, 3, 4}
    assert set(places[:, 1]) == {-4, -3}
    assert set(places[:, 2]) == {0}
    enlarged = np.array(
        [patch_lower((20, 9, 16), (16, 16, 16), (26, 25, 20), None, rng) for _ in range(300)]
    )
    middle = enlarged + np.array([5, 4, 2])
    assert (middle[:, 0] >= 0).all() and (middle[:, 0] + 16 <= 20).all()
    assert enlarged[:, 2].min() == -2


def test_place_of_forced_patches_is_bounded_from_below_only() -> None:
    rng, size = np.random.default_rng(0), (16, 16, 16)
    voxel = np.array([3, 15, 39], np.int32)
    assert patch_lower((20, 30, 40), size, size, voxel, rng) == (0, 7, 31)
    # the middle of an enlarged box starts at the volume's edge, the box before it
    assert patch_lower((20, 30, 40), size, (26, 26, 26), voxel, rng) == (-5, 2, 26)


def test_patch_larger_than_the_volume_is_padded_after_normalisation(
    make_task: MakeTask, make_settings: MakeSettings
) -> None:
    settings = make_settings(patch=(32, 32, 64), augmentation=UNVARIED)
    sample = _dataset(make_task(training=["organs/0"], regions=("liver",)), settings)[0]
    assert sample["image"].shape == (1, 32, 32, 64)
    padding = sample["labels"] == OUTSIDE
    assert int(padding.sum()) >= 32 * 32 * 64 - 28 * 24 * 40
    assert not sample["image"][:, padding].any()
    background = sample["image"][0][sample["labels"] == 0]
    assert background.mean().item() == pytest.approx(-1.5, abs=0.2)  # (0 HU - 150) / 100


def test_ct_is_normalised_and_mr_left(
    make_task: MakeTask, make_settings: MakeSettings, store: CaseStore
) -> None:
    settings = make_settings(patch=(28, 24, 40), augmentation=UNVARIED)
    ct = _dataset(make_task(training=["organs/0"], regions=("liver",)), settings)[0]
    expected = (np.clip(store.read_image("organs/0"), -50, 400) - 150) / 100
    np.testing.assert_allclose(ct["image"].numpy(), expected, atol=1e-5)
    mr = _dataset(make_task(training=["mr/0"], regions=("spleen",)), settings)[0]
    np.testing.assert_array_equal(mr["image"].numpy(), store.read_image("mr/0"))


def test_annotated_channels(make_task: MakeTask, make_settings: MakeSettings) -> None:
    task = make_task(training=["tumours/0", "organs/0"])
    dataset = _dataset(task, make_settings())
    by_case = {0: [0, 0, 0, 1, 1], 1: [1, 1, 1, 1, 0]}
    for item in range(6):
        sample = dataset[item]
        assert sample["annotated"].int().tolist() == by_case[sample["case"]]


def test_parts_annotate_the_channel_that_they_compose(
    make_task: MakeTask, make_settings: MakeSettings, store: CaseStore
) -> None:
    own = store.record("organs/0").annotated
    table = LabelTable(
        targets=TABLE.targets | {"kidney": 22},
        compositions={"kidney": ("kidney_left", "kidney_right")},
    )
    task = make_task(training=["organs/0", "mr/0"], table=table, regions=(*own, "kidney"))
    assert task.annotated(store.record("organs/0")) == (*own, "kidney")
    assert task.annotated(store.record("mr/0")) == ("spleen",)
    sample = _dataset(task, make_settings())[0]
    assert sample["annotated"].all() == (sample["case"] == 0)
    alone = make_task(training=["organs/0"], table=table, regions=("kidney",))
    dataset = _dataset(alone, make_settings(patch=(4, 4, 4), augmentation=UNVARIED))
    aimed_at = {int(dataset[item]["labels"][2, 2, 2]) for item in range(1, 41, 2)}
    assert aimed_at == {2, 3}


def test_masked_mr_keeps_zeros_outside_after_augmentation(
    make_task: MakeTask, make_settings: MakeSettings
) -> None:
    task = make_task(training=["mr/0"], regions=("spleen",))
    dataset = _dataset(task, make_settings(patch=(28, 24, 40), augmentation=AugmentationSettings()))
    samples = [dataset[item] for item in range(30)]
    assert not any(s["image"][:, s["labels"] == OUTSIDE].any() for s in samples)
    assert any((s["labels"] == OUTSIDE).any() for s in samples)


@pytest.mark.parametrize("transforms", ["full", "light"])
def test_stream_does_not_depend_on_workers_threads_or_start(
    make_task: MakeTask, make_settings: MakeSettings, transforms: str
) -> None:
    augmentation = AugmentationSettings(transforms=transforms)  # type: ignore[arg-type]
    # more voxels than torch sums in one thread
    streams: list[list[Batch]] = []
    for workers, threads in ((0, 1), (0, 2), (2, 2)):
        torch.set_num_threads(threads)
        settings = make_settings(workers=workers, patch=(32, 32, 48), augmentation=augmentation)
        dataset = _dataset(make_task(), settings)
        streams.append(list(make_loader(dataset, 0, 24, settings)))
        assert torch.get_num_threads() == threads
    streams.append([*streams[0][:5], *make_loader(dataset, 10, 24, settings)])
    for stream in streams[1:]:
        for batch, expected in zip(stream, streams[0], strict=True):
            for name in ("image", "labels", "annotated", "case"):
                assert torch.equal(batch[name], expected[name])  # type: ignore[literal-required]


def test_sampling_leaves_the_global_generators_alone(
    make_task: MakeTask, make_settings: MakeSettings
) -> None:
    dataset = _dataset(make_task(), make_settings())
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002
    expected = (torch.rand(1).item(), np.random.rand())  # noqa: NPY002
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002
    dataset[0]
    assert (torch.rand(1).item(), np.random.rand()) == expected  # noqa: NPY002


def test_case_without_foreground_still_gives_patches(
    make_task: MakeTask, make_settings: MakeSettings, store: CaseStore
) -> None:
    write_case(store, "empty/0", ())
    task = make_task(training=["empty/0", "organs/0"], regions=("spleen",))
    dataset = _dataset(task, make_settings())
    cases = [dataset[item]["case"] for item in range(1, 30, 2)]
    assert 0 in cases

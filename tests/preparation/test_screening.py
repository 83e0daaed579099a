"""What screening says of a case, and that it reads a file once as long as nothing changes."""

import errno
import hashlib
import json
import logging
import os
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk

from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.imaging.volume import VolumeError
from tsfm_pipeline.machine import MachineError
from tsfm_pipeline.preparation import screening
from tsfm_pipeline.preparation.identity import image_digest, label_digest, volume_digest
from tsfm_pipeline.preparation.screening import INTEGRITY_COLUMNS, screen_case, screen_cases
from tsfm_pipeline.sources.case_index import build_case_index, case_from_row
from tsfm_pipeline.sources.msd import MsdSource
from tsfm_pipeline.sources.totalsegmentator import TotalSegmentatorSource
from tsfm_pipeline.workers import WorkerFailure, WorkerSettings
from tsfm_pipeline.workers.run import _call

TABLE = LabelTable(targets={"liver": 5, "liver_tumor": 25, "spleen": 1})
SOURCE = MsdSource(
    layout="msd", folder="Task03_Liver", labels={1: "liver", 2: "liver_tumor"}
).named("msd_liver")
SOURCES = {"msd_liver": SOURCE}
ONE_JOB = WorkerSettings(jobs=1)
DIRECTION = (0.0, -1.0, 0.0, 0.0, 0.0, 1.0, -1.0, 0.0, 0.0)  # index x, y, z along -z, -x, +y


def write(path: Path, array_zyx: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array_zyx)
    image.SetSpacing((1.0, 2.0, 3.0))
    image.SetDirection(DIRECTION)
    sitk.WriteImage(image, str(path))


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Three sound cases, the last without a labelled voxel."""
    task = tmp_path / "raw" / "Task03_Liver"
    image = np.zeros((12, 14, 16), np.int16)
    image[2:, 3:12, :14] = np.random.default_rng(0).integers(1, 300, (10, 9, 14))
    image[5, 5, 5], image[6, 6, 6] = -7, 400
    label = np.zeros(image.shape, np.uint8)
    label[3:9, 4:10, 5:11] = 1
    label[5:7, 5:7, 6:8] = 2
    for number in range(3):
        write(task / "imagesTr" / f"liver_{number}.nii.gz", image)
        write(task / "labelsTr" / f"liver_{number}.nii.gz", label * np.uint8(number < 2))
    (task / "dataset.json").write_text(json.dumps({"modality": {"0": "CT"}}))
    return tmp_path / "raw"


def index_of(raw: Path) -> pd.DataFrame:
    return build_case_index(SOURCES, ["msd_liver"], raw)


def screen(raw: Path, verify: bool = False, sources=SOURCES, table=TABLE) -> pd.DataFrame:
    cache = raw.parent / "screening"
    index = index_of(raw)
    return screen_cases(index, sources, table, cache, ONE_JOB, verify).set_index("case", drop=False)


_opened: list[str] | None = None


def _hear(event: str, arguments: tuple) -> None:
    if event == "open" and _opened is not None:
        _opened.append(os.fsdecode(arguments[0]) if not isinstance(arguments[0], int) else "")


sys.addaudithook(_hear)


@contextmanager
def opened_files(below: Path):
    """Collect the files below a folder that Python opens in this process."""
    global _opened  # noqa: PLW0603 (an audit hook can't be taken back)
    _opened, found = [], []
    try:
        yield found
    finally:
        found += [path for path in _opened if path.startswith(str(below))]
        _opened = None


def test_a_row_says_what_the_files_hold(raw) -> None:
    table = screen(raw)
    assert tuple(table.columns) == INTEGRITY_COLUMNS
    row = table.loc["liver_0"]
    assert (row["key"], row["dataset"], row["patient"], row["modality"]) == (
        "msd_liver/liver_0",
        "msd_liver",
        "msd_liver/liver_0",
        "CT",
    )
    # file x lies along -z, y along -x, z along +y: canonical (z, y, x) is file (x, z, y)
    assert row["shape"] == [16, 12, 14]
    assert row["cropped_shape"] == [14, 10, 9]
    np.testing.assert_allclose(row["spacing"], [1.0, 3.0, 2.0])
    np.testing.assert_allclose(np.reshape(row["direction"], (3, 3)), np.eye(3), atol=1e-6)
    assert (row["minimum"], row["maximum"]) == (-7, 400)
    assert row["labels_present"] == ["1", "2"]
    assert (row["verdict"], row["cause"]) == ("ok", "")
    assert table.loc["liver_2", "labels_present"] == []
    assert (table.loc["liver_2", ["verdict", "cause"]] == ["ok", "no labelled voxel"]).all()


def test_digests_are_of_the_bytes(raw) -> None:
    table = screen(raw)
    assert table.loc["liver_0", "image_digest"] == table.loc["liver_1", "image_digest"]
    assert table.loc["liver_0", "label_digest"] != table.loc["liver_2", "label_digest"]
    case = case_from_row(index_of(raw).iloc[0])
    assert table.loc["liver_0", "image_digest"] == image_digest(case)
    assert table.loc["liver_0", "label_digest"] == label_digest(case)
    content = hashlib.blake2b(case.images[0].read_bytes(), digest_size=16).hexdigest()
    expected = hashlib.blake2b(f"image\0{content}\0".encode(), digest_size=16).hexdigest()
    assert table.loc["liver_0", "image_digest"] == expected


def test_voxels_beside_their_header_count(tmp_path) -> None:
    path = tmp_path / "a.mhd"
    sitk.WriteImage(sitk.GetImageFromArray(np.ones((3, 4, 5), np.uint8)), str(path))
    first = volume_digest(path)
    (tmp_path / "a.raw").write_bytes(bytes(60))
    assert volume_digest(path) != first
    path = tmp_path / "a.nii.gz"
    path.write_bytes(b"content")
    assert volume_digest(path) == hashlib.blake2b(b"content", digest_size=16).hexdigest()


def test_each_file_is_opened_once(raw) -> None:
    case = case_from_row(index_of(raw).iloc[0])
    with opened_files(raw) as found:
        screen_case(case, SOURCE, TABLE)
    assert sorted(found) == sorted(str(path) for path in (case.images[0], case.labels[0].path))


def test_a_table_survives_parquet(raw, tmp_path) -> None:
    (raw / "Task03_Liver/imagesTr/liver_1.nii.gz").write_bytes(b"")
    table = screen(raw)
    table.to_parquet(tmp_path / "integrity.parquet")
    read = pd.read_parquet(tmp_path / "integrity.parquet")
    assert list(read.loc["liver_0", "shape"]) == [16, 12, 14]
    assert read.loc["liver_1", "shape"] is None
    assert list(read.loc["liver_1", "labels_present"]) == []


def read_again(raw: Path, monkeypatch, **keywords) -> tuple[list[str], pd.DataFrame]:
    """Screen once more in this process; return the cases that were looked into, and the table."""
    looked_into = []

    def here(function, tasks, *_):
        for key, arguments in tasks.items():
            looked_into.append(key.removeprefix("msd_liver/"))
            yield key, function(*arguments)

    monkeypatch.setattr("tsfm_pipeline.preparation.screening.run_cases", here)
    with opened_files(raw) as found:
        table = screen(raw, **keywords)
    volumes = [path for path in found if path.endswith(".nii.gz")]
    assert bool(volumes) == bool(looked_into)
    return looked_into, table


def test_unchanged_cases_open_no_raw_volume(raw, monkeypatch) -> None:
    (raw / "Task03_Liver/imagesTr/liver_1.nii.gz").write_bytes(b"no image")
    first = screen(raw)
    assert first.loc["liver_1", "verdict"] == "quarantined"
    looked_into, second = read_again(raw, monkeypatch)
    assert looked_into == []
    pd.testing.assert_frame_equal(first, second)


def test_what_changed_is_read_again(raw, monkeypatch) -> None:
    first = screen(raw)
    image = raw / "Task03_Liver/imagesTr/liver_0.nii.gz"
    os.utime(image, ns=(0, image.stat().st_mtime_ns + 1))
    assert read_again(raw, monkeypatch)[0] == ["liver_0"]
    label = raw / "Task03_Liver/labelsTr/liver_2.nii.gz"
    label.write_bytes((raw / "Task03_Liver/labelsTr/liver_1.nii.gz").read_bytes())
    looked_into, table = read_again(raw, monkeypatch)
    assert looked_into == ["liver_2"]
    assert table.loc["liver_2", "labels_present"] == ["1", "2"]
    assert table.loc["liver_2", "image_digest"] == first.loc["liver_2", "image_digest"]
    other = {"msd_liver": SOURCE.model_copy(update={"labels": {1: "liver", 2: None}})}
    assert len(read_again(raw, monkeypatch, sources=other)[0]) == 3
    assert read_again(raw, monkeypatch, sources=other)[0] == []


def test_verify_finds_a_byte_that_changed_unseen(raw, monkeypatch, caplog) -> None:
    first = screen(raw)
    image = raw / "Task03_Liver/imagesTr/liver_1.nii.gz"
    before, content = image.stat(), bytearray(image.read_bytes())
    content[4] ^= 1  # the time in the gzip header: the voxels stay the same
    image.write_bytes(content)
    os.utime(image, ns=(before.st_atime_ns, before.st_mtime_ns))
    with caplog.at_level(logging.WARNING):
        assert read_again(raw, monkeypatch)[0] == []
        assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
        looked_into, table = read_again(raw, monkeypatch, verify=True)
    assert len(looked_into) == 3
    (record,) = [record for record in caplog.records if "changed" in record.message]
    assert record.message.startswith("msd_liver/liver_1: its files changed")
    assert table.loc["liver_1", "verdict"] == "ok"
    assert table.loc["liver_1", "image_digest"] != first.loc["liver_1", "image_digest"]
    pd.testing.assert_frame_equal(read_again(raw, monkeypatch)[1], table)


def test_what_a_killed_screening_had_finished_is_kept(raw, monkeypatch) -> None:
    def killed_after_two(function, tasks, *_):
        for number, (key, arguments) in enumerate(tasks.items()):
            if number == 2:
                raise KeyboardInterrupt
            yield key, function(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr("tsfm_pipeline.preparation.screening.run_cases", killed_after_two)
        with pytest.raises(KeyboardInterrupt):
            screen(raw)
    file = raw.parent / "screening" / "msd_liver.jsonl"
    complete = file.read_bytes()
    file.write_bytes(complete + b'{"case":"liver_2","sta')  # cut off in the middle of a line
    looked_into, table = read_again(raw, monkeypatch)
    assert looked_into == ["liver_2"]
    assert set(table["verdict"]) == {"ok"}
    assert [json.loads(line)["case"] for line in file.read_bytes().splitlines()] == [
        "liver_0",
        "liver_1",
        "liver_2",
    ]


def test_a_file_that_could_not_be_opened_is_tried_again(raw, monkeypatch) -> None:
    read_bytes = Path.read_bytes

    def refused(path: Path) -> bytes:
        if path.name == "liver_1.nii.gz" and path.parent.name == "imagesTr":
            raise PermissionError(13, "Permission denied")
        return read_bytes(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", refused)
        _, table = read_again(raw, monkeypatch)
        assert table.loc["liver_1", "verdict"] == "quarantined"
        assert "Permission denied" in table.loc["liver_1", "cause"]
    looked_into, table = read_again(raw, monkeypatch)
    assert looked_into == ["liver_1"]
    assert set(table["verdict"]) == {"ok"}


def test_another_modality_is_another_verdict(raw) -> None:
    task = raw / "Task03_Liver"
    image = np.zeros((12, 14, 16), np.int32)
    image[2:, 3:12, :14] = 200_000
    write(task / "imagesTr" / "liver_1.nii.gz", image)
    assert list(screen(raw)["verdict"]) == ["ok", "quarantined", "ok"]
    (task / "dataset.json").write_text(json.dumps({"modality": {"0": "MRI"}}))
    assert list(screen(raw)["verdict"]) == ["ok", "ok", "ok"]


def in_this_process(function, tasks, *_):
    for key, args in tasks.items():
        outcome = _call(function, args)
        if isinstance(outcome, WorkerFailure):
            raise MachineError(outcome.cause)
        yield key, outcome


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOMEM])
def test_a_fault_of_the_machine_is_no_verdict(raw, monkeypatch, number) -> None:
    def fail(*_):
        raise VolumeError("unreadable") from OSError(number, os.strerror(number), "file")

    monkeypatch.setattr(screening, "read_image", fail)
    monkeypatch.setattr(screening, "run_cases", in_this_process)
    with pytest.raises(MachineError, match=os.strerror(number)):
        screen(raw)


def test_a_worker_that_dies_leaves_a_quarantined_case(raw, monkeypatch) -> None:
    from tsfm_pipeline.workers import WorkerFailure

    def dying(function, tasks, *_):
        for number, (key, arguments) in enumerate(tasks.items()):
            yield key, WorkerFailure("out of memory", "") if number else function(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr("tsfm_pipeline.preparation.screening.run_cases", dying)
        table = screen(raw)
    assert list(table["verdict"]) == ["ok", "quarantined", "quarantined"]
    assert table.loc["liver_1", "cause"] == "out of memory"
    assert read_again(raw, monkeypatch)[0] == ["liver_1", "liver_2"]


def test_masks_of_single_classes_are_told_by_name_and_repairs_in_one_line(tmp_path) -> None:
    folder = tmp_path / "s0001"
    image = np.random.default_rng(0).integers(1, 300, (6, 7, 8)).astype(np.int16)
    write(folder / "ct.nii.gz", image)
    source = TotalSegmentatorSource(
        layout="totalsegmentator",
        folder=".",
        labels={name: name for name in ("spleen", "liver", "liver_tumor")},
    ).named("ts")
    for number, name in enumerate(("liver", "spleen", "liver_tumor")):
        mask = sitk.GetImageFromArray((image < 100 * number).astype(np.uint8))
        mask.SetOrigin((0.5, 0.0, 0.0))  # a header that is not the image's
        (folder / "segmentations").mkdir(exist_ok=True)
        sitk.WriteImage(mask, str(folder / "segmentations" / f"{name}.nii.gz"))
    (case,) = source.find_cases(tmp_path)
    found = screen_case(case, source, TABLE).found
    assert found["labels_present"] == ["spleen", "liver_tumor"]
    assert found["verdict"] == "repaired"
    assert found["cause"].count("its header differs from its image") == 1
    assert "spleen.nii.gz and 2 more label files" in found["cause"]


def test_real_cases_are_sound(realdata, tmp_path) -> None:
    sources = {
        "hippocampus": MsdSource(
            layout="msd", folder="Task04_Hippocampus", labels={1: "liver", 2: "spleen"}
        ).named("hippocampus")
    }
    index = build_case_index(sources, ["hippocampus"], realdata)[:20]
    table = screen_cases(index, sources, TABLE, tmp_path, ONE_JOB, verify=False)
    assert set(table["verdict"]) == {"ok"}
    assert {tuple(labels) for labels in table["labels_present"]} == {("1", "2")}


def test_cases_that_lack_a_file_are_told_in_one_line_with_their_number(caplog) -> None:
    missing = [
        {
            "key": f"msd/liver_{n}",
            "cause": f"not found: /raw/liver_{n}.nii.gz. Load it again",
        }
        for n in range(188)
    ]
    other = {"key": "msd/short", "cause": "/raw/short.nii.gz: truncated, 12 of 40 bytes"}
    rows = [{"dataset": "msd", "verdict": "quarantined", **row} for row in [*missing, other]]
    with caplog.at_level(logging.INFO):
        screening._report(pd.DataFrame(rows))
    assert [line for line in caplog.messages if line.startswith("Quarantined")] == [
        "Quarantined msd/liver_0 and 187 more: not found: /raw/liver_0.nii.gz. Load it again",
        "Quarantined msd/short: /raw/short.nii.gz: truncated, 12 of 40 bytes",
    ]

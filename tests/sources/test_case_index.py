import logging
import os
from pathlib import Path

import pandas as pd
import pytest

from tsfm_pipeline.sources import Datasets, SourceError
from tsfm_pipeline.sources.btcv import BtcvSource
from tsfm_pipeline.sources.case_index import build_case_index, case_from_row
from tsfm_pipeline.sources.folders import FoldersSource
from tsfm_pipeline.sources.msd import MsdSource
from tsfm_pipeline.sources.totalsegmentator import TotalSegmentatorSource

LABELS = {1: "liver"}
SOURCES = Datasets(
    {
        "btcv": BtcvSource(folder="RawData", labels=LABELS, expected_cases=2),
        "ts": TotalSegmentatorSource(folder="ts", labels={"liver": "liver", "spleen": "spleen"}),
        "absent": BtcvSource(folder="absent", labels=LABELS),
        "gone": BtcvSource(folder="gone", labels=LABELS),
        "twice": MsdSource(folder="twice", labels=LABELS),
    }
).root


@pytest.fixture
def raw_root(tmp_path: Path) -> Path:
    names = ["RawData/Training/img/img0001.nii.gz", "RawData/Training/label/label0001.nii.gz"]
    names += ["RawData/Training/img/img0002.nii.gz", "ts/s0001/ct.nii.gz"]
    names += [f"ts/s0001/segmentations/{name}.nii.gz" for name in ("liver", "spleen")]
    names += ["twice/imagesTr/a.nii.gz", "twice/labelsTr/a.nii.gz"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_index_survives_parquet_and_gives_the_cases_back(raw_root: Path, tmp_path: Path) -> None:
    index = build_case_index(SOURCES, ["ts", "btcv"], raw_root)
    assert list(index["dataset"]) == ["ts", "btcv", "btcv"]
    assert list(index["problem"] != "") == [False, False, True]
    index.to_parquet(tmp_path / "index.parquet")
    read = pd.read_parquet(tmp_path / "index.parquet")
    expected = [case for name in ("ts", "btcv") for case in SOURCES[name].find_cases(raw_root)]
    assert [case_from_row(row) for _, row in read.iterrows()] == expected
    assert [case_from_row(row) for row in index.to_dict("records")] == expected
    assert [label.class_name for label in expected[0].labels] == ["liver", "spleen"]
    assert expected[1].labels[0].class_name is None


def test_counts_and_problems_are_warned_of(
    raw_root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        build_case_index(SOURCES, ["btcv", "ts"], raw_root)
    first, second = (record.getMessage() for record in caplog.records)
    assert first.startswith("btcv: 1 of 2 cases can't be used; img0002: not found: ")
    assert "label0002.nii.gz" in first
    assert second.endswith("releases: btcv 1 of 2")  # the usable ones count


def test_expected_count_is_silent(raw_root: Path, caplog: pytest.LogCaptureFixture) -> None:
    sources = {"ts": SOURCES["ts"].model_copy(update={"expected_cases": 1})}
    with caplog.at_level(logging.WARNING):
        build_case_index(sources, ["ts"], raw_root)
    assert not caplog.records


def test_unknown_name_lists_the_known(raw_root: Path) -> None:
    with pytest.raises(SourceError, match=r"\['btvc'\].*'btcv'"):
        build_case_index(SOURCES, ["btvc"], raw_root)


def test_all_missing_folders_are_told_at_once(raw_root: Path) -> None:
    with pytest.raises(SourceError) as caught:
        build_case_index(SOURCES, ["absent", "btcv", "gone"], raw_root)
    assert str(raw_root / "absent") in str(caught.value)
    assert str(raw_root / "gone") in str(caught.value)
    assert "RawData" not in str(caught.value)


def test_two_cases_of_one_name_are_set_aside(
    raw_root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (raw_root / "twice/labelsTr/b.nii.gz").touch()
    pairs = [f'{{"image": "imagesTr/a.nii.gz", "label": "labelsTr/{x}.nii.gz"}}' for x in "aab"]
    header = '{"modality": {"0": "CT"}, "training": [%s]}'
    (raw_root / "twice/dataset.json").write_text(header % ",".join(pairs[:2]))
    index = build_case_index(SOURCES, ["twice"], raw_root)
    assert list(index["problem"]) == [""]  # the same files, listed twice
    (raw_root / "twice/dataset.json").write_text(header % ",".join(pairs))
    index = build_case_index(SOURCES, ["ts", "twice"], raw_root)
    assert list(index["case"]) == ["s0001", "a"]
    assert "two cases are named twice/a: " in index["problem"][1]
    assert "labelsTr/b.nii.gz" in index["problem"][1]
    assert "two cases are named" in caplog.text


@pytest.mark.parametrize("odd", ["images", "labels"])
def test_a_path_that_is_not_utf8_is_its_cases_problem(
    raw_root: Path, caplog: pytest.LogCaptureFixture, odd: str
) -> None:
    image, label = raw_root / "odd/images/a.nii", raw_root / "odd/labels/a.nii"
    twin = {"images": image, "labels": label}[odd].with_name(os.fsdecode(b"caf\xe9.nii"))
    for path in (image, label, twin):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    source = FoldersSource(
        folder="odd",
        labels=LABELS,
        modality="CT",
        images=["images/{case}.nii"],
        label="labels/{case}.nii",
    )
    index = build_case_index(Datasets({"odd": source}).root, ["odd"], raw_root)
    index.to_parquet(raw_root / "index.parquet")
    read = pd.read_parquet(raw_root / "index.parquet")
    assert list(read["case"]) == ["a", r"caf\udce9"]
    assert list(read["problem"] == "") == [True, False]
    assert r"/caf\udce9.nii: its path is not UTF-8" in read["problem"][1]
    assert caplog.text.encode()


def test_a_dataset_named_twice_is_refused(raw_root: Path) -> None:
    with pytest.raises(SourceError, match=r"\['ts'\] named more than once"):
        build_case_index(SOURCES, ["ts", "ts"], raw_root)


def test_left_out_cases_keep_their_row_and_reason(
    raw_root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    left_out = {"s0001": "corrupt in v1", "s0864": "not downloaded"}
    sources = {"ts": SOURCES["ts"].model_copy(update={"left_out": left_out, "expected_cases": 0})}
    index = build_case_index(sources, ["ts"], raw_root)
    assert list(index["problem"]) == ["left out: corrupt in v1"]
    assert "left_out names no case of the folder: ['s0864']" in caplog.text
    assert "public releases" not in caplog.text
    sources = {"ts": SOURCES["ts"].model_copy(update={"left_out": {"s0001": None}})}
    assert list(build_case_index(sources, ["ts"], raw_root)["problem"]) == [""]

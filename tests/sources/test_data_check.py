"""`tsfm-pipeline check-data`: found, odd, missing, unusable, without a volume being read."""

import json
import shutil
from pathlib import Path

import pytest

from tsfm_pipeline.commands.check_data import main, table_of
from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.sources.data_check import check_dataset
from tsfm_pipeline.sources.msd import MsdSource

TABLE = LabelTable(targets={"liver": 1, "liver_tumor": 2})


def liver(**given) -> MsdSource:
    fields = {
        "folder": "Task03_Liver",
        "labels": {1: "liver", 2: "liver_tumor"},
        "url": "http://medicaldecathlon.com",
        "expected_cases": 2,
        **given,
    }
    return MsdSource(**fields).named("msd_liver")


def download(root: Path, cases=("liver_0", "liver_1"), labels=("background", "liver", "cancer")):
    """Lay out a dataset whose volumes are no volumes: whoever reads one fails."""
    folder = root / "Task03_Liver"
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
        for case in cases:
            (folder / part / f"{case}.nii.gz").write_bytes(b"no gzip")
    header = {
        "modality": {"0": "CT"},
        "labels": {str(value): name for value, name in enumerate(labels)},
        "training": [
            {"image": f"./imagesTr/{case}.nii.gz", "label": f"./labelsTr/{case}.nii.gz"}
            for case in cases
        ],
    }
    (folder / "dataset.json").write_text(json.dumps(header))
    return folder


def test_a_whole_download_is_found(tmp_path) -> None:
    folder = download(tmp_path)
    found = check_dataset(liver(), tmp_path, TABLE)
    assert (found.state, found.cases, found.usable, found.remarks) == ("found", 2, 2, ())
    assert found.size == 4 * len(b"no gzip") + (folder / "dataset.json").stat().st_size


def test_many_missing_files_are_one_remark_with_their_number(tmp_path, caplog) -> None:
    folder = download(tmp_path, [f"liver_{number}" for number in range(190)])
    for number in range(2, 190):
        (folder / "labelsTr" / f"liver_{number}.nii.gz").unlink()
    found = check_dataset(liver(), tmp_path, TABLE)
    assert (found.state, found.cases, found.usable) == ("odd", 190, 2)
    (remark,) = found.remarks
    assert remark.startswith("188 of 190 cases can't be used, liver_10 first: not found: ")
    assert not caplog.records  # it is in the table


def test_what_the_settings_leave_out_is_said_apart_from_what_cannot_be_used(tmp_path) -> None:
    folder = download(tmp_path, [f"liver_{number}" for number in range(5)])
    (folder / "labelsTr" / "liver_4.nii.gz").unlink()
    left_out = {"liver_1": "wrong spacing", "liver_2": "seen twice", "liver_3": None}
    found = check_dataset(liver(left_out=left_out), tmp_path, TABLE)
    assert (found.state, found.cases, found.usable) == ("odd", 5, 2)
    ours, theirs = found.remarks
    assert ours == (
        "2 of 5 cases are left out by the settings (datasets.msd_liver.left_out), liver_1 first:"
        " wrong spacing"
    )
    assert theirs.startswith("1 of 5 cases can't be used, liver_4 first: not found: ")


def test_images_that_no_list_names_are_odd(tmp_path) -> None:
    folder = download(tmp_path)
    (folder / "imagesTr" / "liver_9.nii.gz").write_bytes(b"no gzip")
    found = check_dataset(liver(), tmp_path, TABLE)
    assert found.state == "odd"
    assert "1 volumes of" in found.remarks[0]
    assert "liver_9" in found.remarks[0]


def test_another_number_than_published_is_odd(tmp_path) -> None:
    download(tmp_path)
    found = check_dataset(liver(expected_cases=131), tmp_path, TABLE)
    assert found.state == "odd"
    assert found.remarks == ("2 usable cases, the public release has 131",)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "dataset.json").write_text("{"), "can't be read as the header"),
        (lambda folder: (folder / "dataset.json").unlink(), "No such file"),
        (lambda folder: shutil.rmtree(folder / "labelsTr"), "2 of 2 cases can't be used"),
    ],
)
def test_what_would_stop_a_run_is_unusable(tmp_path, spoil, said) -> None:
    spoil(download(tmp_path))
    found = check_dataset(liver(), tmp_path, TABLE)
    assert found.state == "unusable"
    assert said in found.remarks[0]


def test_labels_of_another_release_are_unusable(tmp_path) -> None:
    download(tmp_path, labels=("background", "liver", "cancer", "vessel"))
    found = check_dataset(liver(), tmp_path, TABLE)
    assert found.state == "unusable"
    assert "{3: 'vessel'}" in found.remarks[0]


def test_a_target_that_the_label_table_lacks_is_unusable(tmp_path) -> None:
    download(tmp_path)
    found = check_dataset(liver(), tmp_path, LabelTable(targets={"liver": 1}))
    assert found.state == "unusable"
    assert "unknown target 'liver_tumor'" in found.remarks[0]


def test_a_missing_download_says_from_where_and_what_is_expected(tmp_path) -> None:
    missing = check_dataset(liver(), tmp_path, TABLE)
    assert (missing.state, missing.cases, missing.size) == ("missing", None, 0)
    for text in ("http://medicaldecathlon.com", str(tmp_path / "Task03_Liver"), "dataset.json"):
        assert text in missing.remarks[0]


def test_the_table_has_a_row_a_dataset_and_counts(tmp_path) -> None:
    download(tmp_path)
    table = table_of([check_dataset(liver(), tmp_path, TABLE)])
    assert table.splitlines()[1].split() == "msd_liver found 2 of 2 2 0.0 MB Task03_Liver".split()
    assert table.endswith("1 found, 0 odd, 0 missing, 0 unusable")


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["--dataset", "msd_liver"], 0),  # 2 of 131 cases are odd, but a run can start
        (["--dataset", "msd_liver", "--dataset", "btcv"], 1),
        ([], 1),
    ],
)
def test_the_exit_status_says_whether_a_run_can_start(
    tmp_path, repository, capsys, arguments, status
) -> None:
    download(tmp_path)
    given = ["--env", "paper", "--raw-root", str(tmp_path)]
    conf = ["--conf-source", str(repository / "conf")]
    assert main([*given, *conf, *arguments]) == status
    said = capsys.readouterr().out
    assert "msd_liver: 2 usable cases, the public release has 131" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--env", "papper"], "did you mean 'paper'?"),
        (["--dataset", "msd_livr"], "did you mean 'msd_liver'?"),
    ],
)
def test_wrong_names_are_told_the_nearest(repository, capsys, arguments, said) -> None:
    assert main(["--conf-source", str(repository / "conf"), *arguments]) == 2
    assert said in capsys.readouterr().err

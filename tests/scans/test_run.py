import errno
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from nibabel import Nifti1Image, save

from tests.scans.conftest import body, write_model, write_rule, write_series
from tests.scans.thresholds import threshold_model
from tsfm_pipeline.imaging import volume
from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.inference.model import ModelError
from tsfm_pipeline.inference.settings import InferenceSettings
from tsfm_pipeline.scans import outputs, run, size_check
from tsfm_pipeline.scans.__main__ import main
from tsfm_pipeline.scans.ensemble import mirror_axes
from tsfm_pipeline.scans.problem import ScanError
from tsfm_pipeline.scans.run import predict_folder
from tsfm_pipeline.scans.segment import segment
from tsfm_pipeline.scans.settings import PredictSettings

QUICK = PredictSettings(preview=False)


@pytest.fixture
def oracle(tmp_path):
    return threshold_model(tmp_path / "oracle")


def marked_scan():
    """An oblique, flipped scan with a bright block and a brighter core, in file order."""
    values = np.full((12, 18, 16), 40, np.int16)
    values[:, :2] = -1000
    values[2:8, 4:12, 3:9] = 400
    values[4:6, 6:9, 5:7] = 800
    image = sitk.GetImageFromArray(values)
    image.SetSpacing((2.0, 1.5, 3.0))
    image.SetOrigin((11.0, -7.5, 100.25))
    image.SetDirection((0, 0.8, 0.6, -1, 0, 0, 0, -0.6, 0.8))
    return image, values


@pytest.mark.parametrize("way", ["image", "path"])
def test_segment_gives_labels_on_the_scans_own_grid(way, oracle, tmp_path):
    image, values = marked_scan()
    given = image
    if way == "path":
        given = tmp_path / "scan.nrrd"
        sitk.WriteImage(image, str(given))
    found = segment(given, oracle)
    expected = np.select([values == 800, values == 400, values == -1000], [25, 5, 1], 0)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found.labels), expected)
    for ask in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(found.labels, ask)() == pytest.approx(getattr(image, ask)())
    assert found.names == {1: "spleen", 5: "liver", 25: "liver_tumor"}
    rows = found.volumes.set_index("target")
    assert rows.loc["liver", "voxels"] == (values >= 400).sum()  # the tumour is part of the liver
    assert rows.loc["liver", "includes"] == "liver_tumor"
    assert rows.loc["liver_tumor", "volume_ml"] == pytest.approx(12 * 9 / 1000)
    assert rows.loc["liver_tumor", "mean_intensity"] == 800
    assert rows.loc["spleen", "mean_intensity"] == -1000


def test_targets_choose_and_unknown_ones_are_named(oracle):
    image, values = marked_scan()
    found = segment(image, oracle, ["liver"])
    labels = sitk.GetArrayFromImage(found.labels)
    np.testing.assert_array_equal(labels, np.where(values >= 400, 5, 0))
    with pytest.raises(ModelError, match="not know lung; it knows liver, liver_tumor, spleen"):
        segment(image, oracle, ["liver", "lung"])


@pytest.mark.parametrize(
    ("modalities", "lowest", "asked", "outcome"),
    [
        (("CT",), -1000, None, ("CT", "")),
        (("CT",), 0, None, ("CT", "is it a CT in HU?")),
        (("CT",), 0, "MR", "trained on CT only"),
        (("CT", "MR"), -1000, None, ("CT", "taken as CT")),
        (("CT", "MR"), 0, None, "say --modality MR"),
        (("CT", "MR"), 0, "MR", ("MR", "")),
        (("CT", "MR"), 0, "CT", ("CT", "")),
    ],
)
def test_the_modality_is_never_guessed_in_silence(modalities, lowest, asked, outcome, tmp_path):
    write_model(tmp_path, modalities=modalities)
    values = sitk.GetArrayFromImage(body()).clip(lowest) + (1 if lowest == 0 else 0)
    image = sitk.GetImageFromArray(values)
    if isinstance(outcome, str):
        with pytest.raises(ScanError, match=outcome):
            segment(image, tmp_path, modality=asked)
        return
    found = segment(image, tmp_path, modality=asked)
    assert found.modality == outcome[0]
    assert outcome[1] in " ".join(found.notes)
    assert bool(found.notes) == bool(outcome[1])


def folder_of_scans(folder):
    folder.mkdir()
    sitk.WriteImage(body(seed=1), str(folder / "one.nii.gz"))
    sitk.WriteImage(body(seed=2), str(folder / "two.mha"))
    write_series(folder / "ct")
    write_series(folder / "pet", uid="1.2.9", modality="PT")
    (folder / "broken.nii.gz").write_bytes(b"\x1f\x8bnothing")
    return folder


def test_a_folder_becomes_files_tables_and_a_status(tmp_path, model, capsys):
    source = folder_of_scans(tmp_path / "in")
    output = tmp_path / "out"
    arguments = ["-i", str(source), "-o", str(output), "-m", str(model), "--device", "cpu"]
    assert main(arguments) == 1
    shown = capsys.readouterr()
    assert "3 segmented, 0 finished before, 1 failed, 1 skipped" in shown.out
    assert "broken.nii.gz" in shown.err
    for name in ("one", "two", "ct"):
        assert (output / f"{name}.nii.gz").exists()
        assert (output / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
    one = sitk.ReadImage(str(output / "one.nii.gz"))
    like = sitk.ReadImage(str(source / "one.nii.gz"))
    for ask in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(one, ask)() == pytest.approx(getattr(like, ask)())
    volumes = pd.read_csv(output / "volumes.csv")
    assert list(volumes["scan"].unique()) == ["ct", "one", "two"]
    labels = sitk.GetArrayFromImage(one)
    spleen = volumes[(volumes["scan"] == "one") & (volumes["target"] == "spleen")].iloc[0]
    assert spleen["voxels"] == (labels == 1).sum()
    assert spleen["volume_ml"] == pytest.approx((labels == 1).sum() * 2 * 2.5 * 3 / 1000, abs=1e-3)
    problems = pd.read_csv(output / "problems.csv").set_index("scan")
    assert problems.loc["broken", "verdict"] == "failed"
    assert problems.loc["pet", "verdict"] == "skipped"


def test_finished_scans_are_kept_until_something_changes(tmp_path, model, monkeypatch):
    source, output = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    sitk.WriteImage(body(seed=1), str(source / "one.nii.gz"))
    sitk.WriteImage(body(seed=2), str(source / "two.nii.gz"))
    assert predict_folder(source, output, model, QUICK).segmented == ("one", "two")
    monkeypatch.setattr(run, "open_models", lambda *_: pytest.fail("nothing to do"))
    assert predict_folder(source, output, model, QUICK).kept == ("one", "two")
    monkeypatch.undo()

    os.utime(source / "one.nii.gz", ns=(1, 1))
    again = predict_folder(source, output, model, QUICK)
    assert (again.segmented, again.kept) == (("one",), ("two",))
    assert set(again.volumes["scan"]) == {"one", "two"}
    (output / "two.nii.gz").unlink()
    assert predict_folder(source, output, model, QUICK).segmented == ("two",)
    with_preview = QUICK.model_copy(update={"preview": True})
    assert predict_folder(source, output, model, with_preview).segmented == ("one", "two")
    step = InferenceSettings(step=1.0)
    assert len(predict_folder(source, output, model, QUICK, step).segmented) == 2
    batch = InferenceSettings(step=1.0, tile_batch=2)
    assert len(predict_folder(source, output, model, QUICK, batch).kept) == 2
    some = QUICK.model_copy(update={"targets": ("liver",)})
    assert len(predict_folder(source, output, model, some, batch).segmented) == 2
    ruled = tmp_path / "ruled"
    shutil.copytree(model, ruled)
    write_rule(ruled, ("liver",))
    assert len(predict_folder(source, output, ruled, some, batch).segmented) == 2
    assert len(predict_folder(source, output, ruled, some, batch).kept) == 2


CORRECTED = ("one.nii.gz", "one.png", "one_targets/liver.nii.gz")


@pytest.mark.parametrize("name", CORRECTED)
def test_an_output_that_was_changed_is_told_and_kept(name, tmp_path, model):
    sitk.WriteImage(body(), str(tmp_path / "one.nii.gz"))
    settings = QUICK.model_copy(update={"preview": True, "per_target": True})

    def again(**given):
        asked = settings.model_copy(update=given)
        return predict_folder(tmp_path / "one.nii.gz", tmp_path / "out", model, asked)

    assert not [text for text in again().warnings if "not what was written" in text]
    path = tmp_path / "out" / name
    path.write_bytes(path.read_bytes() + b"by hand")
    changed = again()
    assert changed.kept == ("one",)
    assert [text for text in changed.warnings if f"{path} is not what was written" in text]
    assert path.read_bytes().endswith(b"by hand")
    anew = again(overwrite=True)
    assert anew.segmented == ("one",)
    assert not [text for text in anew.warnings if "not what was written" in text]


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", CORRECTED)
def test_an_output_that_was_changed_is_not_replaced_unasked(name, tmp_path, model):
    source, output = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    sitk.WriteImage(body(), str(source / "one.nii.gz"))
    settings = PredictSettings(per_target=True)
    predict_folder(source, output, model, settings)
    path = output / name
    path.write_bytes(path.read_bytes() + b"by hand")
    before = contents(output)
    another = InferenceSettings(step=1.0)
    with pytest.raises(ScanError, match=rf"{path} is not what was written.*--overwrite"):
        predict_folder(source, output, model, settings, another)
    assert contents(output) == before
    path.rename(tmp_path / "moved")  # the remedy
    assert predict_folder(source, output, model, settings, another).segmented == ("one",)


def three_scans(source):
    source.mkdir()
    for name in ("a", "b", "c"):
        sitk.WriteImage(body(seed=ord(name)), str(source / f"{name}.nii.gz"))


def test_a_model_that_cannot_be_opened_costs_no_segmentation(tmp_path, model):
    source, output = tmp_path / "in", tmp_path / "out"
    three_scans(source)
    predict_folder(source, output, model, QUICK)
    before = {file.name: file.read_bytes() for file in output.iterdir()}
    damaged = tmp_path / "damaged"
    shutil.copytree(model, damaged)
    weights = next(damaged.glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ModelError):
        predict_folder(source, output, damaged, QUICK.model_copy(update={"overwrite": True}))
    assert {file.name: file.read_bytes() for file in output.iterdir()} == before


def interrupted_at_the_second_scan(source, output, model, monkeypatch, settings=QUICK):
    real, calls = run.write_scan, []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(run, "write_scan", interrupted)
        with pytest.raises(KeyboardInterrupt):
            predict_folder(source, output, model, settings)


def test_an_interruption_keeps_what_was_not_yet_to_be_replaced(tmp_path, model, monkeypatch):
    source, output = tmp_path / "in", tmp_path / "out"
    three_scans(source)
    predict_folder(source, output, model, QUICK)
    old = (output / "c.nii.gz").read_bytes()
    anew = QUICK.model_copy(update={"overwrite": True})
    interrupted_at_the_second_scan(source, output, model, monkeypatch, anew)
    assert {path.name for path in output.glob("[abc].nii.gz")} == {"a.nii.gz", "c.nii.gz"}
    assert (output / "c.nii.gz").read_bytes() == old
    assert set(pd.read_csv(output / "volumes.csv")["scan"]) == {"a"}
    again = predict_folder(source, output, model, QUICK)
    assert (again.segmented, again.kept) == (("b",), ("a", "c"))


@pytest.mark.parametrize("change", ["input", "labels"])
def test_what_would_be_misread_goes_before_the_first_scan(change, tmp_path, model, monkeypatch):
    source, output = tmp_path / "in", tmp_path / "out"
    three_scans(source)
    predict_folder(source, output, model, QUICK)
    if change == "input":
        os.utime(source / "c.nii.gz", ns=(1, 1))
        used = model
        settings = QUICK.model_copy(update={"overwrite": True})
    else:  # labels.txt is the new model's
        used, settings = tmp_path / "other", QUICK
        write_model(used, table=LabelTable(targets={"spleen": 3, "liver": 5, "liver_tumor": 25}))
    interrupted_at_the_second_scan(source, output, used, monkeypatch, settings)
    assert {path.name for path in output.glob("c.*")} == set()


def test_a_broken_link_with_a_record_is_one_problem(tmp_path, model):
    source, output = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    sitk.WriteImage(body(), str(source / "one.nii.gz"))
    sitk.WriteImage(body(), str(tmp_path / "elsewhere.nii.gz"))
    (source / "two.nii.gz").symlink_to(tmp_path / "elsewhere.nii.gz")
    assert predict_folder(source, output, model, QUICK).segmented == ("one", "two")
    (tmp_path / "elsewhere.nii.gz").unlink()
    summary = predict_folder(source, output, model, QUICK)
    assert (summary.kept, list(summary.problems["scan"])) == (("one",), ["two"])
    assert not list(output.glob("two.*"))


def test_odd_names_are_problems_of_their_own(tmp_path, model):
    source, output = tmp_path / "in", tmp_path / "out"
    deep = source / ("p" * 150) / ("q" * 150)
    deep.mkdir(parents=True)
    sitk.WriteImage(body(), str(deep / "one.nii.gz"))
    sitk.WriteImage(body(), str(source / "two.nii.gz"))
    (source / "two.nii.gz").rename(source / os.fsdecode(b"caf\xe9.nii.gz"))
    summary = predict_folder(source, output, model, PredictSettings(per_target=True, page=True))
    assert len(summary.segmented) == 1
    (problem,) = pd.read_csv(output / "problems.csv").to_dict("records")
    assert (problem["verdict"], problem["file"]) == ("failed", f"{source}/caf\\udce9.nii.gz")
    assert "UTF-8" in problem["reason"]


def test_an_interruption_keeps_what_is_finished(tmp_path, model, monkeypatch):
    source, output = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for name in ("a", "b", "c"):
        sitk.WriteImage(body(seed=ord(name)), str(source / f"{name}.nii.gz"))
    real = outputs.write_text
    calls = []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(outputs, "write_text", interrupted)
    with pytest.raises(KeyboardInterrupt):
        predict_folder(source, output, model, QUICK)
    assert {path.name for path in output.glob("[abc].*")} == {"a.json", "a.nii.gz"}
    assert set(pd.read_csv(output / "volumes.csv")["scan"]) == {"a"}
    assert not list(output.glob(".*"))
    monkeypatch.undo()
    assert predict_folder(source, output, model, QUICK).segmented == ("b", "c")


def test_two_runs_in_one_folder_both_end_well(tmp_path, model, monkeypatch):
    sitk.WriteImage(body(), str(tmp_path / "one.nii.gz"))
    written = outputs.write_label

    def beside_another(*given):
        monkeypatch.setattr(outputs, "write_label", written)
        assert predict_folder(tmp_path / "one.nii.gz", tmp_path / "out", model, QUICK).failed == 0
        written(*given)

    monkeypatch.setattr(outputs, "write_label", beside_another)
    summary = predict_folder(tmp_path / "one.nii.gz", tmp_path / "out", model, QUICK)
    assert (summary.segmented, summary.failed) == (("one",), 0)
    assert {path.name for path in (tmp_path / "out").glob("*one*")} == {"one.json", "one.nii.gz"}


def test_what_fails_now_leaves_no_older_segmentation(tmp_path, model):
    source, output = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    sitk.WriteImage(body(), str(source / "one.nii.gz"))
    predict_folder(source, output, model)
    content = (source / "one.nii.gz").read_bytes()
    (source / "one.nii.gz").write_bytes(content[: len(content) // 2])
    summary = predict_folder(source, output, model)
    assert summary.failed == 1
    assert summary.volumes.empty
    assert not list(output.glob("one.*"))


def test_a_killed_run_is_gone_on_with_and_files_of_others_are_not_replaced(
    tmp_path, model, monkeypatch, capsys
):
    source, output = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    sitk.WriteImage(body(), str(source / "one.nii.gz"))
    given = ["-i", str(source), "-o", str(output), "-m", str(model), "--no-preview"]
    killed = (
        "import os, sys; from tsfm_pipeline.scans import outputs, __main__;"
        "outputs.write_text = lambda *_: os._exit(9); __main__.main(sys.argv[1:])"
    )
    assert subprocess.run([sys.executable, "-c", killed, *given], check=False).returncode == 9
    assert (output / "one.nii.gz").exists()
    assert not (output / "one.json").exists()
    assert main(given) == 0
    assert {path.name for path in output.glob("*one*")} == {"one.nii.gz", "one.json"}
    assert not list(output.glob(".*"))

    (output / "one.json").unlink()
    (output / "one.nii.gz").write_bytes(b"drawn by hand")
    capsys.readouterr()
    assert main(given) == 2
    said = capsys.readouterr().err
    assert f"{output / 'one.nii.gz'} is there already" in said
    assert "--overwrite" in said
    assert (output / "one.nii.gz").read_bytes() == b"drawn by hand"
    assert main([*given, "--overwrite"]) == 0
    assert (output / "one.nii.gz").read_bytes() != b"drawn by hand"
    assert main(given) == 0


def test_an_output_that_cannot_be_written_is_named_without_a_traceback(
    tmp_path, model, monkeypatch, capsys
):
    sitk.WriteImage(body(), str(tmp_path / "one.nii.gz"))
    given = ["-i", str(tmp_path / "one.nii.gz"), "-m", str(model), "-o"]
    (tmp_path / "file").write_text("no folder")
    for output in (tmp_path / "file", tmp_path / "file" / "below"):
        assert main([*given, str(output)]) == 2
        said = capsys.readouterr().err
        assert f"tsfm-predict: {output}: " in said
        assert "the output folder writable" in said

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(run, "write_table", full)
    assert main([*given, str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert f"{tmp_path / 'out'}: No space left on device; " in said
    assert "its disk not full" in said


def test_a_full_disk_stops_the_run_and_blames_no_scan(tmp_path, model, monkeypatch, capsys):
    source, output = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for seed, name in enumerate(("a", "b", "c")):
        sitk.WriteImage(body(seed=seed), str(source / f"{name}.nii.gz"))
    given = ["-i", str(source), "-m", str(model), "-o", str(output), "--no-preview"]
    real = outputs.write_label

    def full(path, *others):
        if path.name == "b.nii.gz":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        real(path, *others)

    monkeypatch.setattr(outputs, "write_label", full)
    assert main(given) == 2
    said = capsys.readouterr().err
    assert f"tsfm-predict: {output / 'b.nii.gz'}: No space left on device; free some space" in said
    assert "export it again" not in said
    monkeypatch.undo()
    assert main(given) == 0
    assert "2 segmented, 1 finished before, 0 failed" in capsys.readouterr().out


def test_parts_share_the_scans_and_a_folder(tmp_path, model, capsys):
    source, output = folder_of_scans(tmp_path / "in"), tmp_path / "out"
    given = ["-i", str(source), "-o", str(output), "-m", str(model), "--no-preview"]
    # in order: broken, one, two, ct
    assert main([*given, "--part", "2/2"]) == 0
    assert not (output / "labels.txt").exists()  # two parts at once would write the same file
    assert main([*given, "--part", "1/2"]) == 1
    assert (output / "labels.txt").exists()
    for number, scans, wrong in ((1, {"two"}, {"broken", "pet"}), (2, {"one", "ct"}, set())):
        assert set(pd.read_csv(output / f"volumes_{number}of2.csv")["scan"]) == scans
        assert set(pd.read_csv(output / f"problems_{number}of2.csv")["scan"]) == wrong
    assert not (output / "volumes.csv").exists()
    capsys.readouterr()
    assert main(given) == 1
    assert "0 segmented, 3 finished before, 1 failed" in capsys.readouterr().out
    assert set(pd.read_csv(output / "volumes.csv")["scan"]) == {"one", "two", "ct"}


@pytest.mark.parametrize("given", ["0/2", "3/2", "2", "a/b", "-1/2"])
def test_a_part_that_is_none_is_refused(given, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["-i", "in", "-o", "out", "-m", "m", f"--part={given}"])
    assert "the second of eight is 2/8" in capsys.readouterr().err


SIDED = LabelTable(targets={"spleen": 1, "kidney_left": 2, "kidney_right": 3})


@pytest.mark.parametrize(
    ("regions", "trained", "left_right", "axes"),
    [
        (("spleen",), (0, 1, 2), "keep", (0, 1, 2)),
        (("spleen",), (2,), "keep", (2,)),
        (("spleen", "kidney_left"), (0, 1, 2), "keep", (0, 1)),
        (("spleen", "kidney_left"), (0, 1, 2), "swap", (0, 1)),
        (("kidney_left", "spleen", "kidney_right"), (0, 1, 2), "swap", (0, 1, 2)),
        (("kidney_left", "kidney_right"), (2,), "keep", "left-right alone, and some targets"),
        (("spleen",), (), "keep", "mirrored scans never"),
    ],
)
def test_only_axes_that_training_mirrored_and_that_keep_sides(
    regions, trained, left_right, axes, tmp_path
):
    settings = {"augmentation": {"mirror_axes": trained, "left_right": left_right}}
    card = write_model(tmp_path, table=SIDED, regions=regions, settings=settings)
    if isinstance(axes, str):
        with pytest.raises(ModelError, match=axes):
            mirror_axes(card)
        return
    assert mirror_axes(card) == axes


def test_mirroring_is_off_and_changes_the_labels_when_asked_for(tmp_path, model, capsys):
    sitk.WriteImage(body(), str(tmp_path / "one.nii.gz"))
    found = []
    for name, option in (("plain", []), ("mirrored", ["--mirror"])):
        output = tmp_path / name
        given = ["-i", str(tmp_path / "one.nii.gz"), "-o", str(output), "-m", str(model)]
        assert main([*given, "--no-preview", *option]) == 0
        found.append(sitk.GetArrayFromImage(sitk.ReadImage(str(output / "one.nii.gz"))))
    for labels, axes in zip(found, [(), (0, 1, 2)], strict=True):
        settings = InferenceSettings(mirror_axes=axes)
        expected = segment(tmp_path / "one.nii.gz", model, settings=settings).labels
        np.testing.assert_array_equal(labels, sitk.GetArrayFromImage(expected))
    assert (found[0] != found[1]).any()
    # another way to make the labels, so nothing is kept
    given = ["-i", str(tmp_path / "one.nii.gz"), "-o", str(tmp_path / "plain"), "-m", str(model)]
    capsys.readouterr()
    assert main([*given, "--no-preview", "--mirror"]) == 0
    assert "1 segmented, 0 finished before" in capsys.readouterr().out


def test_what_cannot_start_says_so(tmp_path, model, capsys):
    sitk.WriteImage(body(), str(tmp_path / "one.nii.gz"))
    given = ["-i", str(tmp_path / "one.nii.gz"), "-o", str(tmp_path / "out"), "-m"]
    assert main([*given, str(model), "--fast"]) == 2
    assert "no coarser model" in capsys.readouterr().err
    assert main([*given, str(tmp_path / "nothing")]) == 2
    said = capsys.readouterr().err
    assert "no usable model.json" in said
    assert "data/06_models/WORKSPACE/EXPERIMENT/DIGEST" in said
    unfinished = tmp_path / "unfinished"
    write_model(unfinished)
    (unfinished / "best.safetensors").unlink()
    assert main([*given, str(unfinished)]) == 2
    assert "neither best.safetensors nor final.safetensors" in capsys.readouterr().err
    assert main([*given, str(model), "--targets", "lung"]) == 2
    assert "it knows liver, liver_tumor, spleen" in capsys.readouterr().err
    assert main(["-i", str(tmp_path / "no"), "-o", str(tmp_path / "o"), "-m", str(model)]) == 2
    assert "no such file or folder" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["x" * 220, os.fsdecode(b"caf\xe9")])
def test_an_output_whose_name_cannot_be_written_is_refused_at_once(name, tmp_path, model, capsys):
    sitk.WriteImage(body(), str(tmp_path / "one.nii.gz"))
    output = tmp_path / f"{name}.nii.gz"
    given = ["-i", str(tmp_path / "one.nii.gz"), "-o", str(output), "-m", str(model)]
    assert main(given) == 2
    assert "name" in capsys.readouterr().err


def test_a_file_among_linked_scans_is_refused(tmp_path, model, capsys):
    (tmp_path / "data").mkdir()
    (tmp_path / "in").mkdir()
    sitk.WriteImage(body(), str(tmp_path / "data" / "one.nii.gz"))
    (tmp_path / "in" / "p1").symlink_to(tmp_path / "data")
    output = tmp_path / "data" / "liver.nii.gz"
    assert main(["-i", str(tmp_path / "in"), "-o", str(output), "-m", str(model)]) == 2
    assert "among the scans" in capsys.readouterr().err


@pytest.mark.parametrize("given", ["", "a.nii.gz", "../in"])
def test_scans_are_never_replaced_by_their_segmentations(given, tmp_path, model, capsys):
    source = tmp_path / "in"
    source.mkdir()
    sitk.WriteImage(body(), str(source / "a.nii.gz"))
    content = (source / "a.nii.gz").read_bytes()
    arguments = ["-i", str(source / given), "-o", str(source), "-m", str(model)]
    assert main(arguments) == 2
    assert "give an output folder of its own" in capsys.readouterr().err
    assert [path.name for path in source.iterdir()] == ["a.nii.gz"]
    assert (source / "a.nii.gz").read_bytes() == content


def test_what_free_memory_cannot_hold_is_refused_before_it_is_read(tmp_path, model, monkeypatch):
    sitk.WriteImage(body(), str(tmp_path / "one.nii.gz"))
    write_series(tmp_path / "ct")
    monkeypatch.setattr(size_check, "available_memory", lambda: 40_000)
    for read in ("decode_nifti", "read_itk"):
        monkeypatch.setattr(volume, read, lambda *_: pytest.fail("read"))
    with pytest.raises(ScanError, match=r"one\.nii\.gz: 14 x 18 x 20 voxels .* take about"):
        segment(tmp_path / "one.nii.gz", model)
    with pytest.raises(ScanError, match="ct: 6 files of 2400 voxels"):
        segment(tmp_path / "ct", model)


def test_two_channels_are_one_scan(tmp_path):
    write_model(tmp_path / "m", in_channels=2)
    source = tmp_path / "in"
    source.mkdir()
    for channel in (0, 1):
        sitk.WriteImage(body(seed=channel), str(source / f"case_{channel:04d}.nii.gz"))
    summary = predict_folder(source, tmp_path / "out", tmp_path / "m", QUICK)
    assert summary.segmented == ("case",)


def test_a_record_tells_how_a_scan_was_segmented(tmp_path, model):
    sitk.WriteImage(body(), str(tmp_path / "one.nii"))
    predict_folder(tmp_path / "one.nii", tmp_path / "out", model, QUICK)
    record = json.loads((tmp_path / "out" / "one.json").read_text())
    assert record["modality"] == "CT"
    assert record["files"] == [str(tmp_path / "one.nii")]


def test_repairs_are_told_and_kept(tmp_path, model, capsys):
    values = sitk.GetArrayFromImage(body()).astype(np.float32)
    values[5, 5, 5:8] = np.nan
    image = sitk.GetImageFromArray(values)
    assert segment(image, model).notes == ("3 NaN or infinite voxels set to 0",)
    save(Nifti1Image(values, np.diag([2.0, 2.5, 3.0, 1.0])), tmp_path / "one.nii.gz")
    given = ["-i", str(tmp_path / "one.nii.gz"), "-o", str(tmp_path / "out"), "-m", str(model)]
    assert main([*given, "--no-preview"]) == 0
    said = f"{tmp_path / 'one.nii.gz'}: 3 NaN or infinite voxels set to 0"
    assert capsys.readouterr().err.count(f"note: one: {said}") == 1
    assert said in json.loads((tmp_path / "out" / "one.json").read_text())["notes"]


def test_real_scans(realdata, tmp_path):
    model = tmp_path / "ct"
    write_model(model, target_spacing=(8.0, 8.0, 8.0))
    series = predict_folder(realdata / "dicom_ct_3slice" / "01.dcm", tmp_path / "out", model)
    assert series.segmented == ("dicom_ct_3slice",)
    labels = sitk.ReadImage(str(tmp_path / "out" / "dicom_ct_3slice.nii.gz"))
    mask = sitk.ReadImage(str(realdata / "dicom_ct_3slice" / "liver_seg.nrrd"))
    assert labels.GetSize()[:2] == mask.GetSize()[:2]
    ct = realdata / "totalsegmentator_example" / "s9001" / "ct.nii.gz"
    assert predict_folder(ct, tmp_path / "out", model).segmented == ("ct",)
    case = next((realdata / "Task04_Hippocampus" / "imagesTr").glob("*.nii.gz"))
    write_model(tmp_path / "mr", ct_statistics=None, modalities=("MR",))
    assert len(predict_folder(case, tmp_path / "out", tmp_path / "mr").segmented) == 1

import errno
import json
import multiprocessing
import os
import pickle
import resource
import shutil
import signal
from contextlib import contextmanager

import numpy as np
import pytest
from pydantic import ValidationError

from tsfm_pipeline.imaging.geometry import Geometry, Reorientation
from tsfm_pipeline.imaging.labels import OUTSIDE
from tsfm_pipeline.store import CaseRecord, CaseStore, StoreError, case_store

SHAPE = (70, 40, 66)
IDENTITY = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


def make_record(shape=SHAPE, channels=1, modality="CT", **changes):
    geometry = Geometry(shape, (1.5, 1.0, 0.1 + 0.2), (-3.25, 1 / 3, 7.0), IDENTITY)
    fields = {
        "dataset": "set",
        "case": "case_1.a",
        "patient": "p",
        "modality": modality,
        "channels": channels,
        "geometry": geometry,
        "file_geometry": geometry,
        "reorientation": Reorientation((2, 0, 1), (True, False, True)),
        "crop_lower": (1, 2, 3),
        "crop_shape": shape,
        "uncropped_shape": (99, 98, 97),
        "uncropped_spacing": (1.5, 1.0, 0.3),
        "target_voxels": {5: 120, 25: 7},
        "annotated": ("liver", "liver_tumor"),
        "raw_digest": "raw",
        "preparation_digest": "how",
        "image_identity": "image",
    }
    return CaseRecord(**{**fields, **changes})


@pytest.fixture
def image():
    return np.random.default_rng(0).uniform(-1100, 3000, (1, *SHAPE)).astype(np.float32)


@pytest.fixture
def labels():
    return np.random.default_rng(1).integers(0, 6, SHAPE).astype(np.uint8)


FOREGROUND = {5: np.array([[69, 39, 65], [0, 1, 2]], np.int32), 25: np.zeros((1, 3), np.int32)}
INTENSITIES = np.array([[10.5], [-3.0]], np.float32)


@pytest.fixture
def store(tmp_path, image, labels):
    store = CaseStore(tmp_path / "pool")
    store.write(make_record(), image, labels, FOREGROUND, INTENSITIES)
    return store


KEY = "set/case_1.a"


def test_what_is_written_is_read_back(store, image, labels):
    assert store.keys() == [KEY]
    assert store.record(KEY) == make_record()
    assert np.abs(store.read_image(KEY) - image).max() <= 1 / 16
    np.testing.assert_array_equal(store.read_labels(KEY), labels)
    found = store.foreground(KEY)
    assert found.keys() == FOREGROUND.keys()
    for target, points in FOREGROUND.items():
        np.testing.assert_array_equal(found[target], points)
        assert found[target].dtype == np.int32
    np.testing.assert_array_equal(store.intensities(KEY), INTENSITIES)


def test_record_goes_through_json_unchanged():
    record = make_record()
    assert CaseRecord.model_validate_json(record.model_dump_json()) == record
    assert json.loads(record.model_dump_json())["geometry"]["spacing"][2] == 0.1 + 0.2


@pytest.mark.parametrize("name", ["../up", "a/b", ".hidden", ""])
def test_names_that_leave_the_store_are_refused(name):
    with pytest.raises(ValidationError, match="rename the case"):
        make_record(case=name)


def test_ct_beyond_the_fixed_point_range_is_limited(store, labels):
    extreme = np.full((1, *SHAPE), 30000.0, np.float32)
    extreme[0, 0] = -30000.0
    store.write(make_record(), extreme, labels, {}, INTENSITIES)
    stored = store.read_image(KEY)
    assert (stored.min(), stored.max()) == (-4095.0, 4095.0)


def test_mr_is_float16_of_every_channel(store, labels):
    scores = np.random.default_rng(2).normal(0, 3, (4, *SHAPE)).astype(np.float32)
    store.write(make_record(channels=4, modality="MR"), scores, labels, {}, INTENSITIES)
    np.testing.assert_array_equal(store.read_image(KEY), scores.astype(np.float16))
    patch, _, _ = store.read_patch(KEY, (3, 4, 5), (6, 7, 8))
    np.testing.assert_array_equal(patch, scores[:, 3:9, 4:11, 5:13].astype(np.float16))


@pytest.mark.parametrize(
    ("lower", "size"),
    [
        ((0, 0, 0), SHAPE),
        ((60, 10, 1), (5, 20, 65)),
        ((-3, -4, -5), (20, 60, 20)),
        ((65, 35, 60), (10, 10, 10)),
        ((-5, -5, -5), (100, 100, 100)),
        ((70, 0, 0), (4, 5, 6)),
        ((0, -9, 0), (4, 5, 6)),
        ((0, 0, 90), (4, 5, 6)),
    ],
)
def test_a_patch_is_the_padded_volume_cut(store, labels, lower, size):
    margin = 100
    whole = np.pad(store.read_image(KEY), [(0, 0), *[(margin, margin)] * 3])
    whole_labels = np.pad(labels, margin, constant_values=OUTSIDE)
    box = tuple(slice(a + margin, a + margin + s) for a, s in zip(lower, size, strict=True))
    patch, patch_labels, inside = store.read_patch(KEY, lower, size)
    np.testing.assert_array_equal(patch, whole[(slice(None), *box)])
    np.testing.assert_array_equal(patch_labels, whole_labels[box])
    in_volume = np.zeros(size, bool)
    in_volume[inside] = True
    expected = np.pad(np.ones(SHAPE, bool), margin)[box]
    np.testing.assert_array_equal(in_volume, expected)


def test_arrays_must_have_the_recorded_shape(store, image, labels):
    with pytest.raises(StoreError, match="as recorded"):
        store.write(make_record(channels=2), image, labels, {}, INTENSITIES)
    with pytest.raises(StoreError, match="as recorded"):
        store.write(make_record(), image, labels[1:], {}, INTENSITIES)


@pytest.mark.parametrize("ask", ["record", "read_image", "read_labels", "foreground"])
def test_an_absent_case_is_told(store, ask):
    with pytest.raises(StoreError, match="set/none is not in the store"):
        getattr(store, ask)("set/none")


def test_damage_is_told_with_file_and_remedy(store):
    folder = store.root / "set" / "case_1.a"
    (folder / "image.b2nd").write_bytes(b"junk")
    with pytest.raises(StoreError, match=r"image\.b2nd is damaged.*prepares their cases again"):
        store.read_image(KEY)
    (folder / "case.json").write_text('{"dataset": "set"}')
    with pytest.raises(StoreError, match=r"case\.json.*prepare the case again"):
        store.record(KEY)
    assert store.intact_record(KEY) is None


READERS = {
    "image.b2nd": lambda store: store.read_patch(KEY, (0, 0, 0), (8, 8, 8)),
    "labels.b2nd": lambda store: store.read_labels(KEY),
    "samples.npz": lambda store: store.foreground(KEY),
    "case.json": lambda store: store.record(KEY),
}


def flip_bit(path, bit):
    """Change one bit in place and hide it as well as a disk does: same size, same times."""
    content, stat = bytearray(path.read_bytes()), path.stat()
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


@pytest.mark.parametrize("name", READERS)
def test_a_flipped_bit_is_never_read_as_data(store, name):
    path = store.root / "set" / "case_1.a" / name
    written = path.read_bytes()
    before = repr(READERS[name](store)), store.record(KEY)
    for bit in np.random.default_rng(2).integers(0, 8 * len(written), 40).tolist():
        case_store._checked.clear()  # as in a process of its own
        flip_bit(path, bit)
        try:
            with pytest.raises(StoreError, match=name):
                READERS[name](store)
        except pytest.fail.Exception:  # it was in a blank between two fields
            assert name == "case.json"
            assert (repr(READERS[name](store)), store.record(KEY)) == before
        flip_bit(path, bit)
    assert path.read_bytes() == written


def test_a_file_that_changes_while_it_is_used_is_looked_at_again(store):
    store.read_labels(KEY)
    path = store.root / "set" / "case_1.a" / "labels.b2nd"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(0, 0))
    with pytest.raises(StoreError, match=r"labels\.b2nd is damaged"):
        store.read_labels(KEY)


def test_case_records_of_before_they_had_a_digest_are_read(store):
    path = store.root / "set" / "case_1.a" / "case.json"
    content = json.loads(path.read_text())
    del content["digest"]
    path.write_text(json.dumps(content))
    assert store.record(KEY) == make_record()
    assert store.intact_record(KEY, verify=True) == make_record()


def test_an_interrupted_write_leaves_no_case(tmp_path, image, labels, monkeypatch):
    store = CaseStore(tmp_path / "pool")

    def fail(*args, **kwargs):
        raise OSError("no such device")

    monkeypatch.setattr(case_store.np, "savez", fail)
    with pytest.raises(OSError, match="no such device"):
        store.write(make_record(), image, labels, FOREGROUND, INTENSITIES)
    assert store.keys() == []
    assert list((store.root / "set").iterdir()) == []


@contextmanager
def small_files_only():
    """Let no file grow beyond 100 kB, as on a disk that gets full.

    No fixture: pytest itself writes between a test and its end, maybe into a longer file.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_is_told_and_leaves_nothing(store, image, labels):
    before = {path: path.read_bytes() for path in store.root.rglob("*") if path.is_file()}
    for record in (make_record(raw_digest="new"), make_record(case="two")):
        told = pytest.raises(StoreError, match=f"{record.key}: no room in .*free some space")
        with told, small_files_only():
            store.write(record, image, labels, FOREGROUND, INTENSITIES)
    assert store.keys() == [KEY]
    after = {path: path.read_bytes() for path in store.root.rglob("*") if path.is_file()}
    assert after == before


def test_an_interrupted_replacement_leaves_the_old_version(store, image, labels, monkeypatch):
    def fail(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(case_store.np, "savez", fail)
    with pytest.raises(KeyboardInterrupt):
        store.write(make_record(raw_digest="new"), image + 1, labels, {}, INTENSITIES)
    with pytest.raises(KeyboardInterrupt):
        store.write_labels(make_record(raw_digest="new"), labels, {}, INTENSITIES)
    monkeypatch.undo()
    assert store.record(KEY).raw_digest == "raw"
    assert np.abs(store.read_image(KEY) - image).max() <= 1 / 16
    assert [p.name for p in (store.root / "set").iterdir()] == ["case_1.a"]


def test_labels_are_rewritten_beside_the_same_image_file(store, image, labels):
    folder = store.root / "set" / "case_1.a"
    inode = (folder / "image.b2nd").stat().st_ino
    record = make_record(raw_digest="new", target_voxels={1: 5})
    store.write_labels(record, labels + 1, {}, INTENSITIES)
    assert (folder / "image.b2nd").stat().st_ino == inode
    assert store.intact_record(KEY, verify=True) == record
    np.testing.assert_array_equal(store.read_labels(KEY), labels + 1)
    assert store.foreground(KEY) == {}
    with pytest.raises(StoreError, match="made in another way"):
        store.write_labels(make_record(image_identity="other"), labels, {}, INTENSITIES)
    with pytest.raises(FileNotFoundError):
        store.write_labels(make_record(case="two"), labels, {}, INTENSITIES)
    assert [p.name for p in (store.root / "set").iterdir()] == ["case_1.a"]


def test_without_hard_links_the_image_is_copied(store, image, labels, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    before = store.read_image(KEY)
    monkeypatch.setattr(os, "link", refuse)
    record = make_record(raw_digest="new", target_voxels={1: 5})
    store.write_labels(record, labels + 1, {}, INTENSITIES)
    assert store.intact_record(KEY, verify=True) == record
    np.testing.assert_array_equal(store.read_labels(KEY), labels + 1)
    np.testing.assert_array_equal(store.read_image(KEY), before)
    path = store.root / "set" / "case_1.a" / "image.b2nd"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(StoreError, match=r"image\.b2nd is damaged"):
        store.write_labels(make_record(raw_digest="newer"), labels, {}, INTENSITIES)
    assert store.record(KEY) == record


def test_a_case_is_intact_while_its_files_are_those_written(store):
    folder = store.root / "set" / "case_1.a"
    assert store.intact_record(KEY) == store.intact_record(KEY, verify=True) == make_record()
    assert store.intact_record("set/none") is None
    for name in ("image.b2nd", "labels.b2nd", "samples.npz"):
        good = (folder / name).read_bytes()
        (folder / name).write_bytes(good + b"x")
        assert store.intact_record(KEY) is None
        (folder / name).write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
        assert store.intact_record(KEY) is not None
        assert store.intact_record(KEY, verify=True) is None
        (folder / name).unlink()
        assert store.intact_record(KEY) is None
        (folder / name).write_bytes(good)
    (folder / "lock").touch()  # its writer was killed after the last rename
    assert store.intact_record(KEY, verify=True) == make_record()
    (folder / "image.npy").touch()
    assert store.intact_record(KEY) is None


def test_a_case_copied_to_another_name_is_refused(store):
    shutil.copytree(store.root / "set" / "case_1.a", store.root / "set" / "case_2")
    with pytest.raises(StoreError, match=r"is the record of set/case_1\.a"):
        store.record("set/case_2")


def test_a_new_version_replaces_the_old_one_whole(store, image, labels):
    store.write(make_record(raw_digest="new"), image + 1, labels, {}, INTENSITIES)
    assert store.record(KEY).raw_digest == "new"
    assert store.foreground(KEY) == {}
    folder = store.root / "set"
    assert [p.name for p in folder.iterdir()] == ["case_1.a"]
    names = {p.name for p in (folder / "case_1.a").iterdir()}
    assert names == {"image.b2nd", "labels.b2nd", "samples.npz", "case.json"}


def _write_and_hang(store, image, labels, started):
    def hang(*args, **kwargs):
        started.set()
        signal.pause()

    case_store.np.savez = hang
    store.write(make_record(), image, labels, FOREGROUND, INTENSITIES)


def test_a_killed_writer_is_ignored_and_cleaned_up_after_a_living_one_is_not(
    tmp_path, image, labels
):
    store = CaseStore(tmp_path / "pool")
    context = multiprocessing.get_context("fork")
    started = context.Event()
    arguments = (store, image, labels, started)
    writer = context.Process(target=_write_and_hang, args=arguments, daemon=True)
    writer.start()
    assert started.wait(30)
    folder = store.root / "set"
    (unfinished,) = folder.iterdir()
    assert store.keys() == []

    store.write(make_record(), image, labels, FOREGROUND, INTENSITIES)
    assert store.keys() == [KEY]
    assert (unfinished / "image.b2nd").exists()

    store.remove_abandoned()
    assert (unfinished / "image.b2nd").exists()
    os.kill(writer.pid, signal.SIGKILL)
    writer.join(30)
    (folder / ".case_1.a.0.replaced").mkdir()
    (folder / "case_1.a" / "lock").touch()
    store.remove_abandoned()
    assert store.keys() == [KEY]
    assert [p.name for p in folder.iterdir()] == ["case_1.a"]
    assert not (folder / "case_1.a" / "lock").exists()


def test_the_old_version_comes_back_after_a_kill_between_two_renames(store):
    folder = store.root / "set"
    (folder / "case_1.a").rename(folder / ".case_1.a.0f.replaced")
    assert store.keys() == []
    store.remove_abandoned()
    assert store.intact_record(KEY, verify=True) == make_record()
    assert [p.name for p in folder.iterdir()] == ["case_1.a"]


def _write_often(store, image, labels, number):
    for round_ in range(5):
        record = make_record(raw_digest=f"{number}.{round_}")
        store.write(record, image + number, labels, FOREGROUND, INTENSITIES)


def test_two_writers_of_one_case_leave_one_whole_version(tmp_path, image, labels):
    store = CaseStore(tmp_path / "pool")
    context = multiprocessing.get_context("fork")
    writers = [
        context.Process(target=_write_often, args=(store, image, labels, number))
        for number in (1, 2)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    assert [p.name for p in (store.root / "set").iterdir()] == ["case_1.a"]
    number = int(store.record(KEY).raw_digest[0])
    assert np.abs(store.read_image(KEY) - image - number).max() <= 1 / 16 + 1e-3


def _read(store, key, send):
    patch, _, _ = store.read_patch(key, (1, 2, 3), (8, 8, 8))
    send.send(float(patch.sum()))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_store_that_was_read_serves_other_processes(store, method):
    expected = float(store.read_patch(KEY, (1, 2, 3), (8, 8, 8))[0].sum())
    context = multiprocessing.get_context(method)
    receive, send = context.Pipe(duplex=False)
    reader = context.Process(target=_read, args=(store, KEY, send))
    reader.start()
    assert receive.poll(60)
    assert receive.recv() == expected
    reader.join(30)
    assert pickle.loads(pickle.dumps(store)).root == store.root

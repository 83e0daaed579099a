"""docs/security.md, claim by claim: files from strangers run no code and stay in their folder."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import kedro_viz.constants
import mlflow.cli
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from kedro.config import OmegaConfigLoader
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError
from yaml import YAMLError

from tests.scans.conftest import write_model
from tests.store.test_cases import FOREGROUND, INTENSITIES, SHAPE, make_record
from tsfm_pipeline.catalog import CheckedTableDataset
from tsfm_pipeline.files import bytes_digest
from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.inference.model import load_model
from tsfm_pipeline.model.folder import ModelError, ModelFolder
from tsfm_pipeline.pool.version import POOL_VERSIONS_SCHEMA
from tsfm_pipeline.settings import CONFIG_LOADER_ARGS
from tsfm_pipeline.sources.msd import MsdSource
from tsfm_pipeline.sources.nnunet import NnunetSource
from tsfm_pipeline.store import CaseStore, StoreError
from tsfm_pipeline.store.record import Sidecar, StoredFile
from tsfm_pipeline.training.checkpoint import load_state
from tsfm_pipeline.training.task import TrainingError
from tsfm_pipeline.training.transfer import transfer_weights

ran: list[str] = []


def _run() -> dict[str, object]:
    ran.append("code of the file")
    return {}


class Malicious:
    """Runs `_run` when it is unpickled."""

    def __reduce__(self):
        return _run, ()


@pytest.fixture(autouse=True)
def nothing_ran():
    pickle.loads(pickle.dumps(Malicious()))  # it does work
    assert ran
    ran.clear()
    yield
    assert not ran


@pytest.mark.parametrize("legacy", [False, True])
def test_a_state_with_code_is_refused(tmp_path, legacy) -> None:
    folder = ModelFolder(tmp_path)
    torch.save({"epoch": Malicious()}, folder.state, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(TrainingError, match="can't be read"):
        load_state(folder)


@pytest.mark.parametrize(
    "write", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))]
)
def test_weights_are_never_unpickled(tmp_path, write) -> None:
    folder = ModelFolder(tmp_path)
    network = write_model(tmp_path).build_network()
    write({"a": Malicious()}, folder.weights("best"))
    with pytest.raises(ModelError, match=r"no usable best\.safetensors"):
        load_model(folder, "best", "cpu")
    with pytest.raises(TrainingError, match="can't be read"):
        transfer_weights(network, folder.weights("best"))


def test_stored_arrays_hold_no_objects(tmp_path) -> None:
    store = CaseStore(tmp_path)
    image = np.zeros((1, *SHAPE), np.float32)
    store.write(make_record(), image, np.zeros(SHAPE, np.uint8), FOREGROUND, INTENSITIES)
    folder = tmp_path / "set" / "case_1.a"
    np.savez(folder / "samples.npz", intensities=np.array([Malicious()], object))
    content = (folder / "samples.npz").read_bytes()
    sidecar = Sidecar.from_json((folder / "case.json").read_bytes())
    changed = StoredFile(size=len(content), digest=bytes_digest(content))  # as an attacker would
    files = {**sidecar.files, "samples.npz": changed}
    (folder / "case.json").write_bytes(sidecar.model_copy(update={"files": files}).to_json())
    with pytest.raises((ValueError, StoreError), match="allow_pickle"):
        store.intensities("set/case_1.a")


def test_tables_build_no_types_from_what_they_hold(tmp_path) -> None:
    hidden = {
        b"ARROW:extension:name": b"arrow.py_extension_type",
        b"ARROW:extension:metadata": pickle.dumps(Malicious()),
    }
    fields = [pa.field(field.name, field.type, metadata=hidden) for field in POOL_VERSIONS_SCHEMA]
    pq.write_table(pa.schema(fields).empty_table(), tmp_path / "table.parquet")
    name = "tsfm_pipeline.pool.version.POOL_VERSIONS_SCHEMA"
    assert CheckedTableDataset(filepath=str(tmp_path / "table.parquet"), schema=name).load().empty


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:tests.test_security._run []",
        "!!python/name:tests.test_security._run",
        "${eval:tests.test_security._run()}",
        "${oc.create:{_target_: tests.test_security._run}}",
        "${oc.env:TSFM_SECRET}",  # with all parameters it would go into MLflow
        "${oc.decode:${oc.env:TSFM_SECRET}}",
    ],
)
def test_settings_run_nothing_and_read_no_environment(tmp_path, monkeypatch, text) -> None:
    monkeypatch.setenv("TSFM_SECRET", "open sesame")
    for environment in ("base", "local"):
        (tmp_path / environment).mkdir()
    (tmp_path / "base" / "parameters.yml").write_text(f"a: {text}\n")
    loader = OmegaConfigLoader(str(tmp_path), **CONFIG_LOADER_ARGS)
    try:
        found = str(loader["parameters"])
    except (ValueError, OmegaConfBaseException, YAMLError) as error:
        found = str(error)
    assert "open sesame" not in found


@pytest.mark.parametrize("name", ['liver"', "liver\n2 0 0 0 0 0 0", "liver\x1b[2J"])
def test_a_strangers_targets_end_no_line_of_a_label_file(name) -> None:
    for labels in ({"targets": {name: 1}}, {"targets": {"a": 1}, "regions": {name: ["a"]}}):
        with pytest.raises(ValidationError, match="a quote or a control character"):
            LabelTable.model_validate(labels)


@pytest.mark.parametrize(
    "listed", ["../outside/x.nii.gz", "/etc/passwd", "imagesTr/../../x.nii.gz"]
)
@pytest.mark.parametrize("layout", ["msd", "nnunet"])
def test_paths_of_a_dataset_stay_in_its_folder(tmp_path, listed, layout) -> None:
    root = tmp_path / "set"
    (root / "imagesTr").mkdir(parents=True)
    (root / "labelsTr").mkdir()
    for name in ("a.nii.gz", "a_0000.nii.gz"):
        (root / "imagesTr" / name).touch()
    (root / "labelsTr" / "a.nii.gz").touch()
    pair = {"image": listed, "label": "labelsTr/a.nii.gz"}
    header = {"modality": {"0": "CT"}, "training": [pair]}
    if layout == "nnunet":
        header = {
            "channel_names": {"0": "CT"},
            "labels": {"background": 0, "liver": 1},
            "file_ending": ".nii.gz",
            "dataset": {"a": {"images": [listed], "label": "labelsTr/a.nii.gz"}},
        }
    (root / "dataset.json").write_text(json.dumps(header))
    kind = MsdSource if layout == "msd" else NnunetSource
    source = kind(layout=layout, folder="set", labels={1: "liver"}).named("set")
    (case,) = source.find_cases(tmp_path)
    assert "outside the dataset's folder and is not read" in case.problem


def test_a_local_dask_cluster_listens_here_only() -> None:
    code = (
        "from tsfm_pipeline.workers.cluster import DaskExecutor\n"
        "if __name__ == '__main__':\n"
        "    executor = DaskExecutor(None, 1)\n"
        "    print(executor._client.scheduler.address, *executor._client.nthreads())\n"
        "    executor.close()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert all(address.startswith("tcp://127.0.0.1:") for address in done.stdout.split())


def test_pages_are_served_to_this_machine_only(repository: Path) -> None:
    """`make viz` and `make mlflow` leave the host to the tools, which take the loopback."""
    assert "--host" not in (repository / "Makefile").read_text()
    assert kedro_viz.constants.DEFAULT_HOST == "127.0.0.1"
    host = next(option for option in mlflow.cli.server.params if option.name == "host")
    assert host.default == "127.0.0.1"

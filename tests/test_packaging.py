"""A wheel is enough to predict, and `kedro package` makes what runs the pipelines elsewhere."""

import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
import SimpleITK as sitk

from tests.pipelines.conftest import kedro
from tests.scans.conftest import body, write_model
from tsfm_pipeline import __version__

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(make_project, repository) -> Path:
    project = make_project()
    for name in ("README.md", "LICENSE"):
        shutil.copy(repository / name, project)
    return project


@pytest.fixture(scope="module")
def wheel(project) -> Path:
    """Build a wheel as pip does, with the setuptools that is installed."""
    arguments = ["--wheel", "--no-isolation", "--skip-dependency-check", "--outdir", "dist"]
    subprocess.run([sys.executable, "-m", "build", *arguments], cwd=project, check=True)
    (built,) = (project / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """Install it in an environment that sees this one's packages, but not the checkout.

    Returns:
        The folder of its commands.
    """
    root = tmp_path_factory.mktemp("environment")
    venv.create(root, with_pip=True)
    paths = sysconfig.get_paths(vars={"base": str(root), "platbase": str(root)})
    dependencies = sysconfig.get_paths()["purelib"]  # its .pth files, of the checkout, do not count
    (Path(paths["purelib"]) / "dependencies.pth").write_text(f"{dependencies}\n")
    python = Path(paths["scripts"]) / "python"
    arguments = ["install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run([python, "-m", "pip", *arguments], check=True)
    return python.parent


def call(folder: Path, *command: str | Path, status: int = 0) -> str:
    """Run a command in a folder that is no project; return what it printed."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "KEDRO_DISABLE_TELEMETRY": "1"}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stdout[-6000:]
    return done.stdout


def test_every_file_of_the_package_is_in_the_wheel(wheel, project) -> None:
    source = project / "src"
    files = {
        path.relative_to(source).as_posix()
        for path in (source / "tsfm_pipeline").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    with zipfile.ZipFile(wheel) as archive:
        assert files <= set(archive.namelist())


def test_a_scan_is_segmented_without_the_checkout(installed, tmp_path) -> None:
    where = "import tsfm_pipeline; print(tsfm_pipeline.__file__)"
    assert str(installed.parent) in call(tmp_path, installed / "python", "-c", where)
    write_model(tmp_path / "weights")
    (tmp_path / "scans").mkdir()
    sitk.WriteImage(body(), tmp_path / "scans" / "ct.nii.gz")
    given = ["-i", "scans", "-o", "segmentations", "-m", "weights"]
    call(tmp_path, installed / "tsfm-predict", *given)
    labels = sitk.ReadImage(tmp_path / "segmentations" / "ct.nii.gz")
    assert labels.GetSize() == body().GetSize()


def test_the_command_says_what_it_has_and_what_it_needs(installed, tmp_path) -> None:
    command = installed / "tsfm-pipeline"
    assert call(tmp_path, command, "--version") == f"tsfm-pipeline {__version__}\n"
    assert "check-data" in call(tmp_path, command, "--help")
    said = call(tmp_path, command, "check-data", status=2)
    assert "there is no configuration" in said
    assert "Traceback" not in said


def test_kedro_package_makes_what_runs_elsewhere(project, installed, tmp_path) -> None:
    """Kedro builds in an environment of its own, which takes setuptools from the index."""
    kedro(project, "package")
    archive = project / "dist" / "conf-tsfm_pipeline.tar.gz"
    with tarfile.open(archive) as packed:
        assert "conf/base/parameters_datasets.yml" in packed.getnames()
        packed.extractall(tmp_path, filter="data")
    (tmp_path / "conf" / "local").mkdir(exist_ok=True)
    given = ["--conf-source", "conf", "--env", "test", "--pipelines", "predict"]
    said = call(tmp_path, installed / "tsfm-pipeline", *given, status=1)
    assert "predict.input, predict.model not set" in said  # its node says so
    assert "Traceback" not in said

"""Fixtures that several rooms share."""

import locale
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[1]
LOCALE = locale.setlocale(locale.LC_ALL)


@pytest.fixture(autouse=True)
def _same_locale() -> Iterator[None]:
    """ITK leaves the process in the C locale when a test writes DICOM: text files become ASCII."""
    locale.setlocale(locale.LC_ALL, LOCALE)
    yield
    locale.setlocale(locale.LC_ALL, LOCALE)


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def realdata() -> Path:
    """Folder of real volumes; tests that need it are skipped where it is absent."""
    folder = os.environ.get("TSFM_REALDATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("no real volumes: set TSFM_REALDATA to their folder")
    return Path(folder)


@pytest.fixture(scope="session")
def make_project(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Make a copy of the Kedro project with data, runs and logs of its own."""

    def make() -> Path:
        project = tmp_path_factory.mktemp("project")
        shutil.copytree(REPOSITORY / "conf", project / "conf")
        (project / "conf" / "local").mkdir(exist_ok=True)
        for name in ("pyproject.toml", ".telemetry"):
            shutil.copy(REPOSITORY / name, project / name)
        # Kedro wants the source below the project; the installed package is what runs.
        shutil.copytree(
            REPOSITORY / "src", project / "src", ignore=shutil.ignore_patterns("__pycache__")
        )
        return project

    return make


@pytest.fixture
def run_kedro(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run a pipeline of a project as `kedro run` does; returns the outputs not in the catalogue."""
    from kedro.framework.session import KedroSession
    from kedro.framework.startup import bootstrap_project

    def run(
        project: Path, pipeline: str, params: dict[str, Any] | None = None, **kwargs: Any
    ) -> Any:
        monkeypatch.chdir(project)
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        bootstrap_project(project)
        with KedroSession.create(
            project_path=project, env=kwargs.pop("env", "test"), runtime_params=params
        ) as session:
            return session.run(pipeline_names=[pipeline], **kwargs)

    return run

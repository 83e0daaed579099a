"""`python -m tsfm_pipeline.tracking`, in the project's folder: where the pages of its runs are."""

from pathlib import Path

import mlflow

from tsfm_pipeline.tracking.pages import newest_page
from tsfm_pipeline.tracking.runs import own_database


def main() -> None:
    """Print the address of the newest charts, as `mlflow ui` will serve it."""
    mlflow.set_tracking_uri(own_database(Path.cwd()))
    page = newest_page()
    print(f"Trainings: {page}" if page else "No training is tracked in mlflow.db yet")


if __name__ == "__main__":
    main()

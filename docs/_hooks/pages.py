"""Pages of the site that lie outside docs/, or are made when it is built."""

import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).parent))  # MkDocs loads hooks as files, not as a package
from settings_reference import settings_page

OUTSIDE = ("CHANGELOG.md", "CONTRIBUTING.md", "benchmarks/gpu/results/README.md")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages."""
    root = Path(config.config_file_path).parent
    for name in OUTSIDE:
        files.append(File.generated(config, name, abs_src_path=str(root / name)))
    files.append(File.generated(config, "settings.md", content=settings_page()))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Turn the links between docs/ and the rest of the repository into the site's."""
    return markdown.replace("](../", "](").replace("](docs/", "](")

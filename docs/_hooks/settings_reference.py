"""The page of all settings, written from the settings models whenever the site is built.

A key of a parameters file is a field of a pydantic model below `Parameters`; its meaning stands
under `Attributes:` in the docstring of its class.
"""

import inspect
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, RootModel
from pydantic.fields import FieldInfo

from tsfm_pipeline.experiments.experiment import Role
from tsfm_pipeline.experiments.settings import RoleSettings
from tsfm_pipeline.parameters import Parameters
from tsfm_pipeline.sources import Source
from tsfm_pipeline.sources.datasets import AnySource

DATA = {"paper_tables"}
"""Sections that are printed numbers, no settings."""
ROLES = "|".join(typing.get_args(Role))
LAYOUTS: tuple[type[Source], ...] = typing.get_args(typing.get_args(AnySource)[0])
NAMES = {
    type(None): "null",
    str: "text",
    bool: "true, false",
    int: "whole number",
    float: "number",
    Path: "path",
    Any: "any",
}

HEAD = """# All settings

Every key of `conf/*/parameters*.yml`, made from the code that reads them. A key that is not here
stops a run before anything is read. *needed*: the code has no default; `conf/base` gives the value
for the demo, `conf/paper` for the paper's scale. On the command line: `--params
experiments.pretrain.training.epochs=20`; a list in brackets, all of it in quotes: `--params
'pool.datasets=[msd_liver],pool.downstream=[]'`. `<role>` is `pretrain`, `baseline`, `ablation`,
`transfer` or `study`.
"""


class Setting(NamedTuple):
    """One row of the page."""

    key: str
    type: str
    default: str
    meaning: str


def settings_page() -> str:
    """Return the page in Markdown, a section for each top-level key."""
    lines = [HEAD]
    for section, field in Parameters.model_fields.items():
        if section in DATA:
            continue
        meaning = meanings(Parameters)[section]
        lines += [f"\n## {section}\n", f"{meaning[0].upper()}{meaning[1:]}\n"]
        lines += ["| key | type | default | meaning |", "|---|---|---|---|"]
        lines += [
            f"| `{row.key}` | {row.type} | {row.default} | {row.meaning} |"
            for row in dict.fromkeys(_rows(section, field, meaning))
        ]
    return "\n".join(lines) + "\n"


def meanings(model: type[BaseModel]) -> dict[str, str]:
    """Return what the docstrings of a model and of its bases say of each field."""
    found: dict[str, str] = {}
    for each in reversed(model.__mro__):
        _, _, attributes = (inspect.cleandoc(each.__doc__ or "")).partition("Attributes:\n")
        for name, text in re.findall(r"^    (\w+): (.*(?:\n     .*)*)", attributes, re.MULTILINE):
            found[name] = " ".join(text.split())
    return found


def _rows(key: str, field: FieldInfo, meaning: str) -> Iterator[Setting]:
    below = list(_models(field.annotation))
    if not below:
        yield Setting(key, _type_name(field.annotation), _default(field), _cell(meaning))
        return
    for model, path in below:
        if issubclass(model, RootModel):
            yield from _rows(key, model.model_fields["root"], meaning)
            continue
        if issubclass(model, Source):
            yield from _source_rows(key + path, model)
            continue
        said = meanings(model)
        for name, child in model.model_fields.items():
            if (issubclass(model, RoleSettings), name) != (True, "planned"):  # its model fills it
                yield from _rows(_of_all_roles(f"{key}{path}.{name}"), child, said[name])


def _of_all_roles(key: str) -> str:
    """Every role has the same training: one row serves all."""
    return re.sub(rf"^experiments\.({ROLES})\.training", "experiments.<role>.training", key)


def _source_rows(key: str, source: type[Source]) -> Iterator[Setting]:
    """Yield the fields of one layout; those that all layouts have come out equal."""
    layout = source.model_fields["layout"].default
    said = meanings(source)
    for name, field in source.model_fields.items():
        if name == "layout":
            layouts = ", ".join(f"`{each.model_fields[name].default}`" for each in LAYOUTS)
            yield Setting(f"{key}.{name}", layouts, "*needed*", "which reader.")
        else:
            of = "" if name in Source.model_fields else f"`{layout}`: "
            yield from _rows(f"{key}.{name}", field, of + said[name])


def _models(annotation: Any) -> Iterator[tuple[type[BaseModel], str]]:
    """Yield the models in a type, each with what its key has in between: a name or a number."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation, ""
        return
    origin, inside = typing.get_origin(annotation), typing.get_args(annotation)
    between = {dict: ".<name>", tuple: "[]", list: "[]"}.get(origin, "")
    for part in inside[:1] if origin is Annotated else inside:
        for model, path in _models(part):
            yield model, between + path


def _type_name(annotation: Any) -> str:
    """Return a type as a reader of YAML would say it."""
    origin, inside = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation in NAMES:
        return NAMES[annotation]
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inside)
    names = [_type_name(part) for part in inside if part is not Ellipsis]
    if origin is Annotated:
        return names[0]
    if origin is dict:
        return f"map of {names[0]} to {names[1]}"
    if origin is tuple:
        return f"list of {'' if Ellipsis in inside else f'{len(names)} '}{names[0]}"
    return " or ".join(names)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "*needed*"
    value = field.get_default(call_default_factory=True)
    if value is None:
        return "null"
    if value in ((), {}, ""):
        return "empty"
    text = str(list(value)) if isinstance(value, tuple) else str(value)
    return f"`{text.lower() if isinstance(value, bool) else text}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")

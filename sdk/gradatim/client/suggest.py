"""What somebody probably meant: the names of objects and of fields that are near a wrong one. Pure.

Called by `operations` and `manifests` when an error is made, never before. It must not hide the error: it only adds to it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from typing import Any, get_args

from pydantic import BaseModel

from gradatim.client.errors import FieldCause

_SHOWN = 5
_ALIKE = 0.5  # names are short: two of four letters are worth a question
_UNKNOWN = ("unknown field", "Extra inputs are not permitted")
_OLDER = "its definitions are of another release (`gradatim crds | kubectl apply -f -`)"
_ROOT = ("apiVersion", "kind", "metadata", "spec")


def near_name(wanted: str, names: Sequence[str], plural: str, where: str, *, more: bool = False) -> str:
    """Return the hint for an object that is not there. `where` is empty or ` in namespace x`; with `more`, `names` are not all."""
    if not names:
        return f"there are no {plural}{where}"
    if near := difflib.get_close_matches(wanted, names, n=1, cutoff=_ALIKE):
        return f"did you mean {near[0]}?"
    rest = " and more" if more else f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{plural}{where}: {', '.join(sorted(names)[:_SHOWN])}{rest}"


def with_near_fields(causes: Sequence[FieldCause], model: type[BaseModel]) -> tuple[FieldCause, ...]:
    """Return the causes; those of unknown fields name the field that is spelled alike, or those there are."""
    return tuple(_completed(cause, model) if cause.message in _UNKNOWN else cause for cause in causes)


def _completed(cause: FieldCause, model: type[BaseModel]) -> FieldCause:
    *path, last = re.sub(r"\[[^\]]*\]", "", cause.field).split(".")
    names = sorted(set(_names(path, model)))
    if last in names:
        return FieldCause(cause.field, f"the cluster does not know this field; {_OLDER}")
    near = {name.lower(): name for name in reversed(names)}
    found = difflib.get_close_matches(last.lower().replace("_", ""), near, n=1)
    if found:
        return FieldCause(cause.field, f"unknown field; did you mean {near[found[0]]}?")
    known = f"; there are: {', '.join(names)}" if names else ""
    return FieldCause(cause.field, f"unknown field{known}")


def _names(path: Sequence[str], model: type[BaseModel]) -> Iterator[str]:
    """Yield the wire names of the fields at `path`, none if the path leads out of the types."""
    models = [model]
    for part in path:
        models = [m for parent in models for m in _below(parent, part)]
    for found in models:
        names = [field.alias or name for name, field in found.model_fields.items()]
        yield from (name for name in names if path or name in _ROOT)


def _below(model: type[BaseModel], part: str) -> list[type[BaseModel]]:
    for name, field in model.model_fields.items():
        if part == (field.alias or name):
            return list(_models(field.annotation))
    return []


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        return
    for inner in get_args(annotation):
        yield from _models(inner)

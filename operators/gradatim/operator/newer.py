"""Reads what a newer release of ours may have written: members that this one does not know are left out.

Called by `reading` and `observing`, and by the runtimes for the inputs of an attempt. Definitions are upgraded before the operator and stay
when it is rolled back, so that it meets fields that came later. The models refuse them, which is right wherever a person types; they must not
be loosened for this. Whatever else is wrong stays an error. Pure, but for one line in the log for each version of an object.
"""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from gradatim.api.run import RunConfig

logger = logging.getLogger(__name__)
M = TypeVar("M", bound=BaseModel)
ROUNDS = 5  # of validation; a second one is the rule
MOST = 1000  # errors; no release adds so many fields, and a forged document must not take everybody's time
SHOWN = 5  # names in the log
TOLD = 4096  # versions of objects
# What a profile forbids stays forbidden, or the profile unusable: left out, it would let everybody in.
RESTRICTIONS = ("spec.allowedNamespaces.", "spec.limits.")


def understood(model: type[M], body: Mapping[str, Any]) -> tuple[M, tuple[str, ...]]:
    """Return an object of the API server as this release understands it, and the members of its spec that were left out for that.

    Raises `ValidationError` for what is really wrong, and for a restriction that nobody would keep.
    """
    found, unknown = _known_part(model.model_validate, body)
    if unknown:
        metadata = body.get("metadata") or {}
        what = f"{body.get('kind')} {metadata.get('namespace', '')}/{metadata.get('name')}"
        _tell(what, (metadata.get("uid"), metadata.get("generation")), unknown)
    return found, tuple(path for path in unknown if path.startswith("spec."))


def run_config(document: Mapping[str, Any]) -> RunConfig:
    """Return the inputs of a Run as this release understands them. Its digest is that of the document, not of what is returned.

    Raises `ValidationError`. By way of JSON, as the workload reads them.
    """
    return _known_part(lambda known: RunConfig.model_validate_json(json.dumps(known)), document)[0]


def _known_part(validate: Callable[[Any], M], document: Mapping[str, Any]) -> tuple[M, tuple[str, ...]]:
    """Return what can be validated, and the paths of what was left out for that."""
    left, unknown = document, list[str]()
    for _ in range(ROUNDS):
        try:
            return validate(left), tuple(unknown)
        except ValidationError as error:
            if error.error_count() > MOST:
                raise
            found = error.errors(include_url=False, include_context=False, include_input=False)
            paths = [e["loc"] for e in found if e["type"] == "extra_forbidden"]
            names = [".".join(str(part) for part in path) for path in paths]
            if not paths or any(name.startswith(RESTRICTIONS) for name in names):
                raise
            left = _without(left, paths)
            unknown += names
    return validate(left), tuple(unknown)


def _without(value: Any, paths: Iterable[Sequence[int | str]]) -> Any:
    """Return a copy in which the members at these paths are missing; what is not on the way there is shared.

    A path that leads nowhere changes nothing: pydantic also names alternatives in it, which are in no document.
    """
    below: dict[int | str, list[Sequence[int | str]]] = {}
    for path in paths:
        below.setdefault(path[0], []).append(path[1:])
    if isinstance(value, dict):
        kept = ((k, v) for k, v in value.items() if not any(not rest for rest in below.get(k, ())))
        return {k: _without(v, below[k]) if k in below else v for k, v in kept}
    if isinstance(value, list):
        return [_without(v, [r for r in below[n] if r]) if n in below else v for n, v in enumerate(value)]
    return value


@functools.lru_cache(maxsize=TOLD)
def _tell(what: str, version: tuple[Any, ...], unknown: tuple[str, ...]) -> None:
    """Say it once: what has been said is remembered by the arguments."""
    del version
    names = ", ".join(repr(name[:100]) for name in unknown[:SHOWN])
    more = f" and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else ""
    logger.warning("%s has fields that this release does not know and goes on without: %s%s", what, names, more)

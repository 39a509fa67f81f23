"""Turns an object as read into typed values, or into a status that says what is wrong with it.

Called by the kinds' reconcile. The schema has refused most mistakes at apply; what arrives here all the same (an older CRD, a cron line, a
rule that CEL cannot express) ends as Stalled/InvalidSpec, never as a crash. Fields of a newer release are no mistake, but nothing is begun
without them.
"""

from __future__ import annotations

from typing import TypeVar

from pydantic import ValidationError

from gradatim.api.base import ReadModel
from gradatim.operator.errors import explained
from gradatim.operator.kube import Body
from gradatim.operator.newer import understood

M = TypeVar("M", bound=ReadModel)


class InvalidSpecError(ValueError):
    """The spec cannot be used; the message names the fields."""


def typed(model: type[M], body: Body) -> tuple[M, tuple[str, ...]]:
    """Return the typed object, and the members of its spec that only a newer release knows. Raises `InvalidSpecError`."""
    slim = {k: v for k, v in body.items() if k != "status"}
    try:
        return understood(model, slim)
    except ValidationError as error:
        raise InvalidSpecError(explained(error)) from error


def typed_status(model: type[M], body: Body) -> M:
    """Return the typed status. Members that this release cannot read count as never written, since they can be rebuilt.

    Only those: where the stores are and what runs there must not be forgotten for a word that another release or writer has put elsewhere.
    """
    raw = body.get("status") or {}
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        broken = {str(e["loc"][0]) for e in error.errors() if e["loc"]}
    try:
        return model.model_validate({k: v for k, v in raw.items() if k not in broken})
    except ValidationError:
        return model()

"""Whose an object is that belongs to one of ours: the key to look at when it changes.

Used by `watches` and `resync`. Pure. References are what somebody wrote: a name that no object can have is nobody's.
"""

from __future__ import annotations

from gradatim.api.kinds import KINDS
from gradatim.api.meta import API_VERSION
from gradatim.operator.kube import Body, is_name
from gradatim.operator.queue import Key

_PLURALS = {k.name: k.plural for k in KINDS if k.namespaced}


def owner_key(item: Body) -> Key | None:
    """Return the key of the object of ours that controls `item`, or None."""
    metadata = item["metadata"]
    for reference in metadata.get("ownerReferences", []):
        plural, name = _PLURALS.get(reference.get("kind", "")), reference.get("name")
        ours = reference.get("controller") and reference.get("apiVersion") == API_VERSION
        if ours and plural is not None and is_name(name):
            return Key(plural, metadata.get("namespace") or "", name)
    return None

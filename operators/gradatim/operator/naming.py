"""Names derived from an object, the same on every pass and after every restart.

Called by the kinds' plans. Pure: a name depends on its arguments alone, so that doing a step twice meets what the first one made.
"""

from __future__ import annotations

import hashlib
import re

RUN_LENGTH = 40  # leaves room for "-a10000" below KubeRay's limit of 47


def short_hash(*parts: str, length: int = 8) -> str:
    """Return the first hex digits of the SHA-256 over the parts, kept apart by a zero byte."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:length]


def run_name(object_name: str, uid: str, trigger: str) -> str:
    """Return the name of the Run that `trigger` starts: `<object>-<hash>`, a DNS label that starts with a letter."""
    digest = short_hash(uid, trigger, length=10)
    stem = re.sub(r"[^a-z0-9-]", "-", object_name.lower())[: RUN_LENGTH - len(digest) - 1].strip("-")
    if not stem[:1].isalpha():
        stem = ("r-" + stem)[: RUN_LENGTH - len(digest) - 1].strip("-")
    return f"{stem}-{digest}"


def alias_name(namespace: str, name: str, uid: str) -> str:
    """Return the alias: readable, and unique although Weaviate ignores case and knows no hyphen."""

    def words(text: str) -> str:
        return re.sub(r"[^a-z0-9]", "_", text.lower())[:40]

    return f"N{words(namespace)}_{words(name)}_{short_hash(namespace, name, uid)}"


def version_label(number: int) -> str:
    """Return the label of the n-th version of an index."""
    return f"v{number}"


def event_name(object_name: str, *parts: str) -> str:
    """Return a name under which the same event is the same object."""
    return f"{object_name[:200]}.{short_hash(*parts, length=16)}"

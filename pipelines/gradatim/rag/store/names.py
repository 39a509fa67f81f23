"""The names of a collection's properties.

Whoever writes, reads or filters objects uses them; `schema` makes the properties. Apart from it because naming them needs no client library.
"""

from __future__ import annotations

METADATA_PREFIX = "m_"
TEXT, DOCUMENT, SOURCE, URI = "text", "document", "source", "uri"
INDEX, START, END, PAGE, ROW = "index", "start", "end", "page", "row"
HEADINGS, FINGERPRINT = "headings", "fingerprint"
PARENT, PARENT_CARRIER = "parent", "parent_carrier"
PARENT_TEXT, PARENT_START, PARENT_END = "parent_text", "parent_start", "parent_end"


def metadata_property(name: str) -> str:
    """Return the property of a metadata field; the prefix keeps users' names apart from ours and from Weaviate's own."""
    return METADATA_PREFIX + name

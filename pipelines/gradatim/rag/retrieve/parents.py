"""Parents: several chunks of one larger window become one passage, whose text is the window's.

Called by the retriever for indexes with parent chunks. Pure: the retriever reads the windows' texts from the chunks that carry them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gradatim.rag.retrieve.candidates import Candidate
from gradatim.rag.store.rows import ParentSpan


def best_of_each_parent(best_first: Iterable[Candidate]) -> list[Candidate]:
    """Keep the best chunk of every parent; chunks without parent all stay."""
    seen: set[str] = set()
    kept: list[Candidate] = []
    for candidate in best_first:
        parent = candidate.row.parent
        if parent is not None:
            if parent.id in seen:
                continue
            seen.add(parent.id)
        kept.append(candidate)
    return kept


def missing_carriers(candidates: Iterable[Candidate]) -> list[str]:
    """Return the ids of the chunks that carry the parents' texts and were not found themselves, in order of first need."""
    found = {
        candidate.row.parent.carrier: None
        for candidate in candidates
        if candidate.row.parent is not None and candidate.row.parent.text is None
    }
    return list(found)


def window(candidate: Candidate, texts: Mapping[str, str]) -> tuple[str, int, int]:
    """Return text, start and end of what stands for a candidate: its parent's window, or its own where it has none.

    `texts` maps carrier ids to parent texts; a carrier that has vanished since (an update in place) leaves the chunk's own text.
    """
    row = candidate.row
    parent: ParentSpan | None = row.parent
    if parent is None:
        return row.text, row.start, row.end
    text = parent.text if parent.text is not None else texts.get(parent.carrier)
    if text is None:
        return row.text, row.start, row.end
    return text, parent.start, parent.end

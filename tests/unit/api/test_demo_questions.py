"""What a first-time user sees in `make demo`: every question that it asks has its answer on one of the pages that it indexes."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).parents[3] / "docs"
ANSWERS = {
    "How do I go back to an earlier version of an index?": (
        "guides/versions-and-rollback.md",
        "To go back to an earlier version of an index, name the version:",
    ),
    "What happens to rows that fail validation?": (
        "guides/datasets-and-validation.md",
        "`onFailure: quarantine` takes out the rows that fail and goes on",
    ),
    "How do I search only documents of one department?": (
        "guides/retrieval.md",
        'gradatim index query handbook "notice period" --filter department=hr',
    ),
}


def test_every_question_of_the_demo_is_answered_on_a_page() -> None:
    script = (DOCS / "examples" / "quickstart" / "demo.sh").read_text()
    asked = re.findall(r'^  "([^"]+\?)"', script, re.MULTILINE)
    assert asked == list(ANSWERS)
    silent = [q for q, (page, text) in ANSWERS.items() if text not in (DOCS / page).read_text()]
    assert silent == []

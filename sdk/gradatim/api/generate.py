"""Writes what is generated from the types: definitions of the chart, the reference page, the golden digests.

Run as `python -m gradatim.api.generate [--check] [--root DIR]` by `make generate` and `make verify`. The only module of this package that
touches files. With `--check` it writes nothing and fails on any difference.
"""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

from gradatim.api.kinds import KINDS
from gradatim.api.reference import crd_yaml, digests_json, reference_markdown

CRD_FOLDER = Path("charts/gradatim-crds/templates")
REFERENCE = Path("docs/reference/api.md")
DIGESTS = Path("tests/unit/api/golden/crd-digests.json")
_SHOWN_LINES = 40


def documents() -> dict[Path, str]:
    """Return every generated file, by path below the repository's root."""
    crds = {CRD_FOLDER / f"{kind.plural}.yaml": crd_yaml(kind) for kind in KINDS}
    return crds | {REFERENCE: reference_markdown(), DIGESTS: digests_json()}


def differences(root: Path, wanted: Mapping[Path, str]) -> list[str]:
    """Return one text per file that is missing, different or not generated any more."""
    found: list[str] = []
    for path, text in wanted.items():
        current = (root / path).read_text() if (root / path).is_file() else ""
        if current != text:
            lines = difflib.unified_diff(current.splitlines(), text.splitlines(), str(path), "generated", lineterm="")
            found.append("\n".join(islice(lines, _SHOWN_LINES)))
    return found + [f"{path} is not generated any more: remove it" for path in _left_over(root, wanted)]


def write(root: Path, wanted: Mapping[Path, str]) -> None:
    """Write every file and remove definitions of kinds that are gone."""
    for path, text in wanted.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    for path in _left_over(root, wanted):
        (root / path).unlink()


def _left_over(root: Path, wanted: Mapping[Path, str]) -> list[Path]:
    present = (root / CRD_FOLDER).glob("*.yaml") if (root / CRD_FOLDER).is_dir() else ()
    return sorted(p.relative_to(root) for p in present if p.relative_to(root) not in wanted)


def main(argv: Sequence[str]) -> int:
    """Return 0 when everything is written or current, 1 when `--check` found a difference."""
    parser = argparse.ArgumentParser(prog="python -m gradatim.api.generate", description="Generate from the API types.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail on a difference")
    parser.add_argument("--root", type=Path, default=Path.cwd(), help="the repository's root")
    options = parser.parse_args(argv)
    wanted = documents()
    if not options.check:
        write(options.root, wanted)
        return 0
    found = differences(options.root, wanted)
    for text in found:
        sys.stderr.write(f"{text}\n")
    if found:
        sys.stderr.write("generated files are not current: run `make generate` and commit the result\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

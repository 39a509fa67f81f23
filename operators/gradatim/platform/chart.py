"""Writes what the chart shares with the local platform: the operator's rights, the admission policies and the table of values.

Run as `python -m gradatim.platform.chart [--check] [--root DIR]` by `make generate` and `make verify`. Rights and policies have one source,
`rbac.yaml` and `policies.yaml` of this package; the chart's copies are never edited. It talks to no cluster.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from gradatim.api.kinds import KINDS
from gradatim.platform import objects

CHART = Path("charts/gradatim")
VALUES_PAGE = Path("docs/reference/chart-values.md")
_NOTICE = "# Copied by make generate from operators/gradatim/platform/{name}; do not edit.\n"
# Resources without a namespace: a Role cannot grant them. A namespace itself is asked for within itself, so a Role can.
_CLUSTER_SCOPED = frozenset(kind.plural for kind in KINDS if not kind.namespaced) | {
    "clusterqueues",
    "customresourcedefinitions",
    "nodes",
    "persistentvolumes",
    "resourceflavors",
    "subjectaccessreviews",
    "tokenreviews",
}
_PAGE_HEAD = """# Values of the chart `gradatim`

Generated from `charts/gradatim/values.yaml` and its schema; do not edit. A value that is not listed here is refused by Helm.

| value | default | meaning |
| --- | --- | --- |
"""

Rule = Mapping[str, Any]


def operator_rules(documents: Iterable[Mapping[str, Any]]) -> dict[str, list[Rule]]:
    """Return the operator's rules by where they hold: `cluster`, `watched` (every namespace it works in), `own` (its own namespace)."""
    found: dict[str, list[Rule]] = {"cluster": [], "watched": [], "own": []}
    for document in documents:
        if document["kind"] == "Role":
            found["own"].extend(document["rules"])
        elif document["kind"] == "ClusterRole":
            for rule in document["rules"]:
                for where, part in _by_scope(rule):
                    found[where].append(part)
    return found


def _by_scope(rule: Rule) -> Iterator[tuple[str, Rule]]:
    for where, wanted in (("cluster", True), ("watched", False)):
        resources = [r for r in rule["resources"] if (r.split("/")[0] in _CLUSTER_SCOPED) is wanted]
        if resources:
            yield where, {**rule, "resources": resources}


def value_rows(values: Mapping[str, Any], schema: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield (value, default as JSON, meaning) of every value, groups opened. Raises KeyError for one the schema lacks."""
    for key, default in values.items():
        known = schema["properties"][key]
        name = f"{path}.{key}" if path else key
        if known.get("properties") and key != "resources":
            yield from value_rows(default, known, name)
        else:
            yield name, json.dumps(default, ensure_ascii=False), known["description"]


def documents(root: Path) -> dict[Path, str]:
    """Return every file that this module writes, by path below the repository's root."""
    rules = yaml.safe_dump(_plain(operator_rules(objects.rbac())), sort_keys=False, width=120)
    values = yaml.safe_load((root / CHART / "values.yaml").read_text())
    schema = json.loads((root / CHART / "values.schema.json").read_text())
    rows = "".join(f"| `{name}` | `{default}` | {meaning} |\n" for name, default, meaning in value_rows(values, schema))
    policies = (files("gradatim.platform") / "policies.yaml").read_text()
    return {
        CHART / "files" / "rbac.yaml": _NOTICE.format(name="rbac.yaml") + rules,
        CHART / "files" / "policies.yaml": _NOTICE.format(name="policies.yaml") + policies,
        VALUES_PAGE: _PAGE_HEAD + rows,
    }


def _plain(value: Any) -> Any:
    """Return a copy without shared parts, which YAML would write as anchors."""
    return json.loads(json.dumps(value))


def main(argv: Sequence[str]) -> int:
    """Return 0 when everything is written or current, 1 when `--check` found a difference."""
    parser = argparse.ArgumentParser(
        prog="python -m gradatim.platform.chart", description="Generate parts of the chart."
    )
    parser.add_argument("--check", action="store_true", help="write nothing; fail on a difference")
    parser.add_argument("--root", type=Path, default=Path.cwd(), help="the repository's root")
    options = parser.parse_args(argv)
    stale = [
        path
        for path, text in documents(options.root).items()
        if not (options.root / path).is_file() or (options.root / path).read_text() != text
    ]
    if options.check:
        for path in stale:
            sys.stderr.write(f"{path} is not current: run `make generate` and commit the result\n")
        return 1 if stale else 0
    wanted = documents(options.root)
    for path in stale:
        (options.root / path).parent.mkdir(parents=True, exist_ok=True)
        (options.root / path).write_text(wanted[path])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

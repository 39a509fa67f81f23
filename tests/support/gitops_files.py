"""The generated files of `docs/gitops/argocd`: argocd-cm from the scripts, test data of our kinds from the operator's own status.

`python -m tests.support.gitops_files` writes them; the tests fail when one is out of date. The layout is that of Argo CD's own
`resource_customizations`, so that a folder can be handed to its tests as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from tests.support.gitops_rows import ROWS, Row
from tests.support.gitops_tool import GITOPS, Body, GitOpsTool, Question

ARGOCD = GITOPS / "argocd"
CUSTOMIZATIONS = ARGOCD / "resource_customizations"
OURS = CUSTOMIZATIONS / "gradatim.dev"
HEADER = "# Generated from resource_customizations: change the scripts there. Merge it into the ConfigMap of your installation:\n"
HOW = "#   kubectl -n argocd patch configmap argocd-cm --patch-file docs/gitops/argocd/argocd-cm.yaml\n"
DATA_HEADER = "# Generated: an object as the operator leaves it, without what health does not depend on.\n"
TABLE_HEADER = "# Generated: the cases of the table in docs/guides/gitops.md.\n"


def scripts() -> dict[str, str]:
    """Return the health scripts by `<group>_<kind>`."""
    found = sorted(CUSTOMIZATIONS.glob("*/*/health.lua"))
    return {f"{path.parts[-3]}_{path.parts[-2]}": path.read_text() for path in found}


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def _yaml(document: Mapping[str, Any]) -> str:
    return yaml.dump(dict(document), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


def argocd_cm() -> str:
    """Return the patch of argocd-cm."""
    keys = {f"resource.customizations.health.{name}": text for name, text in scripts().items()}
    return HEADER + HOW + _yaml({"data": keys})


def told_by_script(row: Row) -> bool:
    """Return whether the script decides: what is being deleted never reaches it."""
    return "deletionTimestamp" not in row.life().body["metadata"]


def judged_part(body: Body) -> Body:
    """Return what the scripts look at, so that no other change of status touches the files."""
    metadata, status = body["metadata"], body["status"]
    return {
        "apiVersion": body["apiVersion"],
        "kind": body["kind"],
        "metadata": {k: metadata[k] for k in ("name", "namespace", "generation") if k in metadata},
        "status": {k: status[k] for k in ("observedGeneration", "state", "conditions") if k in status},
    }


def files(tool: GitOpsTool) -> dict[Path, str]:
    """Return every generated file with its content."""
    cases = [row for row in ROWS if told_by_script(row)]
    scripted = {kind: (OURS / kind / "health.lua").read_text() for kind in {row.kind for row in cases}}
    answers = tool.ask(Question(row.life().body, lua=scripted[row.kind]) for row in cases)
    found = {ARGOCD / "argocd-cm.yaml": argocd_cm()}
    tests: dict[str, list[dict[str, Any]]] = {}
    for row, answer in zip(cases, answers, strict=True):
        at = f"testdata/{row.file}"
        said = {"status": answer["argo"]["status"], "message": answer["argo"].get("message", "")}
        tests.setdefault(row.kind, []).append({"healthStatus": said, "inputPath": at})
        found[OURS / row.kind / at] = DATA_HEADER + _yaml(judged_part(row.life().body))
    for kind, listed in tests.items():
        found[OURS / kind / "health_test.yaml"] = TABLE_HEADER + _yaml({"tests": listed})
    return found


def main() -> None:
    """Write the files, and remove test data that no case makes any more."""
    wanted = files(GitOpsTool())
    for path in OURS.glob("*/testdata/*.yaml"):
        if path not in wanted:
            path.unlink()
    for path, text in wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()

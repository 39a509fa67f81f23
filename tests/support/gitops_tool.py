"""Calls the compiled libraries of GitOps tools: `tests/support/gitops`, built through the project's own binaries mechanism.

Used by `tests/integration/gitops` and by the generator of its test data. The program is cached outside the checkout like every other.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradatim.platform.binaries import GoProgram, Settings, Tool, resolve

Body = dict[str, Any]
ROOT = Path(__file__).parents[2]
GITOPS = ROOT / "docs" / "gitops"
TOOL = Tool(
    name="gitops",
    programs=("gitops",),
    source=GoProgram(Path(__file__).parent / "gitops", "github.com/fluxcd/cli-utils"),
)


@dataclass(frozen=True)
class Question:
    """What to ask about an object: kstatus always, the others where given."""

    object: Body
    flux: Mapping[str, str] | None = None
    lua: str | None = None
    workflow: Mapping[str, str] | None = None

    def document(self) -> Body:
        """The question as the program reads it."""
        found = {"object": self.object, "flux": self.flux, "lua": self.lua, "workflow": self.workflow}
        return {k: v for k, v in found.items() if v is not None}


class GitOpsTool:
    """The program, compiled at first use."""

    def __init__(self) -> None:
        settings = Settings.from_environment(os.environ)
        self._argv = resolve(TOOL, settings, lambda _component, _message: None).argv("gitops")

    def ask(self, questions: Iterable[Question]) -> list[Body]:
        """Return the answers in order: `kstatus`, and `flux`, `argo` and `workflow` where asked."""
        answers: list[Body] = json.loads(self._run("health", stdin=json.dumps([q.document() for q in questions])))
        return answers

    def built(self, folders: Iterable[Path]) -> dict[str, list[Body]]:
        """Return what kustomize builds of each folder, by its path below docs/gitops."""
        found: dict[str, list[Body]] = json.loads(self._run("kustomize", *map(str, folders)))
        return {str(Path(folder).relative_to(GITOPS)): objects for folder, objects in found.items()}

    def judge_flux(self, objects: Iterable[Body]) -> None:
        """Raise unless Flux's own API types know every field of the objects."""
        self._run("flux", stdin=json.dumps(list(objects)))

    def _run(self, *args: str, stdin: str = "") -> str:
        done = subprocess.run([*self._argv, *args], input=stdin, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"gitops {args[0]}: {done.stderr.strip()}")
        return done.stdout

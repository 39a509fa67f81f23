"""The layers of the architecture page hold, and the list of what is checked misses no package."""

from __future__ import annotations

import configparser
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PORTIONS = ("sdk", "operators", "pipelines")
PURE = {"plan", "status", "conditions", "naming"}


def contracts() -> configparser.ConfigParser:
    """Return the contracts as configured."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / ".importlinter")
    return parser


def modules(section: str, key: str) -> set[str]:
    """Return the modules listed under a key."""
    return set(contracts()[section][key].split())


@pytest.mark.timeout(30)
def test_layer_contracts_hold() -> None:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()", "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_package_is_a_root_of_the_contracts() -> None:
    present = {
        f"gradatim.{p.parent.name}" for portion in PORTIONS for p in (ROOT / portion).glob("gradatim/*/__init__.py")
    }
    assert modules("importlinter", "root_packages") == present


def test_the_namespace_has_no_init_file() -> None:
    assert [p for portion in PORTIONS for p in (ROOT / portion).glob("gradatim/__init__.py")] == []


def test_every_pure_module_of_the_operator_is_held_to_its_contract() -> None:
    listed = modules("importlinter:contract:pure", "source_modules")
    folder = ROOT / "operators/gradatim/operator"
    found = {p.relative_to(folder).with_suffix("").parts for p in folder.rglob("*.py") if p.stem in PURE}
    uncovered = [
        parts
        for parts in found
        if not (len(parts) == 1 and f"gradatim.operator.{parts[0]}" in listed)
        and not (len(parts) == 2 and f"gradatim.operator.*.{parts[1]}" in listed)
    ]
    assert uncovered == []

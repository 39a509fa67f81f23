"""Loads what takes longer to import than a unit test may run: the parsers' own libraries."""

from __future__ import annotations

import importlib

for _name in ("pdf", "docxfile", "html", "plain"):
    importlib.import_module(f"gradatim.rag.parse.{_name}")

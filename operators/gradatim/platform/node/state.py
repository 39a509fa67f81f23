"""What runs of the node cluster, written after every start and stop under one rename.

A record, not the truth: processes carry a mark as well, and everything ends with the first process of the namespaces.
"""

from __future__ import annotations

import dataclasses
import json
import threading

from gradatim.platform.files import write_atomic
from gradatim.platform.node.layout import ADDONS, NodeLayout, Part
from gradatim.platform.state import Record

_FORMAT = 1


class NodeState:
    """The state file of one node cluster. `addons` is what was asked for so far."""

    def __init__(self, layout: NodeLayout) -> None:
        self._layout = layout
        self._lock = threading.Lock()
        self.parts: dict[Part, Record] = {}
        self.addons: frozenset[Part] = frozenset()
        self._read()

    def recorded(self, component: str) -> Record | None:
        """Return what was last started of a component."""
        return self.parts.get(Part(component))

    def record(self, component: str, record: Record | None) -> None:
        """Set or remove one component and write."""
        with self._lock:
            parts = {part: kept for part, kept in self.parts.items() if part != component}
            self.parts = parts if record is None else {**parts, Part(component): record}
            self._write()

    def remember(self, addons: frozenset[Part]) -> None:
        """Set what was asked for, and write."""
        with self._lock:
            self.addons = addons
            self._write()

    def _write(self) -> None:
        content = {
            "format": _FORMAT,
            "parts": {part: dataclasses.asdict(record) for part, record in self.parts.items()},
            "addons": sorted(self.addons),
        }
        write_atomic(self._layout.state, json.dumps(content, indent=1).encode())

    def _read(self) -> None:
        try:
            content = json.loads(self._layout.state.read_text())
            if content["format"] != _FORMAT:
                return
            self.parts = {Part(name): _record(fields) for name, fields in content["parts"].items()}
            self.addons = frozenset(Part(name) for name in content["addons"]) & ADDONS
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            # Missing or damaged reads as nothing: `down` finds the processes by their marks.
            return


def _record(fields: dict[str, object]) -> Record:
    argv = fields["argv"]
    if not isinstance(argv, list):
        raise TypeError("argv is not a list")
    return Record(
        int(str(fields["pid"])),
        float(str(fields["created"])),
        tuple(map(str, argv)),
        str(fields["version"]),
        str(fields["log"]),
        str(fields.get("space", "")),
    )

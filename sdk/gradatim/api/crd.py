"""Structural CustomResourceDefinitions from the pydantic models.

Called by `gradatim crds`, by `make generate` and by the local platform. Pure: models in, plain dicts out. It must not weaken a model's rule:
what JSON Schema can say is in the schema, what it cannot is a CEL rule that the model carries itself.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import cache
from typing import Any

from gradatim.api.base import ReadModel
from gradatim.api.kinds import KINDS, Kind
from gradatim.api.meta import GROUP, VERSION

_KEEP = frozenset(
    {
        "type",
        "description",
        "enum",
        "pattern",
        "format",
        "minLength",
        "maxLength",
        "minimum",
        "maximum",
        "minItems",
        "maxItems",
        "maxProperties",
        "minProperties",
    }
)
_STATUS_DEFAULT = {"observedGeneration": -1, "state": "Pending"}


def all_crds() -> list[dict[str, Any]]:
    """Return one CustomResourceDefinition per kind, in the order of the table."""
    return [crd(kind) for kind in KINDS]


def crd(kind: Kind) -> dict[str, Any]:
    """Return the CustomResourceDefinition of one kind."""
    schema = structural(copy.deepcopy(_json_schema(kind.model)))
    schema["description"] = first_paragraph(kind.model.__doc__)
    properties = schema["properties"]
    properties["apiVersion"] = {"type": "string"}
    properties["kind"] = {"type": "string"}
    properties["metadata"] = {"type": "object"}
    properties["status"] = owned_whole(properties["status"]) | {"default": dict(_STATUS_DEFAULT)}
    schema["required"] = ["spec"]
    columns = [
        {"name": c.name, "jsonPath": c.path, "type": c.type} | ({"priority": c.priority} if c.priority else {})
        for c in kind.columns
    ]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{kind.plural}.{GROUP}",
            "labels": {"app.kubernetes.io/part-of": "gradatim"},
        },
        "spec": {
            "group": GROUP,
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "names": {
                "kind": kind.name,
                "listKind": f"{kind.name}List",
                "plural": kind.plural,
                "singular": kind.singular,
                "shortNames": list(kind.short_names),
                "categories": ["gradatim"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": columns,
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }


@cache
def _json_schema(model: type[ReadModel]) -> dict[str, Any]:
    """Return the model's JSON schema; making it takes pydantic a tenth of a second."""
    return model.model_json_schema(by_alias=True)


def structural(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Turn a pydantic JSON schema into a structural one: references inlined, null branches and titles removed."""
    return _convert(schema, schema.get("$defs", {}))


def _convert(node: Mapping[str, Any], defs: Mapping[str, Any]) -> dict[str, Any]:
    if "$ref" in node:
        target = dict(defs[node["$ref"].rsplit("/", 1)[1]])
        return _convert(_merged(target, {k: v for k, v in node.items() if k != "$ref"}), defs)
    if "anyOf" in node:
        branches = [b for b in node["anyOf"] if b.get("type") != "null"]
        if len(branches) != 1:
            raise ValueError(f"a union of {len(branches)} types has no structural form: {node}")
        rest = {k: v for k, v in node.items() if k not in {"anyOf", "default"} or (k == "default" and v is not None)}
        return _convert(_merged(dict(branches[0]), rest), defs)
    if "allOf" in node and len(node["allOf"]) == 1:
        return _convert(_merged(dict(node["allOf"][0]), {k: v for k, v in node.items() if k != "allOf"}), defs)
    return _object(node, defs)


def _merged(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Lay the field's own keywords over its type's; rules of both stay."""
    both = base | dict(over)
    found = list(base.get("x-kubernetes-validations", [])) + list(over.get("x-kubernetes-validations", []))
    if found:
        both["x-kubernetes-validations"] = found
    return both


def _object(node: Mapping[str, Any], defs: Mapping[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {k: v for k, v in node.items() if k in _KEEP}
    out |= {k: v for k, v in node.items() if k.startswith("x-kubernetes-")}
    if "description" in out:
        out["description"] = first_paragraph(out["description"])
    if "const" in node:
        out["enum"] = [node["const"]]
        out.setdefault("type", "string")
    for exclusive, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if exclusive in node:
            out[bound] = node[exclusive]
            out[exclusive] = True
    if "default" in node and node["default"] is not None:
        out["default"] = node["default"]
    if out.get("type") == "integer":
        out.setdefault("format", "int64")
    if "properties" in node:
        required = list(node.get("required", []))
        out["properties"] = {
            name: _with_empty_default(_convert(child, defs), optional="default" in child or name in required)
            for name, child in node["properties"].items()
        }
        if required:
            out["required"] = required
    elif isinstance(node.get("additionalProperties"), Mapping):
        out["additionalProperties"] = _convert(node["additionalProperties"], defs)
    if "items" in node:
        out["items"] = _convert(node["items"], defs)
        out.setdefault("x-kubernetes-list-type", "atomic")
    return out


def owned_whole(status: dict[str, Any]) -> dict[str, Any]:
    """Make every member of a status one unit of ownership; conditions stay a list merged by type.

    One writer owns status, so finer tracking serves nobody, and it doubled the stored size of an object.
    """
    return status | {"properties": {name: _atomic(name, child) for name, child in status["properties"].items()}}


def _atomic(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    if name == "conditions":
        return schema | {"items": schema["items"] | {"x-kubernetes-map-type": "atomic"}}
    if schema.get("type") == "object":
        return schema | {"x-kubernetes-map-type": "atomic"}
    if schema.get("type") == "array":
        rest = {k: v for k, v in schema.items() if k != "x-kubernetes-list-map-keys"}
        return rest | {"x-kubernetes-list-type": "atomic"}
    return schema


def _with_empty_default(schema: dict[str, Any], *, optional: bool) -> dict[str, Any]:
    """Default an always-present block to the defaults below it: the API server checks a block's rules on its default as written."""
    properties = schema.get("properties")
    if not optional and properties and not schema.get("required"):
        schema["default"] = {
            name: copy.deepcopy(child["default"]) for name, child in properties.items() if "default" in child
        }
    return schema


def first_paragraph(text: str | None) -> str:
    """Return the first paragraph of a docstring on one line."""
    return " ".join((text or "").strip().split("\n\n")[0].split())

"""Base model, field types and the CEL helper shared by every API type.

Used by the kind modules of this package. A rule that the API server enforces with CEL is written beside its Python twin, so that a manifest
is judged alike by `kubectl apply`, by the SDK and by a run without a cluster.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

RULES = "x-kubernetes-validations"


class ApiModel(BaseModel):
    """A part of a manifest: camelCase on the wire, unknown fields refused, list keys unique as on the API server."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        defer_build=True,
        use_enum_values=False,
        allow_inf_nan=False,
        protected_namespaces=(),
    )

    @model_validator(mode="after")
    def _unique(self) -> Self:
        for name, wire, key in _unique_lists(type(self)):
            _refuse_duplicates(wire, key, getattr(self, name) or ())
        return self

    def to_manifest(self) -> dict[str, Any]:
        """Return the JSON form: camelCase keys, absent members left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class ReadModel(ApiModel):
    """Something read back from a server or a file: unknown fields of a newer release are ignored."""

    model_config = ConfigDict(extra="ignore")


@cache
def _unique_lists(model: type[ApiModel]) -> tuple[tuple[str, str, str | None], ...]:
    """Return (attribute, wire name, key attribute) of the lists whose members differ; the key is None for a set."""
    found: list[tuple[str, str, str | None]] = []
    for name, field in model.model_fields.items():
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        kind, keys = extra.get("x-kubernetes-list-type"), extra.get("x-kubernetes-list-map-keys")
        if kind == "set":
            found.append((name, field.alias or name, None))
        elif kind == "map" and isinstance(keys, list):
            found.append((name, field.alias or name, str(keys[0])))
    return tuple(found)


def _refuse_duplicates(wire: str, key: str | None, members: Iterable[Any]) -> None:
    seen: set[Any] = set()
    for member in members:
        value = member if key is None else getattr(member, key)
        if value in seen:
            raise ValueError(f"{wire} holds {value!r} more than once")
        seen.add(value)


def rules(*pairs: tuple[str, str], field_path: str | None = None) -> dict[str, Any]:
    """Return the schema extension for CEL rules given as (rule, message for a person)."""
    found: list[dict[str, str]] = []
    for rule, message in pairs:
        found.append({"rule": rule, "message": message} | ({"fieldPath": field_path} if field_path else {}))
    return {RULES: found}


# What readers of one address understand differently: a way out for one is a name for another. RE2 and Python read these alike.
# They are short, because the API server reckons what a rule may cost by their length.
ODD_URL = r"(?i)\\|%([01]|7f|2e|5c)"  # control characters are in no address, by its pattern
ODD_PATH = r"(?i)\\|[\x00-\x1f\x7f]|%([01]|7f|2[ef]|5c)"
ODD_NAME = r"\\|[\x00-\x1f\x7f]"


def odd(text: str, pattern: str, *, climbs: bool = False) -> bool:
    """Return whether a path or address holds what `pattern` names or, with `climbs`, a segment of two dots."""
    return re.search(pattern, text) is not None or (climbs and ".." in text.split("/"))


MAX_NESTING = 32


def nested_deeper(value: Any, most: int = MAX_NESTING) -> bool:
    """Return whether lists and objects lie more than `most` deep in each other: what recurses over them would not end well.

    >>> nested_deeper({"a": [1]}, 2), nested_deeper({"a": [{}]}, 2)
    (False, True)
    """
    level = [value]
    for _ in range(most + 1):
        level = [v for v in level if isinstance(v, dict | list)]
        if not level:
            return False
        level = [child for v in level for child in (v.values() if isinstance(v, dict) else v)]
    return True


def map_list(key: str = "name") -> dict[str, Any]:
    """Return the extension of an object list merged by key."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}


ATOMIC = {"x-kubernetes-list-type": "atomic"}
# One value, owned and replaced whole by server-side apply. Only where nothing below has a default: docs/decisions/0014-blocks-that-are-one-value.md.
WHOLE: dict[str, Any] = {"x-kubernetes-map-type": "atomic"}
SET = {"x-kubernetes-list-type": "set"}
FREE_FORM = {"x-kubernetes-preserve-unknown-fields": True}

DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DNS_NAME = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
FIELD = r"^[A-Za-z_][A-Za-z0-9_]*$"
UID = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"  # as every API server makes them

Name = Annotated[str, Field(min_length=1, max_length=63, pattern=DNS_LABEL)]
ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=DNS_NAME)]
FieldName = Annotated[str, Field(min_length=1, max_length=63, pattern=FIELD)]
Uid = Annotated[str, Field(min_length=36, max_length=36, pattern=UID)]
Short = Annotated[str, Field(max_length=253)]
# Clients of S3 make it a part of a host's name.
Region = Annotated[str, Field(max_length=63, pattern=r"^[A-Za-z0-9._-]*$")]
Text = Annotated[str, Field(max_length=1024)]
Uri = Annotated[str, Field(min_length=1, max_length=2048)]
Address = Annotated[str, Field(max_length=1024, pattern=r"^https?://[!-?A-~]+$")]
DecimalAmount = Annotated[str, Field(max_length=20, pattern=r"^[0-9]+(\.[0-9]+)?$")]
Currency = Annotated[str, Field(max_length=3, pattern=r"^[A-Z]{3}$")]
Digest = Annotated[str, Field(max_length=71, pattern=r"^sha256:[0-9a-f]{64}$")]
Fraction = Annotated[float, Field(ge=0.0, le=1.0, strict=True)]
Seconds = Annotated[int, Field(ge=0, le=31_536_000, strict=True)]
Flag = Annotated[bool, Field(strict=True)]
Count = Annotated[int, Field(ge=0, le=2**53)]
Timestamp = Annotated[str, Field(max_length=40, json_schema_extra={"format": "date-time"})]

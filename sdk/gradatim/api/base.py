"""Base model, field types and the CEL helper shared by every API type.

Used by the kind modules of this package. A rule that the API server enforces with CEL is written beside its Python twin, so that a manifest
is judged alike by `kubectl apply`, by the SDK and by a run without a cluster.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

RULES = "x-kubernetes-validations"


class ApiModel(BaseModel):
    """A part of a manifest: camelCase on the wire, unknown fields refused."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        use_enum_values=False,
        allow_inf_nan=False,
        protected_namespaces=(),
    )

    def to_manifest(self) -> dict[str, Any]:
        """Return the JSON form: camelCase keys, absent members left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class ReadModel(ApiModel):
    """Something read back from a server or a file: unknown fields of a newer release are ignored."""

    model_config = ConfigDict(extra="ignore")


def rules(*pairs: tuple[str, str], field_path: str | None = None) -> dict[str, Any]:
    """Return the schema extension for CEL rules given as (rule, message for a person)."""
    found: list[dict[str, str]] = []
    for rule, message in pairs:
        found.append({"rule": rule, "message": message} | ({"fieldPath": field_path} if field_path else {}))
    return {RULES: found}


def map_list(key: str = "name") -> dict[str, Any]:
    """Return the extension of an object list merged by key."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}


ATOMIC = {"x-kubernetes-list-type": "atomic"}
SET = {"x-kubernetes-list-type": "set"}
FREE_FORM = {"x-kubernetes-preserve-unknown-fields": True}

DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DNS_NAME = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
FIELD = r"^[A-Za-z_][A-Za-z0-9_]*$"

Name = Annotated[str, Field(min_length=1, max_length=63, pattern=DNS_LABEL)]
ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=DNS_NAME)]
FieldName = Annotated[str, Field(min_length=1, max_length=63, pattern=FIELD)]
Short = Annotated[str, Field(max_length=253)]
Text = Annotated[str, Field(max_length=1024)]
Uri = Annotated[str, Field(min_length=1, max_length=2048)]
Digest = Annotated[str, Field(max_length=71, pattern=r"^sha256:[0-9a-f]{64}$")]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Seconds = Annotated[int, Field(ge=0, le=31_536_000)]
Count = Annotated[int, Field(ge=0, le=2**53)]
Timestamp = Annotated[str, Field(max_length=40, json_schema_extra={"format": "date-time"})]

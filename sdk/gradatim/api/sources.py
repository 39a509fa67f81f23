"""Where documents and rows come from: the members of `source`.

Used by every kind that reads data. References are names in the object's own namespace; credentials are Secrets by reference, resolved by the
workload alone. Patterns avoid `\\w` and `\\s`: Python and the API server do not mean the same by them.
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator

from gradatim.api.base import (
    ODD_NAME,
    ODD_PATH,
    ODD_URL,
    SET,
    WHOLE,
    Address,
    ApiModel,
    Name,
    ObjectName,
    Region,
    Short,
    odd,
    rules,
)


class SecretRef(ApiModel):
    """A Secret of this namespace, sent by the workload only to the hosts in its key `hosts`."""

    model_config = ConfigDict(json_schema_extra=WHOLE)

    name: ObjectName = Field(
        description="Name of the Secret; its key `hosts` lists where it may be sent, one host a line."
    )


class DatasetRef(ApiModel):
    """A Dataset of this namespace."""

    model_config = ConfigDict(json_schema_extra=WHOLE)

    name: ObjectName = Field(description="Name of the Dataset.")


_REFUSED = "a backslash, a control character or an encoded dot, slash or backslash"
_SUB_PATH = "subPath must not contain '..', a backslash or a control character"
_PATH = f"path must not contain {_REFUSED}"
_S3 = f"the uri of s3 must not contain '..', {_REFUSED}"
_GIT = "the url of git must not contain a backslash, a control character, or an encoded dot or backslash"
# 256 addresses in each of 64 sources are more than a rule may look at, so that a pattern says what `ODD_URL` says.
_HTTP = (
    r"^https?://([!-$&-?A-\[\]-~]"
    r"|%(2[0-9A-DFa-df]|[3468-9A-Fa-f][0-9A-Fa-f]|5[0-9ABD-Fabd-f]|7[0-9A-Ea-e]))+$"
)
_CLIMBS = "{0}.split('/').exists(p, p == '..')"


class ClaimSource(ApiModel):
    """Files on a volume claim of this namespace."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                f"!has(self.subPath) || !(self.subPath.matches(r'{ODD_NAME}') || {_CLIMBS.format('self.subPath')})",
                _SUB_PATH,
            )
        )
        | WHOLE
    )

    claim_name: ObjectName = Field(description="Name of the PersistentVolumeClaim.")
    sub_path: Annotated[str, Field(max_length=1024, pattern=r"^[^/]")] | None = Field(
        default=None, description="Folder on the volume, relative; absent means all of it."
    )

    @model_validator(mode="after")
    def _plain(self) -> Self:
        if self.sub_path is not None and odd(self.sub_path, ODD_NAME, climbs=True):
            raise ValueError(_SUB_PATH)
        return self


class S3Source(ApiModel):
    """Objects under a prefix of an S3-compatible store."""

    model_config = ConfigDict(
        json_schema_extra=rules((f"!(self.uri.matches(r'{ODD_PATH}') || {_CLIMBS.format('self.uri')})", _S3)) | WHOLE
    )

    uri: Annotated[str, Field(max_length=1024, pattern=r"^s3://[a-z0-9][a-z0-9.-]+(/.*)?$")] = Field(
        description="s3://bucket/prefix/."
    )
    endpoint: Address | None = Field(default=None, description="Address of the store; absent means Amazon S3.")
    region: Region | None = Field(default=None, description="Region of the bucket.")
    secret_ref: SecretRef | None = Field(default=None, description="Keys `access-key-id` and `secret-access-key`.")

    @model_validator(mode="after")
    def _plain(self) -> Self:
        if odd(self.uri, ODD_PATH, climbs=True):
            raise ValueError(_S3)
        return self


class GitSource(ApiModel):
    """Files of a Git repository at one revision; a branch is resolved to a commit once per Run."""

    model_config = ConfigDict(json_schema_extra=rules((f"!self.url.matches(r'{ODD_URL}')", _GIT)))

    url: Annotated[str, Field(max_length=1024, pattern=r"^(https|ssh|git)://[!-?A-~]+$")] = Field(
        description="Address of the repository. No credentials here."
    )
    revision: Annotated[str, Field(max_length=253, pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$")] = Field(
        default="HEAD", description="Commit, tag or branch."
    )
    paths: Annotated[list[Short], Field(max_length=64, json_schema_extra=SET)] = Field(
        default=["**"], description="Patterns of the files to read; `**` crosses folders."
    )
    secret_ref: SecretRef | None = Field(
        default=None, description="Keys `username` and `password`, or `ssh-privatekey` and `known_hosts`."
    )

    @model_validator(mode="after")
    def _plain(self) -> Self:
        if odd(self.url, ODD_URL):
            raise ValueError(_GIT)
        return self


class HttpSource(ApiModel):
    """Documents behind URLs; redirects stay on the same host, every response is bounded."""

    urls: Annotated[
        list[Annotated[str, Field(max_length=2048, pattern=_HTTP)]],
        Field(min_length=1, max_length=256, json_schema_extra=SET),
    ] = Field(
        description="One document each: no credentials, no backslash, no encoded dot, backslash or control character."
    )
    max_bytes: Annotated[int, Field(ge=1, le=2**33, strict=True)] = Field(
        default=10_485_760, description="A larger response is refused."
    )
    secret_ref: SecretRef | None = Field(default=None, description="Keys `token`, or `username` and `password`.")


class HuggingFaceSource(ApiModel):
    """A data set of a Hugging Face hub, pinned to a commit."""

    repo: Annotated[str, Field(max_length=253, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*/[A-Za-z0-9_.-]+$")] = Field(
        description="org/name."
    )
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$", max_length=40)] = Field(description="Full commit hash.")
    config: Short = Field(default="default", description="Configuration of the data set.")
    split: Short = Field(default="train", description="Split of the data set.")
    secret_ref: SecretRef | None = Field(default=None, description="Key `token`.")


SOURCE_MEMBERS = ("persistentVolumeClaim", "path", "s3", "git", "http", "huggingFace", "datasetRef")
_ONE_SOURCE = "[" + ", ".join(f"has(self.{m})" for m in SOURCE_MEMBERS) + "].filter(x, x).size() == 1"


class Source(ApiModel):
    """Where documents or examples come from: exactly one member."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (_ONE_SOURCE, f"exactly one of {', '.join(SOURCE_MEMBERS)} must be set"),
            ("!has(self.path) || !self.path.split('/').exists(p, p == '..')", "path must not contain '..'"),
            (f"!has(self.path) || !self.path.matches(r'{ODD_PATH}')", _PATH),
        )
    )

    persistent_volume_claim: ClaimSource | None = None
    path: Annotated[str, Field(max_length=1024, pattern=r"^file:///")] | None = Field(
        default=None, description="A file or folder below an allowed root of the profile."
    )
    s3: S3Source | None = None
    git: GitSource | None = None
    http: HttpSource | None = None
    hugging_face: HuggingFaceSource | None = None
    dataset_ref: DatasetRef | None = None

    @property
    def member(self) -> str:
        """Return the wire name of the member that is set."""
        return next(iter(self.model_dump(by_alias=True, exclude_none=True)))

    @model_validator(mode="after")
    def _one_member(self) -> Self:
        if len(self.model_dump(by_alias=True, exclude_none=True)) != 1:
            raise ValueError(f"exactly one of {', '.join(SOURCE_MEMBERS)} must be set")
        if self.path is not None and ".." in self.path.split("/"):
            raise ValueError("path must not contain '..'")
        if self.path is not None and odd(self.path, ODD_PATH):
            raise ValueError(_PATH)
        return self


class NamedSource(ApiModel):
    """One source of an index, with metadata that every document of it carries."""

    name: Name = Field(description="Names the source in messages and in document ids.")
    source: Source
    metadata: Annotated[dict[str, Annotated[str, Field(max_length=256)]], Field(max_length=32)] = Field(
        default_factory=dict, description="Metadata of every document of this source."
    )

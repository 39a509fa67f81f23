"""The S3 store of the platform on pods: its identities, their rights, and access as its root user.

Used by `tests.support.onpods`. The policies are the ones that docs/operations/kuberay.md asks for.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from minio import Minio
from minio.credentials.providers import StaticProvider
from minio.minioadmin import MinioAdmin

from gradatim.platform.files import read_or_create_secret
from gradatim.platform.node import NodeCluster
from gradatim.platform.node.install import S3_USER

BUCKET, DOCS = "artifacts", "docs"
Body = dict[str, Any]


@dataclass(frozen=True)
class Keys:
    """An identity of the S3 store."""

    access: str
    secret: str

    @classmethod
    def made(cls, name: str) -> Keys:
        """Return a new identity."""
        return cls(name, secrets.token_hex(20))

    def data(self) -> dict[str, str]:
        """Return the Secret's content."""
        return {"access-key-id": self.access, "secret-access-key": self.secret}


@dataclass(frozen=True)
class Store:
    """MinIO inside the cluster, as its root user."""

    cluster: NodeCluster

    @property
    def host(self) -> str:
        """Host and port, as pods reach it."""
        return self.cluster.s3.removeprefix("http://")

    def client(self, keys: Keys | None = None) -> Minio:
        """Return a client; use it inside `cluster.entered()`."""
        own = keys or self.root
        return Minio(self.host, own.access, own.secret, secure=False, region="us-east-1")

    @property
    def root(self) -> Keys:
        """Return the root user."""
        return Keys(S3_USER, read_or_create_secret(self.cluster.layout.private / "minio"))

    def grant(self, keys: Keys, statements: list[Body]) -> None:
        """Make a user with exactly these rights."""
        admin = MinioAdmin(
            endpoint=self.host, credentials=StaticProvider(self.root.access, self.root.secret), secure=False
        )
        with self.cluster.entered():
            admin.user_add(keys.access, keys.secret)
            admin.policy_add(keys.access, policy={"Version": "2012-10-17", "Statement": statements})
            admin.policy_set(keys.access, user=keys.access)

    def put(self, bucket: str, name: str, content: bytes) -> None:
        """Write an object."""
        from io import BytesIO

        with self.cluster.entered():
            self.client().put_object(bucket, name, BytesIO(content), len(content))

    def names(self, bucket: str, prefix: str) -> list[str]:
        """Return the objects below a prefix."""
        with self.cluster.entered():
            return [str(o.object_name) for o in self.client().list_objects(bucket, prefix=prefix, recursive=True)]


def _allow(actions: list[str], *resources: str, prefixes: tuple[str, ...] = ()) -> Body:
    limited = {"Condition": {"StringLike": {"s3:prefix": list(prefixes)}}} if prefixes else {}
    return {"Effect": "Allow", "Action": actions, "Resource": [f"arn:aws:s3:::{r}" for r in resources]} | limited


def operator_rights() -> list[Body]:
    """The operator reads everything, writes control files alone, and deletes."""
    return [
        _allow(["s3:ListBucket", "s3:GetBucketLocation"], BUCKET),
        _allow(["s3:GetObject", "s3:DeleteObject"], f"{BUCKET}/*"),
        _allow(["s3:PutObject"], f"{BUCKET}/*/_control/*"),
    ]


def workload_rights(namespace: str) -> list[Body]:
    """A team's workloads work below their own prefix, and read the documents."""
    return [
        _allow(["s3:GetBucketLocation"], BUCKET, DOCS),
        _allow(["s3:ListBucket"], BUCKET, prefixes=(f"{namespace}/*", f"{namespace}")),
        _allow(["s3:ListBucket"], DOCS),
        _allow(
            ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"], f"{BUCKET}/{namespace}/*"
        ),
        _allow(["s3:GetObject"], f"{DOCS}/*"),
    ]

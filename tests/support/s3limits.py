"""Credentials of a real S3 server that may do less than its root user: temporary ones, with a policy of their own.

Used by `tests/integration/kuberay`. `AssumeRole` of MinIO's security token service, signed as AWS signs (Signature Version 4); the policy is
enforced by the server, so that a test sees what a platform team's policy does.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode

import httpx
from pyarrow import fs
from tests.support.platform import S3Server

REGION = "us-east-1"
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Keys:
    """Temporary credentials."""

    access: str
    secret: str = field(repr=False)
    session: str = field(repr=False)

    @property
    def secret_data(self) -> dict[str, str]:
        """Return the data of the Secret that holds them."""
        return {"access-key-id": self.access, "secret-access-key": self.secret, "session-token": self.session}

    def mounted(self, folder: Path) -> Path:
        """Write them as a mounted Secret `artifacts` and return the folder above it."""
        (folder / "artifacts").mkdir(parents=True)
        for name, value in self.secret_data.items():
            (folder / "artifacts" / name).write_text(value)
        return folder


def statement(bucket: str, prefix: str, *actions: str) -> dict[str, object]:
    """Return a statement of a policy that allows actions below a prefix."""
    return {"Effect": "Allow", "Action": [f"s3:{a}" for a in actions], "Resource": [f"arn:aws:s3:::{bucket}/{prefix}*"]}


def listing(bucket: str, prefix: str) -> dict[str, object]:
    """Return a statement that allows listing below a prefix; without one, also to ask whether the bucket exists."""
    found: dict[str, object] = {"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": [f"arn:aws:s3:::{bucket}"]}
    return found | ({"Condition": {"StringLike": {"s3:prefix": [f"{prefix}*"]}}} if prefix else {})


def limited(server: S3Server, statements: Sequence[dict[str, object]]) -> Keys:
    """Return credentials that may do what the statements allow."""
    policy = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
    body = urlencode({"Action": "AssumeRole", "Version": "2011-06-15", "DurationSeconds": "3600", "Policy": policy})
    answer = httpx.post(f"{server.endpoint}/", content=body, headers=_signed(server, body), trust_env=False)
    answer.raise_for_status()
    found = (re.search(f"<{n}>(.*?)</{n}>", answer.text) for n in ("AccessKeyId", "SecretAccessKey", "SessionToken"))
    return Keys(*(match[1] for match in found if match is not None))


def filesystem(server: S3Server, keys: Keys | None = None) -> fs.S3FileSystem:
    """Return the server's files as seen with these credentials, or as its root user."""
    scheme, _, host = server.endpoint.partition("://")
    options = {"scheme": scheme, "endpoint_override": host, "region": REGION}
    if keys is None:
        root = {"access_key": server.access_key, "secret_key": server.secret_key}
        return fs.S3FileSystem(**options, **root, allow_bucket_creation=True)
    return fs.S3FileSystem(**options, access_key=keys.access, secret_key=keys.secret, session_token=keys.session)


def _signed(server: S3Server, body: str) -> dict[str, str]:
    """Return the headers of a signed request; the method is AWS Signature Version 4."""
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{now[:8]}/{REGION}/sts/aws4_request"
    content = hashlib.sha256(body.encode()).hexdigest()
    headers = {
        "content-type": FORM,
        "host": server.endpoint.partition("://")[2],
        "x-amz-content-sha256": content,
        "x-amz-date": now,
    }
    names = ";".join(headers)
    request = "\n".join(["POST", "/", "", *(f"{k}:{v}" for k, v in headers.items()), "", names, content])
    text = "\n".join(["AWS4-HMAC-SHA256", now, scope, hashlib.sha256(request.encode()).hexdigest()])
    key = f"AWS4{server.secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    credential = (
        f"AWS4-HMAC-SHA256 Credential={server.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return headers | {"authorization": credential}

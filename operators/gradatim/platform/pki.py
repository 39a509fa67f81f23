"""Certificates of one platform, and the kubeconfigs made from them.

Called by `up`, once per state folder. Two authorities on purpose: a client certificate that the API server accepts must not open
etcd, where no role-based access control applies. The whole folder appears under one rename.
"""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gradatim.platform.files import partial_dir, write_atomic

_LIFETIME = dt.timedelta(days=3650)
_NAMES = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)
_ADDRESSES = ("127.0.0.1", "10.96.0.1")
OPERATOR_USER = "gradatim-operator"
CLUSTER_CA, ETCD_CA = "ca", "etcd-ca"


@dataclass(frozen=True)
class Leaf:
    """One certificate to issue. A server's is for this machine and the API server's names, and `names` and `addresses` besides."""

    file: str
    authority: str
    common_name: str
    organization: str | None = None
    server: bool = False
    client: bool = True
    names: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()


LOCAL_LEAVES = (
    Leaf("apiserver", CLUSTER_CA, "kube-apiserver", server=True, client=False),
    Leaf("controller-manager", CLUSTER_CA, "system:kube-controller-manager", server=True),
    Leaf("admin", CLUSTER_CA, "gradatim-admin", organization="system:masters"),
    Leaf("operator", CLUSTER_CA, OPERATOR_USER),
    Leaf("etcd", ETCD_CA, "etcd", server=True),
    Leaf("etcd-client", ETCD_CA, "kube-apiserver"),
)


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as files."""

    crt: Path
    key: Path


def pair(folder: Path, name: str) -> Pair:
    """Return the files of one identity or authority."""
    return Pair(folder / f"{name}.crt", folder / f"{name}.key")


def ensure(folder: Path, now: dt.datetime, leaves: Iterable[Leaf] = LOCAL_LEAVES) -> None:
    """Make every authority, certificate and signing key, unless the folder is there already."""
    if folder.is_dir():
        return
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = partial_dir(folder)
    try:
        issuers: dict[str, _Issuer] = {}
        for leaf in leaves:
            if leaf.authority not in issuers:
                issuers[leaf.authority] = _authority(partial, leaf.authority, now)
            _issue(partial, leaf, issuers[leaf.authority], now)
        signer = ec.generate_private_key(ec.SECP256R1())
        write_atomic(partial / "sa.key", _private(signer))
        public = signer.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        write_atomic(partial / "sa.pub", public)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def kubeconfig(folder: Path, user: str, server: str) -> bytes:
    """Return a kubeconfig (JSON, which every client reads as YAML) for one identity, with its credentials inside."""

    def data(path: Path) -> str:
        return base64.b64encode(path.read_bytes()).decode()

    files = pair(folder, user)
    cluster = {"server": server, "certificate-authority-data": data(pair(folder, CLUSTER_CA).crt)}
    credentials = {"client-certificate-data": data(files.crt), "client-key-data": data(files.key)}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "gradatim",
        "clusters": [{"name": "gradatim", "cluster": cluster}],
        "users": [{"name": user, "user": credentials}],
        "contexts": [{"name": "gradatim", "context": {"cluster": "gradatim", "user": user, "namespace": "default"}}],
    }
    return json.dumps(config, indent=1).encode()


@dataclass(frozen=True)
class _Issuer:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def _authority(folder: Path, name: str, now: dt.datetime) -> _Issuer:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"gradatim-{name}")])
    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    certificate = (
        _builder(subject, subject, key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _store(folder, name, certificate, key)
    return _Issuer(certificate, key)


def _issue(folder: Path, leaf: Leaf, issuer: _Issuer, now: dt.datetime) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    names = [x509.NameAttribute(NameOID.COMMON_NAME, leaf.common_name)]
    if leaf.organization:
        names.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, leaf.organization))
    usages = [ExtendedKeyUsageOID.SERVER_AUTH] * leaf.server + [ExtendedKeyUsageOID.CLIENT_AUTH] * leaf.client
    authority_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
    builder = (
        _builder(x509.Name(names), issuer.certificate.subject, key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(authority_key, critical=False)
    )
    if leaf.server:
        alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in (*_NAMES, *leaf.names)]
        alternatives += [x509.IPAddress(ipaddress.ip_address(address)) for address in (*_ADDRESSES, *leaf.addresses)]
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    _store(folder, leaf.file, builder.sign(issuer.key, hashes.SHA256()), key)


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, now: dt.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        # A clock set back by a few minutes must not make a fresh platform unusable.
        .not_valid_before(now - dt.timedelta(minutes=10))
        .not_valid_after(now + _LIFETIME)
    )


def _store(folder: Path, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    files = pair(folder, name)
    write_atomic(files.crt, certificate.public_bytes(serialization.Encoding.PEM))
    write_atomic(files.key, _private(key))


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )

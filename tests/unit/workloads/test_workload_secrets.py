"""Secrets: only from their own folder, and only to hosts that they name."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradatim.workloads.errors import SecretError
from gradatim.workloads.secrets import SecretFolder, host_matches


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Laid out as Kubernetes mounts a Secret: keys are links into a folder of the same mount."""
    for name, hosts in (("git-read", "git.example.com\n*.corp.example:8443\n"), ("store", None)):
        real = tmp_path / name / "..data"
        real.mkdir(parents=True)
        (real / "token").write_text("s3cr3t\n")
        (tmp_path / name / "token").symlink_to("..data/token")
        if hosts is not None:
            (tmp_path / name / "hosts").write_text(hosts)
    nothing = tmp_path / "nothing"
    (nothing / "..2026").mkdir(parents=True)
    (nothing / "..data").symlink_to("..2026")
    return tmp_path


def test_a_value_is_read_without_its_line_end(folder: Path) -> None:
    assert SecretFolder(folder).read("store", "token") == "s3cr3t"


@pytest.mark.parametrize(
    ("name", "key", "says"),
    [
        ("git-read", "password", "no key password"),
        ("other", "token", "is not mounted, or empty: create it in the Run's namespace.* needs the key hosts too"),
        ("nothing", "token", "is not mounted, or empty: create it"),
        ("../store", "token", "not the name"),
        ("git-read\n", "token", "not the name"),
        ("store", "../git-read/token", "cannot have a key"),
        ("store", "leak", "outside"),
    ],
    ids=[
        "a missing key",
        "a missing secret",
        "a missing secret in a pod",
        "a parent as name",
        "a name with a line end",
        "a path as key",
        "a link to elsewhere",
    ],
)
def test_what_may_not_be_read_is_refused(folder: Path, name: str, key: str, says: str) -> None:
    (folder / "store" / "leak").symlink_to(folder / "git-read" / "..data" / "token")
    with pytest.raises(SecretError, match=says):
        SecretFolder(folder).read(name, key)


def test_a_secret_goes_only_to_the_hosts_it_names(folder: Path) -> None:
    secrets = SecretFolder(folder)
    assert secrets.read_for_host("git-read", "token", "git.example.com") == "s3cr3t"
    with pytest.raises(SecretError, match=r"may not be sent to evil\.example; add the host to its key hosts$"):
        secrets.read_for_host("git-read", "token", "evil.example")
    with pytest.raises(
        SecretError, match="names no hosts; add the key hosts with the hosts it may be sent to, one a line"
    ):
        secrets.read_for_host("store", "token", "git.example.com")


@pytest.mark.parametrize(
    ("pattern", "host", "expected"),
    [
        ("example.com", "EXAMPLE.com", True),
        ("example.com", "example.com:8080", True),
        ("example.com:443", "example.com:8080", False),
        ("example.com:443", "example.com", False),
        ("*.example.com", "a.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "badexample.com", False),
        ("example.com", "example.com.evil.org", False),
        ("[::1]:80", "[::1]:80", True),
    ],
    ids=[
        "case does not matter", "no port allows all", "another port", "a default port is not written", "a subdomain",
        "the domain itself", "another domain", "a longer name", "an IPv6 address",
    ],
)  # fmt: skip
def test_hosts_match(pattern: str, host: str, *, expected: bool) -> None:
    assert host_matches(pattern, host) is expected

"""The git source over ssh against a real OpenSSH server: a key from the Secret, and no host that `known_hosts` does not name."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.integration.workloads.test_git_source import ENVIRONMENT, Upstream, _wait
from tests.support.workload_runs import DatasetRun

from gradatim.api.reasons import Reason
from gradatim.api.runstatus import Failure

SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
pytestmark = pytest.mark.skipif(SSHD is None, reason="needs the program sshd of openssh-server")


@dataclass(frozen=True)
class SshServer:
    """A repository behind sshd, and what a client needs: its key and the server's, as ssh-keyscan writes it."""

    url: str
    host: str
    key: str
    known_hosts: str

    def keys(self, **changes: str) -> dict[str, str]:
        """The keys of the user's Secret, with changes; an empty value leaves one out."""
        keys = {"username": getpass.getuser(), "ssh_privatekey": self.key, "known_hosts": self.known_hosts} | changes
        return {name if name == "known_hosts" else name.replace("_", "-"): v for name, v in keys.items() if v}


def _keypair(path: Path) -> str:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(path)], check=True)
    return path.read_text()


@pytest.fixture
def server(tmp_path: Path, dead_port: int) -> Iterator[SshServer]:
    folder = tmp_path / "ssh"
    folder.mkdir(mode=0o700)
    repository = tmp_path / "served" / "docs"
    repository.mkdir(parents=True)
    upstream = Upstream(repository)
    upstream.git("init", "-q", "-b", "main")
    upstream.commit(a_md="# One")
    key = _keypair(folder / "client")
    _keypair(folder / "host")
    # The key opens this repository and nothing else, as on a Git host.
    command = f'command="git-upload-pack {repository}/.git",restrict'
    (folder / "authorized_keys").write_text(f"{command} {(folder / 'client.pub').read_text()}")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    options = {
        "ListenAddress": "127.0.0.1", "Port": str(dead_port), "HostKey": str(folder / "host"), "PidFile": "none",
        "AuthorizedKeysFile": str(folder / "authorized_keys"), "StrictModes": "no", "UsePAM": "no",
        "PasswordAuthentication": "no", "KbdInteractiveAuthentication": "no", "PermitRootLogin": "prohibit-password",
    }  # fmt: skip
    words = [str(SSHD), "-D", "-e", "-f", os.devnull, *(w for item in options.items() for w in ("-o", "=".join(item)))]
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(words, env=ENVIRONMENT, stdout=log, stderr=log) as process,
    ):
        _wait(dead_port, process)
        line = f"[127.0.0.1]:{dead_port} {' '.join((folder / 'host.pub').read_text().split()[:2])}\n"
        yield SshServer(f"ssh://127.0.0.1:{dead_port}/docs", f"127.0.0.1:{dead_port}", key, line)
        process.terminate()


def _attempt(
    run: DatasetRun, server: SshServer, secret: Callable[..., Path], keys: dict[str, str]
) -> tuple[DatasetRun, Any]:
    folder = secret("docs-key", server.host)
    for name, value in keys.items():
        (folder / "docs-key" / name).write_text(value)
    git = {"url": server.url, "revision": "main", "paths": ["**/*.md"], "secretRef": {"name": "docs-key"}}
    prepared = run.but(secrets=folder).with_spec(source={"git": git})
    return prepared, prepared.execute()


def test_a_key_of_the_secret_opens_a_known_host(
    run: DatasetRun, server: SshServer, secret: Callable[..., Path]
) -> None:
    prepared, result = _attempt(run, server, secret, server.keys())
    assert result.outcome == "Succeeded", result.message
    assert [(row["file"], row["text"]) for row in prepared.rows(result)] == [("a.md", "# One")]


@pytest.mark.parametrize(
    "case", ["no known_hosts", "another host key", "another client key", "no client key", "another user"]
)
def test_without_the_right_keys_nothing_is_read(
    run: DatasetRun, server: SshServer, secret: Callable[..., Path], tmp_path: Path, case: str
) -> None:
    other = _keypair(tmp_path / "other")
    public = " ".join((tmp_path / "other.pub").read_text().split()[:2])
    keys = {
        "no known_hosts": server.keys(known_hosts=""),
        "another host key": server.keys(known_hosts=f"{server.known_hosts.split()[0]} {public}\n"),
        "another client key": server.keys(ssh_privatekey=other),
        "no client key": server.keys(ssh_privatekey=""),
        "another user": server.keys(username=""),
    }[case]
    _, result = _attempt(run, server, secret, keys)
    assert (result.failure, result.reason) == (Failure.USER, Reason.CREDENTIALS_REFUSED.value), result.message
    expected = "Host key verification failed" if "host" in case else "Permission denied"
    assert expected in result.message
    assert server.key.splitlines()[1] not in result.message

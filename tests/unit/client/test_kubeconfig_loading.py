"""Kubeconfigs are read as kubectl reads them; what is not supported is refused by name."""

from __future__ import annotations

import base64
import json
import os
import pty
import stat
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from gradatim.client import credentials as credentials_module
from gradatim.client.credentials import Credentials, ExecPlugin, Identity, run_plugin
from gradatim.client.effects import Request
from gradatim.client.errors import NotConfiguredError, UnauthorizedError
from gradatim.client.kubeconfig import Connection, find_connection, in_cluster, load
from gradatim.client.transport import Setup


def config(user: dict[str, Any], cluster: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u", "namespace": "team"}}],
        "clusters": [{"name": "k", "cluster": {"server": "https://k:6443/"} | (cluster or {})}],
        "users": [{"name": "u", "user": user}],
    } | more


def write(path: Path, body: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(body))
    return path


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_everything_a_context_says_is_taken(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("CA")
    user = {"client-certificate-data": encoded("CERT"), "client-key-data": encoded("KEY"), "as": "robot"}
    cluster = {"certificate-authority": "ca.pem", "tls-server-name": "inner", "proxy-url": "http://p:1"}
    path = write(tmp_path / "config", config(user, cluster))
    assert load([path]) == Connection(
        server="https://k:6443",
        identity=Identity(certificate=b"CERT", key=b"KEY", impersonate=(("Impersonate-User", "robot"),)),
        namespace="team",
        ca=b"CA",
        server_name="inner",
        proxy="http://p:1",
        source=f"{path} context c",
    )


def test_in_a_list_of_files_the_first_mention_wins_and_entries_may_be_spread(tmp_path: Path) -> None:
    first = write(tmp_path / "a", {"users": [{"name": "u", "user": {"token": "first"}}]})
    second = write(tmp_path / "b", config({"token": "second"}))
    found = load([first, tmp_path / "absent", second])
    assert (found.identity.token, found.server) == ("first", "https://k:6443")


USERS: dict[str, tuple[dict[str, Any], str]] = {
    "a bearer token": ({"token": "t"}, "Bearer t"),
    "a token file": ({"tokenFile": "token"}, "Bearer from-file"),
    "a token before its file": ({"token": "t", "tokenFile": "token"}, "Bearer t"),
    "a name and a password": ({"username": "n", "password": "p"}, f"Basic {encoded('n:p')}"),
}


@pytest.mark.parametrize(("user", "header"), USERS.values(), ids=USERS.keys())
def test_a_user_becomes_a_header(user: dict[str, Any], header: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-file\n")
    found = load([write(tmp_path / "config", config(user))])
    assert Credentials(found.identity, found.ssl_context()).headers() == (("Authorization", header),)


IMPERSONATED: dict[str, tuple[dict[str, Any], list[tuple[str, str]]]] = {
    "nobody": ({}, []),
    "a user": ({"as": "robot"}, [("Impersonate-User", "robot")]),
    "a user with a uid": ({"as": "robot", "as-uid": 7}, [("Impersonate-User", "robot"), ("Impersonate-Uid", "7")]),
    "every group is a header of its own": (
        {"as": "robot", "as-groups": ["builders", "a, b"]},
        [("Impersonate-User", "robot"), ("Impersonate-Group", "builders"), ("Impersonate-Group", "a, b")],
    ),
    "every value of an extra is a header of its own": (
        {"as": "robot", "as-user-extra": {"scopes": ["read", "write"], "none": []}},
        [("Impersonate-User", "robot"), ("Impersonate-Extra-scopes", "read"), ("Impersonate-Extra-scopes", "write")],
    ),
    "what a header's name cannot hold is percent-encoded": (
        {"as": "robot", "as-user-extra": {"acme.com/Prüfer %": ["yes"]}},
        [("Impersonate-User", "robot"), ("Impersonate-Extra-acme.com%2FPr%C3%BCfer%20%25", "yes")],
    ),
    "what it can hold stays": (
        {"as": "robot", "as-user-extra": {"!#$&'*+-.^_`|~aZ9": ["yes"]}},
        [("Impersonate-User", "robot"), ("Impersonate-Extra-!#$&'*+-.^_`|~aZ9", "yes")],
    ),
}


@pytest.mark.parametrize(("user", "headers"), IMPERSONATED.values(), ids=IMPERSONATED.keys())
def test_an_impersonated_user_is_sent_whole(
    user: dict[str, Any], headers: list[tuple[str, str]], tmp_path: Path
) -> None:
    connection = load([write(tmp_path / "config", config({"token": "t"} | user))])
    setup = Setup(connection)
    request = Request("GET", "/version", headers={"Accept": "text/plain"})
    sent = httpx.Client(verify=False).build_request(**setup.arguments(request, setup.headers(request)))
    authorization = ("Authorization", "Bearer t")
    assert [(k, v) for k, v in raw(sent) if k.startswith("Impersonate-") or k == "Authorization"] == [
        *headers,
        authorization,
    ]
    assert [v for k, v in raw(sent) if k == "Accept"] == ["text/plain"]
    elsewhere = Request("GET", "/version", base="http://other")
    assert setup.headers(elsewhere) == (), "another server hears nothing of who we are"


def raw(request: httpx.Request) -> list[tuple[str, str]]:
    return [(key.decode(), value.decode()) for key, value in request.headers.raw]


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no current context": (config({}) | {"current-context": ""}, "has no current-context"),
    "a context that is not there": (config({}) | {"contexts": []}, "there is no context called c"),
    "a cluster that is not there": (config({}) | {"clusters": []}, "there is no cluster called k"),
    "a user that is not there": (config({}) | {"users": []}, "there is no user called u"),
    "a cluster without a server": (config({}, {"server": ""}), "cluster k has no server"),
    "a removed kind of plugin": (config({"auth-provider": {"name": "gcp"}}), "auth-provider"),
    "a plugin of an unknown version": (config({"exec": {"apiVersion": "v0", "command": "x"}}), "exec plugin"),
    "groups without a user": (config({"as-groups": ["a"]}), "user u has as-uid, as-groups or as-user-extra without as"),
    "groups that are no list": (config({"as": "robot", "as-groups": "a"}), "as-groups of user u is not a list"),
    "extras that are no mapping": (config({"as": "r", "as-user-extra": ["a"]}), "as-user-extra of user u is not a map"),
    "an extra that is no list": (
        config({"as": "r", "as-user-extra": {"a": "b"}}),
        "as-user-extra a of user u is not a",
    ),
    "data that is not base64": (config({"client-certificate-data": "%%"}), "is not base64"),
    "a file that is not there": (config({"client-key": "absent.pem"}), "client-key cannot be read"),
}


@pytest.mark.parametrize(("body", "message"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_kubeconfig_is_refused_by_name(body: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(NotConfiguredError, match=message):
        load([write(tmp_path / "config", body)])


def test_a_file_that_is_no_kubeconfig_is_named(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("- 1\n")
    with pytest.raises(NotConfiguredError, match="x is not a mapping"):
        load([tmp_path / "x"])
    with pytest.raises(NotConfiguredError, match="absent cannot be read"):
        load([tmp_path / "absent"])


def test_the_cluster_is_looked_for_in_a_fixed_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state, home = tmp_path / "state", tmp_path / "home"
    (home / ".kube").mkdir(parents=True)
    state.mkdir()
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GRADATIM_STATE", str(state))

    def written(path: Path, token: str) -> Path:
        return write(path, config({"token": token}))

    with pytest.raises(NotConfiguredError, match="no cluster is known") as error:
        find_connection()
    assert "gradatim up" in error.value.hint
    written(home / ".kube" / "config", "home")
    tokens = [find_connection().identity.token]
    written(state / "kubeconfig", "platform")
    (state / "client.json").write_text(json.dumps({"kubeconfig": str(state / "kubeconfig")}))
    tokens.append(find_connection().identity.token)
    monkeypatch.setenv("KUBECONFIG", str(written(tmp_path / "env", "env")))
    tokens.append(find_connection().identity.token)
    tokens.append(find_connection(state=state).identity.token)
    explicit = written(tmp_path / "explicit", "explicit")
    tokens += [find_connection(explicit).identity.token, find_connection(explicit, state=state).identity.token]
    assert tokens == ["home", "platform", "env", "platform", "explicit", "explicit"]


@pytest.mark.parametrize("content", [None, {}, {"kubeconfig": "absent"}], ids=["no file", "no platform", "no keys"])
def test_a_folder_that_was_named_is_the_cluster_or_there_is_none(
    content: dict[str, str] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(write(tmp_path / "env", config({"token": "env"}))))
    if content is not None:
        (tmp_path / "client.json").write_text(json.dumps(content))
    with pytest.raises(NotConfiguredError, match=f"there is no local platform in {tmp_path}") as error:
        find_connection(state=tmp_path)
    assert f"gradatim up --state {tmp_path}" in error.value.hint


def test_a_context_is_one_of_the_platform_that_was_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every local platform calls its context the same, so another platform's kubeconfig would have it too."""
    monkeypatch.setenv("KUBECONFIG", str(write(tmp_path / "env", config({"token": "env"}))))
    write(tmp_path / "kubeconfig", config({"token": "platform"}))
    (tmp_path / "client.json").write_text(json.dumps({"kubeconfig": "kubeconfig"}))
    assert find_connection(context="c", state=tmp_path).identity.token == "platform"
    with pytest.raises(NotConfiguredError, match="there is no context called prod"):
        find_connection(context="prod", state=tmp_path)


def test_a_pod_uses_its_service_account(tmp_path: Path) -> None:
    for name, text in (("ca.crt", "CA"), ("namespace", "team\n"), ("token", "t")):
        (tmp_path / name).write_text(text)
    found = in_cluster(tmp_path, {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "6443"})
    assert (found.server, found.namespace, found.ca) == ("https://[fd00::1]:6443", "team", b"CA")
    assert found.identity == Identity(token_file=tmp_path / "token")
    with pytest.raises(NotConfiguredError, match="no service account"):
        in_cluster(tmp_path / "absent", {})


def plugin(folder: Path, script: str) -> ExecPlugin:
    path = folder / "plugin"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return ExecPlugin(
        (str(path), "get-token"), "client.authentication.k8s.io/v1", {"EXTRA": "e"}, install_hint="install it"
    )


def test_a_plugin_is_run_once_and_again_when_refused(tmp_path: Path) -> None:
    count = tmp_path / "count"
    found = plugin(
        tmp_path,
        f'echo x >> {count}; n=$(wc -l < {count} | tr -d " ")\n'
        'printf \'{"status": {"token": "%s-%s-%s"}}\' "$1" "$EXTRA" "$n"',
    )
    credentials = Credentials(Identity(plugin=found), Connection("https://k").ssl_context())
    headers = [credentials.headers(), credentials.headers(), credentials.headers(afresh=True)]
    assert [dict(h)["Authorization"] for h in headers] == [
        "Bearer get-token-e-1",
        "Bearer get-token-e-1",
        "Bearer get-token-e-2",
    ]


def test_a_token_that_is_about_to_expire_is_asked_for_again(tmp_path: Path) -> None:
    count = tmp_path / "count"
    found = plugin(
        tmp_path,
        f'echo x >> {count}\nprintf \'{{"status": {{"token": "t", "expirationTimestamp": "2020-01-01T00:00:00Z"}}}}\'',
    )
    credentials = Credentials(Identity(plugin=found), Connection("https://k").ssl_context())
    credentials.headers()
    credentials.headers()
    assert count.read_text() == "x\nx\n"


BROKEN = {
    "a plugin that fails": ("echo no login >&2; exit 3", "failed with 3: no login"),
    "a plugin that prints nonsense": ("echo hello", "printed no ExecCredential"),
    "a plugin that gives nothing": ("echo '{\"status\": {}}'", "neither a token nor a client certificate"),
}


@pytest.mark.parametrize(("script", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_plugin_is_named(script: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UnauthorizedError, match=message):
        run_plugin(plugin(tmp_path, script))


def test_what_a_plugin_asks_of_a_person_is_seen_on_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = plugin(tmp_path, 'echo enter ABCD >&2; echo \'{"status": {"token": "t"}}\'')
    ours, theirs = pty.openpty()
    before = os.dup(2)
    try:
        os.dup2(theirs, 2)
        monkeypatch.setattr(sys, "stderr", os.fdopen(theirs, "w", closefd=False))
        assert run_plugin(found) == {"token": "t"}
        assert os.read(ours, 1000) == b"enter ABCD\r\n"
        with pytest.raises(UnauthorizedError, match=r"failed with 3$"):
            run_plugin(plugin(tmp_path, "echo no login >&2; exit 3"))
        assert os.read(ours, 1000) == b"no login\r\n"
    finally:
        os.dup2(before, 2)
        for descriptor in (before, ours, theirs):
            os.close(descriptor)


def test_without_a_terminal_the_prompt_of_a_plugin_that_waits_is_in_the_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials_module, "_PLUGIN_SECONDS", 0.2)
    found = plugin(tmp_path, "echo enter ABCD >&2; exec sleep 60")
    with pytest.raises(UnauthorizedError, match=r"was not done after 0\.2 s: enter ABCD"):
        run_plugin(found)


def test_a_missing_plugin_says_how_to_get_it() -> None:
    with pytest.raises(UnauthorizedError, match="not installed") as error:
        run_plugin(
            ExecPlugin(("gradatim-no-such-plugin",), "client.authentication.k8s.io/v1", install_hint="install it")
        )
    assert error.value.hint == "install it"

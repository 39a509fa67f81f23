"""The record of a platform, its ports, its folders and its keys: everything that survives a crash."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from pathlib import Path
from typing import IO

import pytest

from gradatim.platform import files, ports, prepare
from gradatim.platform.components import PORT_NAMES, Component, closure
from gradatim.platform.dirs import Layout, cache_dir, default_state_dir
from gradatim.platform.errors import StateError
from gradatim.platform.node.layout import NodeLayout
from gradatim.platform.state import PlatformState, Record, StateFile, locked, parse, read

RECORD = Record(12, 3.5, ("/bin/etcd", "--name=x"), "v1", "/log", "boot pid:[1]")


def test_a_state_reads_back_as_it_was_written(tmp_path: Path) -> None:
    layout = Layout.of(tmp_path)
    file = StateFile(layout)
    file.update(source_roots=("/a", "/b"), ray_cpus=3)
    file.record(Component.ETCD, RECORD)
    file.record(Component.RAY, RECORD)
    file.record(Component.RAY, None)
    assert read(layout) == PlatformState(tmp_path, {Component.ETCD: RECORD}, {}, ("/a", "/b"), 3)


def test_a_record_of_an_earlier_release_is_read(tmp_path: Path) -> None:
    etcd = {"pid": 12, "created": 3.5, "argv": ["etcd"], "version": "v1", "log": "/log"}
    text = json.dumps({"format": 1, "components": {"etcd": etcd}, "sourceRoots": [], "rayCpus": None})
    assert parse(text, tmp_path).components == {Component.ETCD: Record(12, 3.5, ("etcd",), "v1", "/log", space="")}


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="an empty file"),
        pytest.param('{"format": 1, "compo', id="a half-written file"),
        pytest.param("[]", id="something else"),
        pytest.param('{"format": 99}', id="another format"),
        pytest.param(
            '{"format": 1, "components": {"etcd": {"pid": "x"}}, "sourceRoots": [], "rayCpus": null}',
            id="a broken record",
        ),
    ],
)
def test_a_damaged_state_reads_as_nothing_so_that_down_still_works(tmp_path: Path, text: str) -> None:
    (tmp_path / "state.json").write_text(text)
    assert read(Layout.of(tmp_path)) == PlatformState(tmp_path)
    with pytest.raises((ValueError, KeyError, TypeError)):
        parse(text, tmp_path)


def test_a_second_holder_of_the_lock_is_told_what_to_do(tmp_path: Path) -> None:
    layout = Layout.of(tmp_path)
    with locked(layout, 0), pytest.raises(StateError, match="another `gradatim up`"), locked(layout, 0):
        pass
    with locked(layout, 0):
        pass


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        pytest.param({Component.WEAVIATE}, {Component.WEAVIATE}, id="Weaviate needs nothing"),
        pytest.param({Component.APISERVER}, {Component.ETCD, Component.APISERVER}, id="the API server needs etcd"),
        pytest.param(
            {Component.OPERATOR},
            {Component.ETCD, Component.APISERVER, Component.CONTROLLER_MANAGER, Component.OPERATOR},
            id="the operator needs the control plane",
        ),
        pytest.param(set(), set(), id="nothing needs nothing"),
    ],
)
def test_components_bring_what_they_need(wanted: set[Component], expected: set[Component]) -> None:
    assert closure(wanted) == expected


@pytest.mark.parametrize(
    ("reserved", "busy", "expected"),
    [
        pytest.param(set(), set(), 100, id="the first block is taken when it is free"),
        pytest.param({100}, set(), 200, id="a reserved block is passed over"),
        pytest.param(set(), {100 + len(PORT_NAMES) - 1}, 200, id="a block whose last port is busy is passed over"),
        pytest.param(set(), {100 + len(PORT_NAMES)}, 100, id="a busy port behind the block does not matter"),
    ],
)
def test_ports_are_chosen_as_one_free_block(reserved: set[int], busy: set[int], expected: int) -> None:
    assert (
        ports.choose_block((100, 200), lambda start: start not in reserved, lambda port: port not in busy) == expected
    )


def test_no_free_block_is_an_error() -> None:
    with pytest.raises(StateError, match="free ports in a row"):
        ports.choose_block((100, 200), lambda _start: True, lambda _port: False)


def test_remembered_ports_are_used_again(tmp_path: Path) -> None:
    remembered = {name: 20_000 + number for number, name in enumerate(PORT_NAMES)}
    (tmp_path / "ports.json").write_text(json.dumps(remembered))
    assert ports.load_or_choose(Layout.of(tmp_path)) == remembered


@pytest.mark.parametrize("text", ["{", "[]", '{"etcd-client": 1}'], ids=["half-written", "no table", "other names"])
def test_damaged_ports_are_an_error_because_running_components_use_them(tmp_path: Path, text: str) -> None:
    (tmp_path / "ports.json").write_text(text)
    with pytest.raises(StateError, match="gradatim down --purge"):
        ports.load(Layout.of(tmp_path))


@pytest.mark.parametrize(
    ("env", "state", "cache"),
    [
        pytest.param({"GRADATIM_STATE": "/s", "GRADATIM_CACHE": "/c"}, "/s", "/c/bin", id="our own variables win"),
        pytest.param(
            {"XDG_STATE_HOME": "/xs", "XDG_CACHE_HOME": "/xc"},
            "/xs/gradatim",
            "/xc/gradatim/bin",
            id="then those of the desktop",
        ),
        pytest.param(
            {},
            str(Path.home() / ".local/state/gradatim"),
            str(Path.home() / ".cache/gradatim/bin"),
            id="then the usual folders of the home",
        ),
    ],
)
def test_folders_follow_the_environment(env: dict[str, str], state: str, cache: str) -> None:
    assert (str(default_state_dir(env)), str(cache_dir(env))) == (state, cache)


FOLDERS: dict[str, tuple[list[str], bool]] = {
    "an empty folder": ([], True),
    "a platform's": (["lock", "pki", "data"], True),
    "a platform's with a file of its user": (["state.json", "notes.txt"], True),
    "one in which an up was killed at once": ([".pki-x0y_z1ab", ".kubeconfig.123.0123abcd"], True),
    "a document's": (["thesis.tex"], False),
    "another project's with folders called as ours": (["data", "logs", "README.md"], False),
    "another program's with a client.json": (["client.json", "client.json.new"], False),
    "what only looks half made": ([".pki-notes", ".thesis.tex.123.0123abcd"], False),
}


@pytest.mark.parametrize(("names", "usable"), FOLDERS.values(), ids=FOLDERS.keys())
def test_the_folder_of_someone_else_is_refused(tmp_path: Path, names: list[str], *, usable: bool) -> None:
    for name in names:
        (tmp_path / name).write_text("dear")
    told = contextlib.nullcontext() if usable else pytest.raises(StateError, match="not the state of a platform")
    with told:
        prepare.check_folder(Layout.of(tmp_path))


@pytest.mark.parametrize("layout", [Layout, NodeLayout], ids=["local", "node"])
def test_what_was_left_half_made_goes_at_the_next_start(tmp_path: Path, layout: type[Layout]) -> None:
    of = layout(tmp_path)
    (tmp_path / ".pki-x0y_z1ab").mkdir()
    (tmp_path / ".pki-x0y_z1ab" / "ca.key").write_text("private")
    left = [f".{of.state.name}.1.0123abcd", f".{of.kubeconfig.name}.22.0123abcd"]
    kept = ["kubeconfig", ".kubeconfig", ".kubeconfig.swp", ".kubeconfig.1.notes", ".pki-notes", ".client.json.swp"]
    for name in (*left, *kept):
        (tmp_path / name).write_text("x")
    assert [path.name for path in of.leftovers()] == sorted([".pki-x0y_z1ab", *left])
    prepare.folders(of)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == sorted(kept)
    assert not (tmp_path / ".pki-x0y_z1ab").exists()


def test_a_client_json_belongs_to_a_local_platform_only(tmp_path: Path) -> None:
    assert [(tmp_path / "client.json") in kind(tmp_path).owned() for kind in (Layout, NodeLayout)] == [True, False]


def test_secrets_are_private_random_and_kept(tmp_path: Path) -> None:
    layout = Layout.of(tmp_path / "state")
    prepare.folders(layout)
    first, second = prepare.credentials(layout), prepare.credentials(layout)
    assert first == second
    tokens = {first.ray, first.weaviate.operator, first.weaviate.workload, first.weaviate.cluster}
    assert len(tokens) == 4
    assert (layout.secrets / "weaviate-workload" / "api-key").read_text() == first.weaviate.workload
    modes = {stat.S_IMODE(path.stat().st_mode) for path in layout.root.rglob("*") if path.is_file()}
    assert modes == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in layout.root.rglob("*") if path.is_dir()} == {0o700}
    assert not any(secret in repr(path) for path in layout.secrets.rglob("*") for secret in tokens)


def test_a_full_disk_is_told_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, mode: str) -> IO[bytes]:
        os.close(descriptor)
        return Path("/dev/full").open(mode)

    monkeypatch.setattr(os, "fdopen", full)
    with pytest.raises(OSError, match="No space left on device") as error:
        files.write_atomic(tmp_path / "state.json", b"new")
    assert error.value.filename == str(tmp_path / "state.json")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_content_and_no_rubbish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "file"
    files.write_atomic(target, b"old")

    def fail(_self: Path, _target: Path) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        files.write_atomic(target, b"new")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]

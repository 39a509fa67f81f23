"""Identities, state, control groups, images and files of the node cluster, on ordinary folders."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from gradatim.platform import prepare as local
from gradatim.platform.dirs import Layout
from gradatim.platform.errors import StateError
from gradatim.platform.node import cgroups, identities, objects, prepare
from gradatim.platform.node.images import OneLayer, write_image
from gradatim.platform.node.layout import NodeLayout, Part
from gradatim.platform.node.prerequisites import cni_folder, missing_packages
from gradatim.platform.node.state import NodeState
from gradatim.platform.state import Record

RECORD = Record(17, 1.5, ("etcd", "--x"), "v3", "/log", "boot pid:[1]")


@pytest.fixture(scope="module")
def pki_layout(tmp_path_factory: pytest.TempPathFactory) -> NodeLayout:
    layout = NodeLayout(tmp_path_factory.mktemp("node") / "state")
    identities.ensure(layout)
    return layout


def certificate(layout: NodeLayout, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((layout.pki / f"{name}.crt").read_bytes())


def subject(layout: NodeLayout, name: str) -> tuple[str, ...]:
    parts = certificate(layout, name).subject
    return tuple(
        str(a.value)
        for oid in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME)
        for a in parts.get_attributes_for_oid(oid)
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("kubelet", ("system:node:node-1", "system:nodes")),
        ("scheduler", ("system:kube-scheduler",)),
        ("controller-manager", ("system:kube-controller-manager",)),
        ("kube-proxy", ("system:kube-proxy",)),
        ("kubelet-client", ("kube-apiserver-kubelet-client",)),
        ("coredns", ("coredns",)),
        ("admin", ("gradatim-admin", "system:masters")),
    ],
)
def test_a_component_has_the_identity_kubernetes_knows(
    pki_layout: NodeLayout, name: str, expected: tuple[str, ...]
) -> None:
    assert subject(pki_layout, name) == expected


def test_only_the_administrator_is_a_master(pki_layout: NodeLayout) -> None:
    masters = [leaf.file for leaf in identities.LEAVES if "system:masters" in subject(pki_layout, leaf.file)]
    assert masters == ["admin"]


@pytest.mark.parametrize("name", ["apiserver", "kubelet-server"])
def test_a_server_is_valid_for_the_nodes_address(pki_layout: NodeLayout, name: str) -> None:
    names = certificate(pki_layout, name).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {"10.210.0.1", "10.96.0.1"} <= {str(a) for a in names.get_values_for_type(x509.IPAddress)}


def test_every_client_has_a_kubeconfig_that_verifies_the_server(pki_layout: NodeLayout) -> None:
    files = [pki_layout.kubeconfig, *(pki_layout.kubeconfig_of(user) for user in identities.CLIENTS)]
    clusters = [json.loads(file.read_text())["clusters"][0]["cluster"] for file in files]
    assert {cluster["server"] for cluster in clusters} == {"https://10.210.0.1:6443"}
    assert all(set(cluster) == {"server", "certificate-authority-data"} for cluster in clusters)
    assert all(file.stat().st_mode & 0o077 == 0 for file in files)


def test_the_name_server_may_only_read_names() -> None:
    rules = next(item for item in objects.base() if item["kind"] == "ClusterRole")["rules"]
    assert {verb for rule in rules for verb in rule["verbs"]} == {"list", "watch"}
    assert {resource for rule in rules for resource in rule["resources"]} == {
        "endpoints", "services", "pods", "namespaces", "endpointslices",
    }  # fmt: skip


def test_the_state_survives_a_new_process(tmp_path: Path) -> None:
    layout = NodeLayout(tmp_path)
    first = NodeState(layout)
    first.remember(frozenset({Part.KUBERAY}))
    first.record(Part.ETCD, RECORD)
    first.record(Part.KUBELET, RECORD)
    first.record(Part.KUBELET, None)
    again = NodeState(layout)
    assert (again.parts, again.addons) == ({Part.ETCD: RECORD}, frozenset({Part.KUBERAY}))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="an empty file"),
        pytest.param('{"format": 99}', id="a format of the future"),
        pytest.param('{"format": 1, "parts": {"nobody": {}}, "addons": []}', id="an unknown part"),
        pytest.param('{"format": 1, "parts": {"etcd": {"pid": 1}}, "addons": []}', id="half a record"),
    ],
)
def test_a_damaged_state_reads_as_nothing(tmp_path: Path, text: str) -> None:
    layout = NodeLayout(tmp_path)
    layout.state.write_text(text)
    assert NodeState(layout).parts == {}


@pytest.mark.parametrize(
    ("layout", "foreign"),
    [
        pytest.param(NodeLayout, "state.json", id="a node cluster does not enter a local platform's folder"),
        pytest.param(Layout, "node.json", id="a local platform does not enter a node cluster's folder"),
    ],
)
def test_the_two_kinds_of_platform_do_not_share_a_folder(tmp_path: Path, layout: type[Layout], foreign: str) -> None:
    (tmp_path / foreign).write_text("{}")
    with pytest.raises(StateError, match="choose another folder"):
        local.check_folder(layout(tmp_path))


def tree_v1(root: Path) -> Path:
    for controller in ("cpu", "cpuset", "memory"):
        (root / controller).mkdir(parents=True)
        (root / controller / "cgroup.procs").write_text("")
    for setting in ("cpuset.cpus", "cpuset.mems"):
        (root / "cpuset" / setting).write_text("0-1\n")
    (root / "unified").mkdir()
    (root / "unified" / "cgroup.procs").write_text("")
    (root / "cpuacct").symlink_to("cpu")
    return root


def test_version_1_has_a_group_in_every_controllers_tree(tmp_path: Path) -> None:
    root = tree_v1(tmp_path)
    cgroups.make("gradatim-x", root)
    assert {str(path.relative_to(root)) for path in root.glob("*/gradatim-x")} == {
        "cpu/gradatim-x", "cpuset/gradatim-x", "memory/gradatim-x", "cpuacct/gradatim-x",
    }  # fmt: skip
    assert cgroups.hierarchies(root) == [root / "cpu", root / "cpuset", root / "memory", root / "unified"]


def test_version_2_has_one_group_with_the_controllers_handed_down(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu memory\n")
    (tmp_path / "cgroup.subtree_control").write_text("")
    cgroups.make("gradatim-x", tmp_path)
    assert (tmp_path / "gradatim-x").is_dir()
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+memory"


def test_a_removed_group_takes_its_sub_groups_along_and_may_be_missing(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "cpu").mkdir(parents=True)
    (root / "cpu" / "cgroup.procs").write_text("")
    (root / "cpu" / "gradatim-x" / "kubepods" / "pod1").mkdir(parents=True)
    (root / "cpu" / "another").mkdir()
    (root / "unified" / "gradatim-x" / "kubepods").mkdir(parents=True)
    (root / "unified" / "cgroup.procs").write_text("")
    cgroups.remove("gradatim-x", root)
    cgroups.remove("gradatim-x", root)
    assert [path.name for path in (root / "cpu").iterdir() if path.is_dir()] == ["another"]
    assert not (root / "unified" / "gradatim-x").exists()


def test_an_image_is_a_function_of_its_files(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"#!" * 5000)
    image = OneLayer("localhost/tool:1", ("/bin/tool",), {"bin/tool": program})
    write_image(image, tmp_path / "a.tar")
    write_image(image, tmp_path / "b.tar")
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    with tarfile.open(tmp_path / "a.tar") as archive:
        manifest = json.loads(archive.extractfile("manifest.json").read())[0]  # type: ignore[union-attr]
        config = json.loads(archive.extractfile(manifest["Config"]).read())  # type: ignore[union-attr]
        layer = archive.extractfile(manifest["Layers"][0]).read()  # type: ignore[union-attr]
    assert manifest["RepoTags"] == ["localhost/tool:1"]
    assert (config["config"]["User"], config["config"]["Entrypoint"]) == ("65532:65532", ["/bin/tool"])
    with tarfile.open(fileobj=io.BytesIO(layer)) as content:
        modes = {member.name: oct(member.mode) for member in content}
    assert modes == {"bin": "0o755", "tmp": "0o1777", "bin/tool": "0o755"}


def executables(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).touch(mode=0o755)
    return folder


def test_missing_programs_are_named_by_their_packages(tmp_path: Path) -> None:
    path = executables(tmp_path / "bin", "mount", "unshare", "nsenter", "containerd", "runc", "ip", "nft")
    assert missing_packages(str(path), [tmp_path / "cni"]) == [
        "conntrack", "containerd", "containernetworking-plugins", "iptables", "socat",
    ]  # fmt: skip


def test_network_plugins_count_only_together(tmp_path: Path) -> None:
    half = executables(tmp_path / "half", "bridge", "host-local")
    whole = executables(tmp_path / "whole", "bridge", "host-local", "portmap", "loopback")
    assert cni_folder([half, whole]) == whole
    assert cni_folder([half]) is None


MOUNTINFO = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
23 22 0:20 / /work rw,relatime - overlay overlay rw
24 22 0:21 / /work/fast\\040disk rw,relatime - ext4 /dev/vdb rw
"""


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        pytest.param("/var/state", "overlayfs", id="an ordinary disk carries overlays"),
        pytest.param("/work/state", "native", id="an overlay does not lie on an overlay"),
        pytest.param("/work/fast disk/state", "overlayfs", id="the innermost mount decides"),
    ],
)
def test_the_snapshotter_fits_the_file_system(folder: str, expected: str) -> None:
    assert prepare.snapshotter(Path(folder), MOUNTINFO) == expected


def test_nothing_is_deleted_below_a_mount(tmp_path: Path) -> None:
    layout = NodeLayout(tmp_path)
    layout.logs.mkdir()
    (layout.logs / "kubelet.log").touch()
    with pytest.raises(StateError, match="is mounted in the state folder"):
        prepare.remove(layout, MOUNTINFO + f"25 22 0:22 / {tmp_path}/data rw - tmpfs tmpfs rw\n")
    assert (layout.logs / "kubelet.log").exists()


def test_only_what_is_the_clusters_own_is_deleted(tmp_path: Path) -> None:
    layout = NodeLayout(tmp_path / "state")
    prepare.folders(layout)
    (layout.root / "theirs").touch()
    prepare.remove(layout, MOUNTINFO)
    assert [path.name for path in layout.root.iterdir()] == ["theirs"]

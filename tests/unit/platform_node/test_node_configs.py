"""The configuration files and command lines of the node cluster."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from gradatim.platform.binaries import Toolset
from gradatim.platform.launches import WeaviateKeys
from gradatim.platform.node import configs, inside, launches
from gradatim.platform.node.layout import PORTS, NodeLayout, Part, default_node_state_dir
from gradatim.platform.processes import Launch

KEYS = WeaviateKeys("operator-key", "workload-key", "cluster-key")
USER_ENV = {
    "PATH": "/home/u/bin", "HTTPS_PROXY": "http://proxy.test", "KUBECONFIG": "/theirs", "RAY_ADDRESS": "elsewhere",
    "GRADATIM_STATE": "/theirs",
}  # fmt: skip


def every_launch(root: Path) -> dict[Part, Launch]:
    site = launches.NodeSite(NodeLayout(root), USER_ENV, "/venv/bin/python", init=4711)
    tool = Toolset(root / "tool", single=True, version="v9")
    made = (
        launches.node(site, tool),
        launches.etcd(site, "v3"),
        launches.apiserver(site, "v1"),
        launches.controller_manager(site, "v1"),
        launches.scheduler(site, "v1"),
        launches.containerd(site),
        launches.kubelet(site, "v1"),
        launches.proxy(site, "v1"),
        launches.dns(site, "v1"),
        launches.kuberay(site, "v1"),
        launches.operator(site, "0.1", {"GRADATIM_WORKERS": "4"}),
        launches.weaviate(site, tool, KEYS),
        launches.minio(site, tool, "user", "s3-password"),
    )
    return {Part(launch.component): launch for launch in made}


def test_every_part_has_a_launch(tmp_path: Path) -> None:
    assert set(every_launch(tmp_path)) == set(Part)


@pytest.mark.parametrize("part", [part for part in Part if part is not Part.NODE])
def test_a_part_runs_in_all_namespaces_of_the_first_process(tmp_path: Path, part: Part) -> None:
    launch = every_launch(tmp_path)[part]
    assert launch.argv[:6] == ("nsenter", "--target=4711", "--mount", "--net", "--pid", "--")
    assert launch.log == tmp_path / "logs" / f"{part}.log"


@pytest.mark.parametrize("part", [part for part in Part if part is not Part.NODE])
def test_paths_are_those_inside_so_that_sockets_stay_short(tmp_path: Path, part: Part) -> None:
    launch = every_launch(tmp_path)[part]
    words = [*launch.argv, *launch.env.values()]
    assert [word for word in words if str(tmp_path) in word and not word.startswith(str(tmp_path / "tool"))] == []


@pytest.mark.parametrize("part", list(Part))
def test_no_secret_is_on_a_command_line(tmp_path: Path, part: Part) -> None:
    words = " ".join(every_launch(tmp_path)[part].argv)
    assert not [secret for secret in ("operator-key", "workload-key", "cluster-key", "s3-password") if secret in words]


@pytest.mark.parametrize("part", [part for part in Part if part is not Part.NODE])
def test_a_part_does_not_follow_the_users_shell(tmp_path: Path, part: Part) -> None:
    env = every_launch(tmp_path)[part].env
    assert "/theirs" not in env.values()
    assert env["PATH"].startswith("/run/gradatim/bin:")


def test_two_parts_never_share_a_port() -> None:
    assert len(set(PORTS.values())) == len(PORTS)


def test_the_api_server_authorizes_nodes_and_verifies_kubelets(tmp_path: Path) -> None:
    words = set(every_launch(tmp_path)[Part.APISERVER].argv)
    assert words >= {
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--anonymous-auth=false",
        "--kubelet-certificate-authority=/run/gradatim/pki/ca.crt",
        "--client-ca-file=/run/gradatim/pki/ca.crt",
        "--advertise-address=10.210.0.1",
    }
    assert not [word for word in words if "insecure" in word]


def test_etcd_listens_on_loopback_only(tmp_path: Path) -> None:
    urls = [word for word in every_launch(tmp_path)[Part.ETCD].argv if "urls=" in word]
    assert len(urls) == 4
    assert [word for word in urls if "https://127.0.0.1:" not in word] == []


def test_weaviate_keeps_its_settings_and_listens_where_pods_reach_it(tmp_path: Path) -> None:
    launch = every_launch(tmp_path)[Part.WEAVIATE]
    assert "--host=0.0.0.0" in launch.argv
    assert launch.env["GRADATIM_LISTEN_HOST"] == "0.0.0.0"
    assert launch.env["AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED"] == "false"
    assert launch.env["PERSISTENCE_DATA_PATH"] == "/run/gradatim/data/weaviate"
    assert launch.data == tmp_path / "data" / "weaviate"


def test_the_kubelets_configuration_is_locked_down() -> None:
    content = json.loads(configs.kubelet("gradatim-12345678"))
    assert content["authentication"]["anonymous"] == {"enabled": False}
    assert content["authentication"]["x509"] == {"clientCAFile": "/run/gradatim/pki/ca.crt"}
    assert content["authorization"] == {"mode": "Webhook"}
    assert content["cgroupRoot"] == "/gradatim-12345678"
    assert content["clusterDNS"] == ["10.210.0.1"]
    assert content["containerRuntimeEndpoint"] == "unix:///run/containerd/containerd.sock"
    assert "readOnlyPort" not in content


def test_pods_may_be_held_to_a_part_of_the_machines_memory() -> None:
    gib = 1 << 30
    free, held = (json.loads(configs.kubelet("g", limit, 16 * gib)) for limit in (0, 4 * gib))
    assert (free["systemReserved"], free["evictionHard"]["memory.available"]) == ({}, "100Mi")
    assert held["systemReserved"] == {"memory": str(12 * gib)}
    # The kubelet counts what is free below the limit of all pods too.
    assert held["evictionHard"]["memory.available"] == str(4 * gib // 10)
    assert json.loads(configs.kubelet("g", 32 * gib, 16 * gib))["systemReserved"] == {}


def test_containerd_keeps_everything_in_the_clusters_folders() -> None:
    content = tomllib.loads(configs.containerd("/usr/lib/cni", "native"))
    cri = content["plugins"]["io.containerd.grpc.v1.cri"]
    assert content["root"] == "/run/gradatim/containerd"
    assert content["plugins"]["io.containerd.internal.v1.opt"]["path"] == "/run/gradatim/containerd/opt"
    assert cri["containerd"] == {"snapshotter": "native"}
    assert cri["cni"] == {"bin_dir": "/usr/lib/cni", "conf_dir": "/run/gradatim/config/cni"}
    assert cri["sandbox_image"] == "localhost/pause:1"


def test_the_pod_network_is_a_bridge_with_host_ports() -> None:
    content = json.loads(configs.pod_network())
    assert [plugin["type"] for plugin in content["plugins"]] == ["bridge", "portmap"]
    assert content["plugins"][0]["ipam"]["ranges"] == [[{"subnet": "10.244.0.0/24"}]]


def test_the_name_server_forwards_to_nobody() -> None:
    text = configs.corefile()
    assert "forward" not in text
    assert "bind 10.210.0.1\n" in text
    assert configs.resolv_conf(search=False) == "nameserver 10.210.0.1\n"
    assert configs.resolv_conf(search=True).startswith("nameserver 10.210.0.1\nsearch default.svc.cluster.local ")


def test_kernel_settings_are_covered_not_changed(tmp_path: Path) -> None:
    mounts = inside.mount_commands(NodeLayout(tmp_path), ["cni", "dpkg"])
    covered = {argv[4]: argv[3] for argv in mounts if argv[-1].startswith("/proc/sys/")}
    assert covered == {
        f"/proc/sys/{name}": f"{tmp_path}/config/sysctl-{name.replace('/', '-')}" for name in configs.KERNEL_WISHES
    }
    assert set(inside.wish_files()) == {Path(source).name for source in covered.values()}
    assert inside.wish_files()["sysctl-vm-overcommit_memory"] == "1\n"


def test_mounts_spread_only_after_all_are_made_and_run_is_the_clusters_own(tmp_path: Path) -> None:
    mounts = inside.mount_commands(NodeLayout(tmp_path), ["cni", "dpkg"])
    assert mounts[-3:] == [
        ["mount", "-n", "--move", f"{tmp_path}/lib", "/var/lib"],
        ["mount", "-n", "--move", f"{tmp_path}/run", "/run"],
        ["mount", "-n", "--make-rshared", "/"],
    ]


def test_var_lib_is_shown_again_but_for_what_the_cluster_has_of_its_own(tmp_path: Path) -> None:
    mounts = inside.mount_commands(NodeLayout(tmp_path), ["cni", "dpkg"])
    below = {Path(argv[-1]).name: argv[-2] for argv in mounts if argv[0] == "mount" and f"{tmp_path}/lib/" in argv[-1]}
    assert below == {
        "dpkg": "/var/lib/dpkg", "kubelet": f"{tmp_path}/hidden/kubelet", "cni": f"{tmp_path}/hidden/cni",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        pytest.param({"GRADATIM_STATE": "/s/here"}, "/s/here-node", id="beside an explicit state folder"),
        pytest.param({"XDG_STATE_HOME": "/x"}, "/x/gradatim-node", id="beside the local platform's"),
    ],
)
def test_the_clusters_folder_is_not_the_local_platforms(env: dict[str, str], expected: str) -> None:
    assert default_node_state_dir(env) == Path(expected)

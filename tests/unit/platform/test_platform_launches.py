"""What the components are started with: loopback only, no secrets on command lines, no settings of the user's shell."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gradatim.api import ComputeProfile
from gradatim.platform import launches, objects, pki
from gradatim.platform.binaries import Toolset
from gradatim.platform.components import PORT_NAMES
from gradatim.platform.dirs import Layout
from gradatim.platform.processes import Launch
from gradatim.platform.state import PlatformState

PORTS = {name: 20_000 + number for number, name in enumerate(PORT_NAMES)}
ENV = {
    "PATH": "/bin", "HOME": "/home/u", "HTTPS_PROXY": "http://proxy.test", "RAY_ADDRESS": "elsewhere", "KUBECONFIG": "/theirs",
    "GRADATIM_STATE": "/theirs", "AWS_SECRET_ACCESS_KEY": "s3cret", "GOGC": "400",
}  # fmt: skip
KEYS = launches.WeaviateKeys("operator-key", "workload-key", "cluster-key")


def every_launch(root: Path) -> dict[str, Launch]:
    site = launches.Site(Layout(root), PORTS, ENV, "/venv/bin/python")
    kube = Toolset(root / "kube", single=False, version="v1")
    weaviate = Toolset(root / "weaviate", single=True, version="v2")
    made = (
        launches.etcd(site, kube, "v3"),
        launches.apiserver(site, kube, "v1"),
        launches.controller_manager(site, kube, "v1"),
        launches.weaviate(site, weaviate, KEYS),
        launches.ray(site, root / "private" / "ray-token", Path("/tmp/ray"), 2, "2.60"),
        launches.operator(site, "0.1", {"GRADATIM_WORKERS": "4"}),
    )
    return {launch.component.value: launch for launch in made}


def test_every_port_is_used_by_exactly_one_component(tmp_path: Path) -> None:
    text = {name: " ".join([*launch.argv, *launch.env.values()]) for name, launch in every_launch(tmp_path).items()}
    users = {port: [name for name, words in text.items() if str(number) in words] for port, number in PORTS.items()}
    # The API server is also told where etcd is.
    assert users.pop("etcd-client") == ["etcd", "kube-apiserver"]
    assert {port: len(names) for port, names in users.items()} == dict.fromkeys(users, 1)


@pytest.mark.parametrize(
    "component", ["etcd", "kube-apiserver", "kube-controller-manager", "weaviate", "ray", "operator"]
)
def test_no_component_is_told_another_address_than_loopback(tmp_path: Path, component: str) -> None:
    launch = every_launch(tmp_path)[component]
    assert not [word for word in (*launch.argv, *launch.env.values()) if "0.0.0.0" in word or "[::]" in word]


@pytest.mark.parametrize(
    "component", ["etcd", "kube-apiserver", "kube-controller-manager", "weaviate", "ray", "operator"]
)
def test_no_secret_is_on_a_command_line(tmp_path: Path, component: str) -> None:
    words = " ".join(every_launch(tmp_path)[component].argv)
    assert not [key for key in ("operator-key", "workload-key", "cluster-key", "s3cret") if key in words]


@pytest.mark.parametrize(
    ("component", "kept"),
    [
        pytest.param("etcd", {"PATH", "HOME"}, id="a server takes over only what it needs to run"),
        pytest.param(
            "kube-apiserver", {"PATH", "HOME", "GOGC"}, id="the API server may be given memory to spare CPU time"
        ),
        pytest.param("weaviate", {"PATH", "HOME"}, id="Weaviate sees neither proxy nor cloud credentials"),
        pytest.param(
            "ray",
            {"HOME", "HTTPS_PROXY", "AWS_SECRET_ACCESS_KEY", "GOGC"},
            id="workloads keep the user's proxy and clouds",
        ),
    ],
)
def test_the_users_environment_is_taken_over_with_care(tmp_path: Path, component: str, kept: set[str]) -> None:
    env = every_launch(tmp_path)[component].env
    assert {name for name, value in ENV.items() if env.get(name) == value} == kept


def test_jobs_find_the_python_that_has_the_workloads_first(tmp_path: Path) -> None:
    assert every_launch(tmp_path)["ray"].env["PATH"] == f"/venv/bin:{ENV['PATH']}"


def test_the_operator_runs_with_its_own_identity_and_settings(tmp_path: Path) -> None:
    env = every_launch(tmp_path)["operator"].env
    assert {name: value for name, value in env.items() if name == "KUBECONFIG" or name.startswith("GRADATIM_")} == {
        "KUBECONFIG": str(tmp_path / "private" / "operator.kubeconfig"),
        "GRADATIM_OPERATOR_NAMESPACE": "gradatim-system",
        "GRADATIM_METRICS_PORT": str(PORTS["operator-metrics"]),
        "GRADATIM_HEALTH_PORT": str(PORTS["operator-health"]),
        "GRADATIM_WORKERS": "4",
    }


def test_the_default_profile_is_valid_and_points_at_this_platform(tmp_path: Path) -> None:
    state = PlatformState(tmp_path, ports=PORTS)
    made = objects.default_profile(state, "/state/artifacts", ["/corpus"])
    spec = ComputeProfile.model_validate(made).spec
    assert spec.runtime.ray_cluster is not None
    assert spec.vector_store is not None
    assert (
        spec.runtime.ray_cluster.address,
        spec.runtime.ray_cluster.secrets_path,
        spec.artifact_store.root,
        spec.vector_store.endpoint,
        spec.vector_store.grpc_endpoint,
        spec.limits.allowed_source_roots,
    ) == (
        f"http://127.0.0.1:{PORTS['ray-dashboard']}",
        str(tmp_path / "secrets"),
        "file:///state/artifacts/{namespace}/",
        f"http://127.0.0.1:{PORTS['weaviate-http']}",
        f"http://127.0.0.1:{PORTS['weaviate-grpc']}",
        ["/corpus"],
    )


def test_the_operator_gets_no_rights_beyond_what_it_does() -> None:
    rights: dict[str, set[tuple[str, str]]] = {}
    for item in objects.rbac():
        for rule in item.get("rules", []):
            pairs = {(resource, verb) for resource in rule["resources"] for verb in rule["verbs"]}
            rights[item["kind"]] = rights.get(item["kind"], set()) | pairs
    everywhere = rights["ClusterRole"]
    assert not {pair for pair in everywhere if "*" in pair}
    assert {resource for resource, _ in everywhere} & {"secrets", "leases", "roles", "serviceaccounts"} == set()
    assert {verb for resource, verb in everywhere if resource in {"rayclusters", "workloads"}} == {"get"}
    # The pods of an attempt have names that only a list tells; no attempt may start before they are gone.
    assert {verb for resource, verb in everywhere if resource == "pods"} == {"get", "list"}
    assert {verb for resource, verb in everywhere if resource == "rayjobs"} == {
        "get",
        "list",
        "watch",
        "create",
        "delete",
    }
    assert {verb for resource, verb in everywhere if resource == "ragindices/status"} == {"update"}
    assert {verb for resource, verb in rights["Role"] if resource == "secrets"} == {"get"}


def certificate(folder: Path, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pki.pair(folder, name).crt.read_bytes())


def test_an_identity_of_the_api_server_does_not_open_etcd(tmp_path: Path) -> None:
    folder = tmp_path / "pki"
    pki.ensure(folder, dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
    etcd_ca, cluster_ca = certificate(folder, pki.ETCD_CA), certificate(folder, pki.CLUSTER_CA)
    issuers = {
        name: certificate(folder, name).issuer
        for name in ("admin", "operator", "controller-manager", "etcd-client", "etcd")
    }
    assert issuers == {
        "admin": cluster_ca.subject,
        "operator": cluster_ca.subject,
        "controller-manager": cluster_ca.subject,
        "etcd-client": etcd_ca.subject,
        "etcd": etcd_ca.subject,
    }
    key = etcd_ca.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    certificate(folder, "etcd-client").verify_directly_issued_by(etcd_ca)
    with pytest.raises(ValueError, match=r"(?i)issuer"):
        certificate(folder, "operator").verify_directly_issued_by(etcd_ca)


def test_only_the_administrator_is_in_the_group_of_masters(tmp_path: Path) -> None:
    pki.ensure(tmp_path / "pki", dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
    names = {
        name: [
            a.value
            for a in certificate(tmp_path / "pki", name).subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
        ]
        for name in ("admin", "operator", "controller-manager")
    }
    assert names == {"admin": ["system:masters"], "operator": [], "controller-manager": []}
    usage = certificate(tmp_path / "pki", "operator").extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_keys_are_made_once(tmp_path: Path) -> None:
    folder = tmp_path / "pki"
    pki.ensure(folder, dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    pki.ensure(folder, dt.datetime(2027, 1, 1, tzinfo=dt.UTC))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_kubeconfig_holds_one_identity(tmp_path: Path) -> None:
    folder = tmp_path / "pki"
    pki.ensure(folder, dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
    config: dict[str, Any] = json.loads(pki.kubeconfig(folder, "operator", "https://127.0.0.1:1"))
    assert [user["name"] for user in config["users"]] == ["operator"]
    assert config["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:1"
    assert "insecure-skip-tls-verify" not in json.dumps(config)

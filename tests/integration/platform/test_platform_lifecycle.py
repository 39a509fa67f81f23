"""`up`, `down` and `status` against real processes, with kills at the worst moments."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from tests.support.platform import API_SERVER, owned, private_platform, ray_of, weaviate_of

from gradatim.platform import (
    Component,
    PlatformError,
    PlatformState,
    UpOptions,
    down,
    health,
    load,
    pki,
    processes,
    status,
    up,
)
from gradatim.platform.components import closure
from gradatim.platform.dirs import Layout
from gradatim.platform.state import Record


def kube(state: PlatformState, user: str | None = "admin") -> httpx.Client:
    """Return a client of the API server with one identity, or with none."""
    context = health.tls_context(Layout(state.state_dir), pki.CLUSTER_CA, user or "admin")
    if user is None:
        context = ssl.create_default_context(cafile=str(state.state_dir / "pki" / "ca.crt"))
    return httpx.Client(base_url=state.api_server, verify=context, trust_env=False, timeout=20)


def pids(state: PlatformState) -> dict[Component, int]:
    return {component: record.pid for component, record in state.components.items()}


def make_namespace(state: PlatformState, name: str) -> None:
    with kube(state) as client:
        client.post("/api/v1/namespaces", json={"metadata": {"name": name}}).raise_for_status()


def has_namespace(state: PlatformState, name: str) -> bool:
    with kube(state) as client:
        return client.get(f"/api/v1/namespaces/{name}").is_success


def kill(record: Record) -> None:
    os.kill(record.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    with contextlib.suppress(psutil.NoSuchProcess):
        while psutil.Process(record.pid).status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
            time.sleep(0.02)


def test_up_twice_starts_nothing_and_down_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    first = up(UpOptions(folder, API_SERVER))
    try:
        said: list[tuple[str, str]] = []
        second = up(UpOptions(folder, API_SERVER), lambda *words: said.append(words))
        assert (pids(second), second.ports) == (pids(first), first.ports)
        assert [message for _, message in said if message == "starting"] == []
        assert {s.component: s.state for s in status(folder)} == {
            Component.ETCD: "running",
            Component.APISERVER: "running",
            Component.CONTROLLER_MANAGER: "running",
            Component.WEAVIATE: "stopped",
            Component.RAY: "stopped",
            Component.OPERATOR: "stopped",
        }
        assert all(s.resident_bytes > 10 * 2**20 and s.version for s in status(folder) if s.state == "running")
        make_namespace(first, "kept")
        down(folder)
        assert processes.marked(folder) == []
        assert {s.state for s in status(folder)} == {"stopped"}
        third = up(UpOptions(folder, API_SERVER))
        assert third.ports == first.ports
        assert has_namespace(third, "kept")
    finally:
        down(folder, purge=True)
    assert processes.marked(folder) == []
    assert not folder.exists()
    down(folder)


@pytest.mark.parametrize("victim", [Component.ETCD, Component.APISERVER, Component.CONTROLLER_MANAGER])
def test_a_killed_component_is_seen_and_brought_back_with_its_data(tmp_path: Path, victim: Component) -> None:
    with private_platform(tmp_path / "state") as state:
        make_namespace(state, "kept")
        kill(state.components[victim])
        assert next(s for s in status(state.state_dir) if s.component == victim).state == "dead"
        again = up(UpOptions(state.state_dir, API_SERVER))
        changed = {component for component, pid in pids(again).items() if pid != pids(state)[component]}
        # What leans on the victim may end with it on a busy machine, and is then brought back as well.
        assert victim in changed
        assert changed <= {victim, *[c for c in API_SERVER if victim in closure({c})]}
        assert again.ports == state.ports
        assert has_namespace(again, "kept")
        assert next(s for s in status(state.state_dir) if s.component == victim).state == "running"


def test_everything_killed_at_once_comes_back(tmp_path: Path) -> None:
    with private_platform(tmp_path / "state") as state:
        make_namespace(state, "kept")
        for record in state.components.values():
            kill(record)
        assert has_namespace(up(UpOptions(state.state_dir, API_SERVER)), "kept")


@pytest.mark.parametrize("content", [None, "", '{"format": 1, "compon'], ids=["deleted", "empty", "half-written"])
def test_down_ends_everything_without_a_readable_state_file(tmp_path: Path, content: str | None) -> None:
    folder = tmp_path / "state"
    with private_platform(folder):
        (folder / "state.json").unlink() if content is None else (folder / "state.json").write_text(content)
        assert len(processes.marked(folder)) == 3
        down(folder)
        assert processes.marked(folder) == []


def test_up_without_a_readable_state_file_replaces_what_runs(tmp_path: Path) -> None:
    with private_platform(tmp_path / "state") as state:
        make_namespace(state, "kept")
        (state.state_dir / "state.json").write_text("{")
        again = up(UpOptions(state.state_dir, API_SERVER))
        assert set(pids(again).values()).isdisjoint(pids(state).values())
        assert len(processes.marked(state.state_dir)) == 3
        assert has_namespace(again, "kept")


UP = """
    import sys
    from pathlib import Path
    from gradatim.platform import Component, UpOptions, up

    def say(component, message):
        print(component, message, flush=True)

    up(UpOptions(Path(sys.argv[1]), frozenset({Component.CONTROLLER_MANAGER})), say)
"""


@pytest.mark.parametrize(
    "moment", ["etcd starting", "kube-apiserver starting", "kube-apiserver installing", "controller-manager starting"]
)
@pytest.mark.parametrize("then", ["down", "up"])
def test_an_up_killed_half_way_is_cleaned_or_continued(tmp_path: Path, moment: str, then: str) -> None:
    folder = tmp_path / "state"
    argv = [sys.executable, "-c", textwrap.dedent(UP), str(folder)]
    with owned(folder):
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            seen = any(moment in line for line in process.stdout)
            process.kill()
        assert seen
        left = half_made(folder)
        if then == "up":
            state = up(UpOptions(folder, API_SERVER))
            assert {s.state for s in status(folder) if s.component in API_SERVER} == {"running"}
            with kube(state) as client:
                assert client.get("/apis/gradatim.dev/v1alpha1/ragindices").is_success
            assert len(processes.marked(folder)) == 3
            assert not [path for path in left if path.exists()]
    assert processes.marked(folder) == []
    assert not folder.exists()


def half_made(folder: Path) -> list[Path]:
    """Leave what an up leaves that is killed while it writes keys and kubeconfigs."""
    keys = folder / ".pki-x0y_z1ab"
    keys.mkdir(mode=0o700, parents=True)
    (keys / "ca.key").write_text("private")
    files = [folder / ".kubeconfig.123.0123abcd", folder / ".state.json.123.0123abcd"]
    for file in files:
        file.write_text("private")
    return [keys, *files]


@pytest.mark.parametrize("then", ["down", "up"])
def test_a_folder_in_which_an_up_was_killed_at_once_is_cleaned_or_used(tmp_path: Path, then: str) -> None:
    """Earlier releases left nothing but this after `down --purge`, and refused the folder from then on."""
    folder = tmp_path / "state"
    left = half_made(folder)
    with owned(folder):
        if then == "up":
            up(UpOptions(folder, frozenset({Component.ETCD})))
            assert not [path for path in left if path.exists()]
    assert not folder.exists()


def test_down_leaves_the_files_of_others_alone(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    with private_platform(folder, frozenset({Component.ETCD})):
        others = [folder / "notes.txt", folder / ".pki-notes", folder / ".notes.txt.123.0123abcd"]
        for file in others:
            file.write_text("mine")
        (folder / "client.json").write_text("{}")
    assert sorted(folder.iterdir()) == sorted(others)


def test_two_ups_at_the_same_time_give_one_platform(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    argv = [sys.executable, "-c", textwrap.dedent(UP), str(folder)]
    with owned(folder):
        running = [subprocess.Popen(argv, stdout=subprocess.DEVNULL) for _ in range(2)]
        assert [process.wait(180) for process in running] == [0, 0]
        assert len(processes.marked(folder)) == 3


def test_two_platforms_side_by_side_do_not_meet(tmp_path: Path) -> None:
    with private_platform(tmp_path / "one") as one, private_platform(tmp_path / "two") as two:
        assert set(one.ports.values()).isdisjoint(two.ports.values())
        make_namespace(one, "only-in-one")
        assert (has_namespace(one, "only-in-one"), has_namespace(two, "only-in-one")) == (True, False)
        # The administrator of one is nobody in the other.
        with kube(one) as client, pytest.raises(httpx.ConnectError):
            client.get(f"{two.api_server}/api/v1/namespaces")
        down(two.state_dir)
        assert {s.state for s in status(one.state_dir) if s.component in API_SERVER} == {"running"}


def test_a_port_taken_by_another_program_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    with private_platform(folder) as state:
        down(folder)
        taken = state.ports["apiserver"]
        message = rf"kube-apiserver needs port {taken}"
        with socket.create_server(("127.0.0.1", taken)), pytest.raises(PlatformError, match=message):
            up(UpOptions(folder, API_SERVER))


def test_a_reused_process_id_is_not_ended(tmp_path: Path) -> None:
    """The record names a living process of somebody else, as after a reboot."""
    folder = tmp_path / "state"
    with private_platform(folder, frozenset({Component.ETCD})) as state, subprocess.Popen(["sleep", "60"]) as bystander:
        text = (folder / "state.json").read_text()
        # Even its start time may be close: the mark in the environment decides.
        kill(state.components[Component.ETCD])
        (folder / "state.json").write_text(text.replace(str(state.components[Component.ETCD].pid), str(bystander.pid)))
        down(folder)
        assert bystander.poll() is None
        bystander.kill()


def test_a_component_that_cannot_start_is_reported_with_its_log(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    with private_platform(folder, frozenset({Component.ETCD})):
        down(folder)
        (folder / "pki" / "etcd.key").write_text("broken")
        with pytest.raises(PlatformError, match=r"etcd ended while starting; the end of .*etcd\.log: .*PEM"):
            up(UpOptions(folder, frozenset({Component.ETCD})))
        assert {s.state for s in status(folder) if s.component == Component.ETCD} == {"dead"}


def test_load_says_how_to_start_a_platform(tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match="gradatim up --state"):
        load(tmp_path / "none")


def test_the_api_server_refuses_the_unknown_and_limits_the_operator(apiserver: PlatformState) -> None:
    secret: dict[str, Any] = {"metadata": {"name": "private"}, "data": {}}
    with kube(apiserver) as admin:
        admin.post("/api/v1/namespaces", json={"metadata": {"name": "rights"}}).raise_for_status()
        admin.post("/api/v1/namespaces/rights/secrets", json=secret).raise_for_status()
    try:
        with kube(apiserver, None) as nobody:
            assert [nobody.get(path).status_code for path in ("/api/v1/namespaces", "/version", "/readyz")] == [401] * 3
        with kube(apiserver, "operator") as operator:
            group = "/apis/gradatim.dev/v1alpha1"
            foreign = "/api/v1/namespaces/rights/configmaps"
            deadline = time.monotonic() + 30  # an admission policy counts a moment after it was made
            while operator.post(foreign, params={"dryRun": "All"}, json={"metadata": {"name": "run"}}).is_success:
                assert time.monotonic() < deadline, "the policies are not in force"
                time.sleep(0.2)
            calls = {
                "read all indices": operator.get(f"{group}/ragindices"),
                "read profiles": operator.get(f"{group}/computeprofiles"),
                "read its own secret": operator.get("/api/v1/namespaces/gradatim-system/secrets/ray-token"),
                "list its own secrets": operator.get("/api/v1/namespaces/gradatim-system/secrets"),
                "read another secret": operator.get("/api/v1/namespaces/rights/secrets/private"),
                "list all secrets": operator.get("/api/v1/secrets"),
                "create an index": operator.post(f"{group}/namespaces/rights/ragindices", json={}),
                "delete an index": operator.delete(f"{group}/namespaces/rights/ragindices/x"),
                "make a ConfigMap that is no Run's": operator.post(
                    "/api/v1/namespaces/rights/configmaps", json={"metadata": {"name": "run"}}
                ),
                "change a ConfigMap": operator.put(
                    "/api/v1/namespaces/rights/configmaps/run", json={"metadata": {"name": "run"}}
                ),
                "give itself rights": operator.post(
                    "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
                    json={
                        "metadata": {"name": "x"},
                        "roleRef": {
                            "apiGroup": "rbac.authorization.k8s.io",
                            "kind": "ClusterRole",
                            "name": "cluster-admin",
                        },
                    },
                ),
            }
        allowed = {"read all indices", "read profiles", "read its own secret"}
        assert {what: answer.status_code != 403 for what, answer in calls.items()} == {
            what: what in allowed for what in calls
        }
        assert all(calls[what].is_success for what in allowed)
    finally:
        with kube(apiserver) as admin:
            admin.delete("/api/v1/namespaces/rights")


def test_etcd_refuses_every_identity_of_the_api_server(apiserver: PlatformState) -> None:
    """A client certificate of the cluster's authority must not be a way around access control."""
    context = health.tls_context(Layout(apiserver.state_dir), pki.CLUSTER_CA, "admin")
    context.load_verify_locations(str(apiserver.state_dir / "pki" / "etcd-ca.crt"))
    with httpx.Client(verify=context, trust_env=False) as client, pytest.raises((httpx.ConnectError, httpx.ReadError)):
        client.get(f"https://127.0.0.1:{apiserver.ports['etcd-client']}/health")


def test_service_accounts_get_tokens_that_work(apiserver: PlatformState) -> None:
    with kube(apiserver) as admin:
        deadline = time.monotonic() + 20
        while (
            not admin.get("/api/v1/namespaces/default/serviceaccounts/default").is_success
            and time.monotonic() < deadline
        ):
            time.sleep(0.1)
        answer = admin.post(
            "/api/v1/namespaces/default/serviceaccounts/default/token", json={"spec": {}}
        ).raise_for_status()
    with kube(apiserver, None) as client:
        headers = {"Authorization": f"Bearer {answer.json()['status']['token']}"}
        # Known, and without rights.
        assert client.get("/api/v1/namespaces", headers=headers).status_code == 403


def test_data_servers_survive_kills_and_listen_only_on_loopback(tmp_path: Path) -> None:
    """One test for Weaviate and Ray: each takes seconds to start."""
    components = frozenset({Component.WEAVIATE, Component.RAY, *API_SERVER})
    with private_platform(tmp_path / "state", components) as state:
        assert_loopback_only(state)
        assert_profile_points_here(state)
        weaviate, ray = weaviate_of(state), ray_of(state)
        with httpx.Client(trust_env=False, timeout=30) as client:
            assert client.get(f"{weaviate.endpoint}/v1/schema").status_code == 401
            assert client.get(f"{ray.address}/api/jobs/").status_code == 401
            for number, key in enumerate((weaviate.operator_key, weaviate.workload_key)):
                made = client.post(
                    f"{weaviate.endpoint}/v1/schema",
                    json={"class": f"C{number}"},
                    headers={"Authorization": f"Bearer {key}"},
                )
                assert made.status_code == 200
        assert run_job(
            state, "import ray; ray.init(); print(ray.get(ray.remote(lambda: 'from a worker').remote()))"
        ) == (
            "SUCCEEDED",
            True,
        )
        kill(state.components[Component.WEAVIATE])
        kill(state.components[Component.RAY])
        again = up(UpOptions(state.state_dir, components))
        with httpx.Client(
            trust_env=False, timeout=30, headers={"Authorization": f"Bearer {weaviate.workload_key}"}
        ) as client:
            classes = client.get(f"{weaviate.endpoint}/v1/schema").json()["classes"]
        assert sorted(item["class"] for item in classes) == ["C0", "C1"]
        assert run_job(again, "print('from a worker')") == ("SUCCEEDED", True)
        temp = Layout(state.state_dir).ray_temp()
    assert processes.marked(tmp_path / "state") == []
    assert not temp.exists()
    # Ray's helpers overwrite their environment; command lines still name the folder that only this Ray used.
    assert not [p.pid for p in psutil.process_iter(["cmdline"]) if str(temp) in " ".join(p.info["cmdline"] or [])]


def assert_loopback_only(state: PlatformState) -> None:
    ours = {process.pid for process in processes.marked(state.state_dir)}
    listening = [
        c for c in psutil.net_connections("inet") if c.pid in ours and (c.status == psutil.CONN_LISTEN or not c.raddr)
    ]
    assert len(listening) > 15
    assert {c.laddr.ip for c in listening if c.status == psutil.CONN_LISTEN} <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}


def assert_profile_points_here(state: PlatformState) -> None:
    with kube(state) as client:
        spec = client.get("/apis/gradatim.dev/v1alpha1/computeprofiles/default").raise_for_status().json()["spec"]
    assert spec["runtime"]["rayCluster"]["address"] == state.ray_dashboard
    assert spec["limits"]["allowedSourceRoots"] == [str(Path.cwd())]
    key = Path(spec["runtime"]["rayCluster"]["secretsPath"]) / spec["vectorStore"]["workloadSecretName"] / "api-key"
    assert key.read_text() == weaviate_of(state).workload_key


def run_job(state: PlatformState, code: str) -> tuple[str, bool]:
    """Submit a job over REST; return how it ended and whether its output arrived."""
    ray = ray_of(state)
    with httpx.Client(
        base_url=ray.address, trust_env=False, timeout=60, headers={"Authorization": f"Bearer {ray.token}"}
    ) as client:
        answer = client.post("/api/jobs/", json={"entrypoint": f'{sys.executable} -c "{code}"'})
        assert answer.is_success, answer.text
        job = answer.json()["submission_id"]
        deadline = time.monotonic() + 90
        while (end := client.get(f"/api/jobs/{job}").json()["status"]) in {
            "PENDING",
            "RUNNING",
        } and time.monotonic() < deadline:
            time.sleep(0.2)
        return end, "from a worker" in client.get(f"/api/jobs/{job}/logs").json()["logs"]


def test_data_of_an_etcd_that_was_never_healthy_is_thrown_away(tmp_path: Path) -> None:
    """A first start cut off between the log and its first entry would wait for a leader for ever."""
    folder = tmp_path / "state"
    with private_platform(folder, frozenset({Component.ETCD})) as state:
        kill(state.components[Component.ETCD])
        (folder / "data" / "etcd.kept").unlink()
        rubbish = folder / "data" / "etcd" / "member" / "rubbish"
        rubbish.write_text("half a log")
        up(UpOptions(folder, frozenset({Component.ETCD})))
        assert not rubbish.exists()
        rubbish.write_text("kept from now on")
        kill(load(folder).components[Component.ETCD])
        up(UpOptions(folder, frozenset({Component.ETCD})))
        assert rubbish.exists()


def profile_state(state: PlatformState) -> str:
    with kube(state) as client:
        answer = client.get("/apis/gradatim.dev/v1alpha1/computeprofiles/default").raise_for_status().json()
    return str(answer.get("status", {}).get("state"))


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while not (met := condition()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return met


def test_the_whole_platform_becomes_ready_and_a_killed_operator_comes_back(platform: PlatformState) -> None:
    """The operator, with its limited identity, reaches everything that the default profile names."""
    assert {s.component: s.state for s in status(platform.state_dir)} == dict.fromkeys(Component, "running")
    assert wait_until(lambda: profile_state(platform) == "Ready")
    kill(load(platform.state_dir).components[Component.OPERATOR])
    again = up(UpOptions(platform.state_dir))
    changed = {component for component, pid in pids(again).items() if pid != pids(platform)[component]}
    assert changed == {Component.OPERATOR}
    assert {s.state for s in status(platform.state_dir)} == {"running"}

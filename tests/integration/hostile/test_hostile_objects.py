"""Objects that the API server takes and the operator must survive: each ends in Stalled with a reason, and beside it all goes on.

Tested elsewhere: wrong profiles, suites, schedules and foreign ConfigMaps (`operator/test_acceptance_specs`), lying servers and results
(`operator_edges/test_lying_servers`), who may write what (`charts/test_chart_policies`, `charts/test_chart_rights`).
"""

from __future__ import annotations

import asyncio
import io
import json
from typing import Any

import pytest
from tests.support.kuberay_cases import KUBERAY
from tests.support.operator import Bench
from tests.support.watcher import PATHS, Body, condition, kstatus, truth

pytestmark = pytest.mark.asyncio(loop_scope="module")
Key = tuple[str, str, str]
KINDS = ("Dataset", "RAGIndex")
DEEPEST = 9_900  # the API server reads JSON up to 10,000 levels


def checked(kwargs: Any) -> Body:
    """Return the part of a spec that holds free-form arguments."""
    return {"validation": {"expectations": [{"type": "expect_column_to_exist", "kwargs": kwargs}]}}


def made(b: Bench, kind: str, ns: str, name: str = "one", **spec: Any) -> Body:
    """Return an object of a kind whose attempts succeed."""
    b.instant.script(f"{ns}.{name}", collectionObjects=1)
    return b.dataset(ns, name, **spec) if kind == "Dataset" else b.index(ns, name, **spec)


async def post(b: Bench, body: Body, here: str = "") -> Key:
    """Create an object with `here` in place of the text HERE; too large and too deep for the bench's own call."""
    kind, ns = body["kind"], body["metadata"]["namespace"]
    text = json.dumps(body, ensure_ascii=False).replace('"HERE"', here)
    url = b.state.api_server + PATHS[kind].format(ns=ns)
    async with b.session.post(
        url, data=io.BytesIO(text.encode()), headers={"Content-Type": "application/json"}
    ) as answer:
        assert answer.status == 201, (await answer.text())[:2000]
    return kind, ns, body["metadata"]["name"]


async def bystander(b: Bench) -> None:
    """Objects beside the hostile ones still become Ready, and the operator is the same process."""
    ns = await b.namespace()
    for kind in KINDS:
        await b.current(await b.apply(made(b, kind, ns, "bystander")))
    process = b.operators[-1].process
    assert process is not None
    assert process.returncode is None, b.operators[-1].tail()


async def stalled(b: Bench, key: Key, word: str) -> None:
    """Wait until the operator says what is wrong."""
    body = await b.watcher.until(key, lambda o: kstatus(o) == "Failed", "stalled")
    assert truth(body, "Stalled") == ("True", "InvalidSpec")
    assert word in condition(body, "Stalled")["message"]
    assert "run" not in body["status"]


async def healed(b: Bench, key: Key, undo: Body) -> None:
    """The object becomes Ready once the member is right."""
    await b.change(key, {"spec": undo})
    await b.current(key)


async def test_arguments_nested_without_end_stall_their_object_and_end_nothing_else(b: Bench) -> None:
    ns = await b.namespace()
    keys = []
    for kind in KINDS:
        for levels in (33, 300, DEEPEST):
            body = made(b, kind, ns, f"deep-{levels}", **checked({"value": "HERE"}))
            keys.append(await post(b, body, '{"a":' * levels + "1" + "}" * levels))
    for key in keys:
        await stalled(b, key, "kwargs are nested deeper than 32 levels")
    await bystander(b)
    operator = b.operators[-1]
    await operator.stop()
    await operator.start()  # its first list holds them all
    await bystander(b)
    for key in keys:
        await healed(b, key, {"validation": None})


async def test_inputs_that_no_config_map_holds_stall_their_object(b: Bench) -> None:
    ns = await b.namespace()
    keys = [
        await post(b, made(b, kind, ns, **checked({"value": "HERE"})), f'"{"x" * size}"')
        for kind, size in (("Dataset", 1_300_000), ("RAGIndex", 1_050_000))
    ]
    for key in keys:
        await stalled(b, key, "the inputs of a Run take")
    await bystander(b)
    for key in keys:
        await healed(b, key, {"validation": None})


async def test_a_suite_nested_without_end_stalls_its_reader(b: Bench) -> None:
    ns = await b.namespace()
    key = await b.apply(made(b, "Dataset", ns, validation={"suiteRef": {"name": "suite"}}))
    data = {"metadata": {"name": "suite", "namespace": ns}, "kind": "ConfigMap", "apiVersion": "v1"}
    await b.cluster.create(data | {"data": {"suite.json": "[" * 100_000}})
    await stalled(b, key, "suite.json")
    await b.watcher.until(key, lambda o: "not a usable JSON" in condition(o, "Stalled")["message"], "read")
    await b.cluster.merge("ConfigMap", ns, "suite", {"data": {"suite.json": '{"expectations": []}'}})
    await b.current(key)


TEXT = "$(touch /tmp/x) `id`; rm -rf / #'\"\n\r\0\x1b[2J\u202e\ud7ff\U0010ffff{{7*7}} ${HOME} %s ../../etc"


@pytest.mark.parametrize("kind", KINDS)
async def test_any_text_that_is_legal_is_carried_as_text(b: Bench, kind: str) -> None:
    ns = await b.namespace()
    extra: Body = (
        {"columns": {"text": TEXT, TEXT: "x"}} if kind == "Dataset" else {"embedding": {"prefix": {"query": TEXT}}}
    )
    key = await post(b, made(b, kind, ns, **checked({TEXT: TEXT}), **extra))
    body = await b.current(key)
    frozen = await b.cluster.get("ConfigMap", ns, body["status"]["run"]["name"])
    config = json.loads(frozen["data"]["config.json"])
    spec = config["dataset" if kind == "Dataset" else "index"]
    assert spec["validation"]["expectations"][0]["kwargs"] == {TEXT: TEXT}


async def test_half_a_surrogate_pair_is_replaced_before_it_is_stored(b: Bench) -> None:
    ns = await b.namespace()
    key = await post(b, made(b, "Dataset", ns, **checked({"value": "HERE"})), '"\\ud800"')
    body = await b.current(key)
    assert body["spec"]["validation"]["expectations"][0]["kwargs"] == {"value": "\ufffd"}


@pytest.mark.parametrize("kind", KINDS)
async def test_the_longest_name_there_is_works_and_leaves_nothing(b: Bench, kind: str) -> None:
    ns = await b.namespace()
    # 253 characters, of which the script's file, named after namespace and object, leaves fewer
    name = ".".join(["9" + "x" * 61 + "y"] * 4)[:236]
    key = await b.apply(made(b, kind, ns, name))
    body = await b.current(key)
    await b.remove(key)
    await b.until_nothing_left(body)


async def test_a_dataset_of_another_namespace_is_not_there(b: Bench) -> None:
    theirs, ours = await b.namespace(), await b.namespace()
    await b.current(await b.apply(made(b, "Dataset", theirs, "papers")))
    body = made(b, "RAGIndex", ours)
    body["spec"]["sources"] = [{"name": "docs", "source": {"datasetRef": {"name": "papers", "namespace": theirs}}}]
    key = await b.apply(body)  # without strict validation the member is dropped
    found = await b.watcher.until(key, lambda o: truth(o, "Reconciling") == ("True", "DatasetNotFound"), "waiting")
    assert found["spec"]["sources"][0]["source"] == {"datasetRef": {"name": "papers"}}
    assert "does not exist in this namespace" in condition(found, "Reconciling")["message"]
    await b.current(await b.apply(made(b, "Dataset", ours, "papers")))
    body = await b.current(key)
    frozen = await b.cluster.get("ConfigMap", ours, body["status"]["run"]["name"])
    (dataset,) = json.loads(frozen["data"]["config.json"])["datasets"]
    assert f"/{ours}/" in dataset["uri"]


def pod(**members: Any) -> Body:
    """Return an overlay of the pod's spec."""
    return {"spec": members}


def container(**members: Any) -> Body:
    """Return an overlay of the container ray."""
    return pod(containers=[{"name": "ray"} | members])


_TOKEN = {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}
OVERLAYS: list[tuple[str, Body, str]] = [
    ("privileges", container(securityContext={"privileged": True}), "securityContext must not be set"),
    ("a folder of the node", pod(volumes=[{"name": "v", "hostPath": {"path": "/"}}]), "v is a hostPath"),
    ("a foreign server's folder", pod(volumes=[{"name": "v", "nfs": {"server": "s", "path": "/"}}]), "v is a nfs"),
    ("the node's network", pod(hostNetwork=True), "spec.hostNetwork must not be set"),
    ("a port of the node", pod(containers=[{"name": "a", "ports": [{"hostPort": 80}]}]), "hostPort"),
    ("another image", container(image="evil"), "image must not be set"),
    ("a token by volume", pod(volumes=[_TOKEN]), "mounts a serviceAccountToken"),
    ("a token by flag", pod(automountServiceAccountToken=True), "automountServiceAccountToken must not be set"),
    ("ephemeral containers", pod(ephemeralContainers=[{"name": "e"}]), "ephemeralContainers must not be set"),
    (
        "an init container as root",
        pod(initContainers=[{"name": "i", "securityContext": {"runAsUser": 0}}]),
        "i: securityContext must not be set",
    ),
    ("variables that are nothing", container(env=None), "env is not a list of objects"),
    ("mounts that are a number", container(volumeMounts=[1]), "volumeMounts is not a list of objects"),
    ("a volume of nothing", pod(volumes=[{"name": "v", "projected": None}]), "v is not a projected volume"),
    ("depths", pod(affinity=json.loads("[" * 300 + "]" * 300)), "nested deeper than 32 levels"),
    ("a text instead of a pod", {"spec": "x"}, "spec is not an object"),
]


async def test_an_overlay_that_would_weaken_pods_stalls_its_profile_and_its_users(b: Bench) -> None:
    ns = await b.namespace()
    for number, (told, overlay, word) in enumerate(OVERLAYS):
        name = f"{b.profile}-o{number}"
        runtime = {**KUBERAY, "rayCluster": None, "kubeRay": {**KUBERAY["kubeRay"], "worker": {"podTemplate": overlay}}}
        body = b.profile_body(name, artifactStore={"root": "s3://store/{namespace}/"}, runtime=runtime)
        await b.cluster.create(body)
        key = await b.apply(made(b, "Dataset", ns, f"o{number}", compute={"profileRef": {"name": name}}))
        await stalled(b, key, word)
        profile = await settled_profile(b, name)
        assert truth(profile, "Stalled") == ("True", "InvalidSpec"), told
        assert word in condition(profile, "Stalled")["message"]
        await healed(b, key, {"compute": {"profileRef": {"name": b.profile}}})
        await b.cluster.delete("ComputeProfile", "", name)
    await bystander(b)


async def settled_profile(b: Bench, name: str) -> Body:
    """Return the profile once the operator has looked at it."""
    async with asyncio.timeout(30):
        while True:
            body = await b.cluster.get("ComputeProfile", "", name)
            if truth(body, "Stalled")[0]:
                return body
            await asyncio.sleep(0.05)

"""Who may use a profile and where its things are; names; the status that is written; settings."""

from __future__ import annotations

import re
from typing import Any

import pytest

from gradatim.api.common import Compute
from gradatim.api.computeprofile import ComputeProfile
from gradatim.api.dataset import DatasetStatus
from gradatim.api.runstatus import RunStatus, StoreIdentity
from gradatim.operator.naming import alias_name, event_name, run_name, short_hash, version_label
from gradatim.operator.profiles import blocked_by, identity_now, identity_of, same_stores, usable
from gradatim.operator.settings import RunSettings, Settings, SettingsError, load
from gradatim.operator.writing import equal, has_finalizer, merged_status

NOTHING: dict[str, Any] = {}


def profile(name: str = "default", *, ready: str = "True", **spec: Any) -> ComputeProfile:
    """Return a profile; `ready` empty means that it was not probed yet."""
    base: dict[str, Any] = {
        "runtime": {"type": "rayCluster", "rayCluster": {"address": "http://ray", "sharedTrust": True}},
        "artifactStore": {"root": "file:///s/{namespace}/", "operatorSecretName": "files"},
        "vectorStore": {"endpoint": "http://w", "grpcEndpoint": "http://w", "operatorSecretName": "vectors"},
    }
    at = "2026-01-01T00:00:00Z"
    told = {"type": "Ready", "status": ready, "reason": "Probed", "message": "Ray is away", "lastTransitionTime": at}
    status = {"status": {"conditions": [told]}} if ready else {}
    return ComputeProfile.model_validate(
        {"metadata": {"name": name, "uid": f"uid-{name}"}, "spec": base | spec} | status
    )


HOME = identity_of(profile())
LABELS: dict[str, Any] = {"allowedNamespaces": {"selector": {"matchLabels": {"team": "ml"}}}}
UNSHARED: dict[str, Any] = {"runtime": {"type": "rayCluster", "rayCluster": {"address": "http://ray"}}}
ELSEWHERE: dict[str, Any] = {"artifactStore": {"root": "file:///t/{namespace}/"}}
NO_VECTORS: dict[str, Any] = {"vectorStore": None}
USABLE: list[tuple[str, ComputeProfile | None, StoreIdentity | None, dict[str, Any], str | None, bool]] = [
    ("a ready one can be used", profile(), None, NOTHING, None, False),
    ("again too", profile(), HOME, NOTHING, None, False),
    ("one that does not exist is waited for", None, None, NOTHING, "ProfileNotFound", False),
    ("one that was not probed yet is waited for", profile(ready=""), None, NOTHING, "ProfileNotReady", False),
    ("one that is not ready is waited for", profile(ready="False"), None, NOTHING, "ProfileNotReady", False),
    ("one for others is refused", profile(**LABELS), None, NOTHING, "ProfileNotAllowed", True),
    ("the right label admits", profile(**LABELS), None, {"labels": {"team": "ml"}}, None, False),
    (
        "too many workers are refused",
        profile(limits={"maxWorkers": 2}),
        None,
        {"workers": 3},
        "ProfileNotAllowed",
        True,
    ),
    ("as many as allowed are not", profile(limits={"maxWorkers": 2}), None, {"workers": 2}, None, False),
    ("an index needs vectors", profile(**NO_VECTORS), None, {"vectors": True}, "ProfileNotAllowed", True),
    ("a Dataset does not", profile(**NO_VECTORS), None, NOTHING, None, False),
    (
        "other stores are refused once there are data",
        profile(**ELSEWHERE),
        HOME,
        NOTHING,
        "ProfileIdentityChanged",
        True,
    ),
    (
        "being refused goes before not being ready",
        profile(ready="", **LABELS),
        None,
        NOTHING,
        "ProfileNotAllowed",
        True,
    ),
]


@pytest.mark.parametrize(
    ("given", "known", "asked", "reason", "stalled"), [c[1:] for c in USABLE], ids=[c[0] for c in USABLE]
)
def test_whether_a_profile_can_be_used(
    given: ComputeProfile | None, known: StoreIdentity | None, asked: dict[str, Any], reason: str | None, stalled: bool
) -> None:
    labels, vectors = asked.get("labels", {}), asked.get("vectors", False)
    found = usable("default", given, known, labels, asked.get("workers", 1), needs_vectors=vectors)
    assert (found.reason.value if found else None) == reason
    if found is not None:
        assert found.stalled is stalled
        assert found.message


PODS = {"image": "a@sha256:" + "1" * 64, "rayVersion": "2.60.0", "queueName": "q"}
S3 = {"root": "s3://store/{namespace}/"}


def queue(*allowed: str, ready: str = "True", **more: Any) -> ComputeProfile:
    """Return a profile with a queue that allows these priorities; `any` stands for no list."""
    listed = {} if allowed == ("any",) else {"allowedPriorities": list(allowed)}
    runtime = {"type": "kuberay", "kubeRay": PODS | listed}
    return profile(ready=ready, runtime=runtime, artifactStore=S3, **more)


PRIORITIES: list[tuple[str, ComputeProfile, str | None, str]] = [
    ("any priority may be asked for without a list", queue("any"), "urgent", ""),
    ("one that is on the list may be asked for", queue("high", "normal"), "high", ""),
    ("nobody has to ask for one", queue("high"), None, ""),
    ("a standing cluster ignores it", profile(), "urgent", ""),
    (
        "another one is refused with those that are allowed",
        queue("normal", "high"),
        "urgent",
        "compute.priority is 'urgent'; ComputeProfile 'default' allows high, normal, or none",
    ),
    (
        "an empty list allows none",
        queue(),
        "high",
        "compute.priority is 'high'; ComputeProfile 'default' allows none; leave it out",
    ),
    (
        "it is refused before the profile is ready",
        queue("high", ready=""),
        "urgent",
        "compute.priority is 'urgent'; ComputeProfile 'default' allows high, or none",
    ),
    ("what else is refused goes first", queue("high", **LABELS), "urgent", "ComputeProfile 'default' does not allow this namespace"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "priority", "told"), [c[1:] for c in PRIORITIES], ids=[c[0] for c in PRIORITIES])
def test_which_priorities_a_profile_allows(given: ComputeProfile, priority: str | None, told: str) -> None:
    found = blocked_by(Compute(priority=priority), given, None, {}, needs_vectors=False)
    assert (found.message if found else "") == told
    if found is not None:
        assert (found.reason.value, found.stalled) == ("ProfileNotAllowed", True)


MOVED = profile(runtime={"type": "rayCluster", "rayCluster": {"address": "http://new", "operatorSecretName": "ray"}})
ROTATED = profile(artifactStore={"root": "file:///s/{namespace}/", "operatorSecretName": "files-2"})
PODS = HOME.model_copy(update={"runtime_type": "kuberay", "runtime_address": None, "runtime_secret": None})
ACTIVE = RunStatus(name="r", trigger="generation")
ENDED = ACTIVE.model_copy(update={"done": True})
PODS_MOVED = PODS.model_copy(update={"profile": "other", "profile_uid": "uid-other"})
OTHER = identity_of(profile("other"))
PODS_ROTATED = PODS.model_copy(update={"artifact_secret": "files-2"})
IDENTITIES: list[tuple[str, StoreIdentity | None, ComputeProfile | None, RunStatus | None, StoreIdentity | None]] = [
    ("nothing is known yet", None, None, None, None),
    ("the first profile gives it", None, profile(), None, HOME),
    ("a profile that is gone leaves it", HOME, None, ENDED, HOME),
    ("another profile does not change it during a Run", HOME, profile("other"), ACTIVE, HOME),
    ("and does between two, as what the old one names may be gone", HOME, profile("other"), ENDED, OTHER),
    ("and before the first", HOME, profile("other"), None, OTHER),
    ("one with other stores never does", HOME, profile("other", **ELSEWHERE), ENDED, HOME),
    ("other stores do not change it", HOME, profile(**ELSEWHERE), ENDED, HOME),
    ("new credentials count at once", HOME, ROTATED, ACTIVE, HOME.model_copy(update={"artifact_secret": "files-2"})),
    ("another Ray cluster does not count during a Run", HOME, MOVED, ACTIVE, HOME),
    ("and does between two, since the old one may be gone for good", HOME, MOVED, ENDED, identity_of(MOVED)),
    ("what KubeRay runs is KubeRay's", PODS, profile(), ACTIVE, PODS),
    ("and so is what it ran", PODS, profile(), ENDED, PODS),
    ("with new credentials for its stores", PODS, ROTATED, ENDED, PODS_ROTATED),
    ("also where the profile is another one", PODS, profile("other"), ENDED, PODS_MOVED),
    ("KubeRay that ran nothing is left at once", PODS, profile(), None, HOME),
    ("one that does not admit the namespace never does", HOME, profile("other", **LABELS), ENDED, HOME),
    ("nor one whose Ray cluster cannot keep it apart", HOME, profile("other", **UNSHARED), ENDED, HOME),
]


@pytest.mark.parametrize(
    ("known", "given", "run", "expected"), [c[1:] for c in IDENTITIES], ids=[c[0] for c in IDENTITIES]
)
def test_where_things_are(
    known: StoreIdentity | None, given: ComputeProfile | None, run: RunStatus | None, expected: StoreIdentity | None
) -> None:
    assert identity_now(known, given, run, {}) == expected


def test_stores_are_the_same_by_address_alone() -> None:
    assert same_stores(HOME, identity_of(profile("other", ready="")))
    assert not same_stores(HOME, identity_of(profile(**NO_VECTORS)))


DNS = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")


@pytest.mark.parametrize("name", ["one", "a.b.c", "9lives", "-", "x" * 253, "a" + "-" * 60, "1" * 60])
def test_the_name_of_a_run_is_a_short_dns_label(name: str) -> None:
    found = run_name(name, "uid", "generation/1/d")
    assert DNS.fullmatch(found)
    assert len(f"{found}-a10000") <= 47


def test_names_are_stable_and_distinct() -> None:
    assert run_name("one", "uid", "generation/1/d") == "one-c9487bd822"
    assert len({run_name("one", u, t) for u in ("u", "v") for t in ("a", "b")}) == 4
    assert alias_name("team-a", "handbook", "uid") == f"Nteam_a_handbook_{short_hash('team-a', 'handbook', 'uid')}"
    assert alias_name("a-b", "c", "u") != alias_name("a", "b-c", "u")
    assert alias_name("A", "c", "u").lower() != alias_name("a", "c", "u").lower()
    assert re.fullmatch(r"[A-Z][A-Za-z0-9_]{0,127}", alias_name("x" * 63, "y" * 253, "u"))
    assert version_label(3) == "v3"
    assert event_name("one", "a", "b") == event_name("one", "a", "b") != event_name("one", "ab")
    assert short_hash("ab", "c") != short_hash("a", "bc")


def test_fields_of_status_that_this_release_does_not_know_stay_and_ours_that_are_absent_go() -> None:
    raw = {"foreign": 1, "digest": "sha256:" + "0" * 64, "state": "Ready", "observedGeneration": 1}
    written = merged_status(raw, DatasetStatus(observed_generation=2))
    assert (written["foreign"], written["observedGeneration"], "digest" in written) == (1, 2, False)


EQUAL: list[tuple[str, dict[str, Any], dict[str, Any], bool]] = [
    ("the same", {"state": "Ready"}, {"state": "Ready"}, True),
    ("defaults spelt out", {"state": "Ready"}, {"state": "Ready", "observedGeneration": -1, "history": []}, True),
    ("unknown fields alone", {"state": "Ready", "x": 1}, {"state": "Ready"}, True),
    ("another state", {"state": "Ready"}, {"state": "Failed"}, False),
    ("one that cannot be read", {"state": "Nonsense"}, {"state": "Ready"}, False),
]


@pytest.mark.parametrize(("raw", "new", "expected"), [c[1:] for c in EQUAL], ids=[c[0] for c in EQUAL])
def test_whether_a_status_needs_no_write(raw: dict[str, Any], new: dict[str, Any], expected: bool) -> None:
    assert equal(raw, new, DatasetStatus) is expected


def test_the_finalizer_is_ours_alone() -> None:
    assert has_finalizer({"metadata": {"finalizers": ["x", "gradatim.dev/cleanup"]}})
    assert not has_finalizer({"metadata": {"finalizers": ["gradatim.dev/other"]}})
    assert not has_finalizer({"metadata": {}})


def test_settings_have_defaults_and_take_what_the_environment_says() -> None:
    assert load({}) == Settings()
    found = load(
        {"GRADATIM_WATCH_NAMESPACES": " a, b ,", "GRADATIM_POLL_MIN_SECONDS": "0.1", "GRADATIM_LOG_LEVEL": "debug"}
    )
    assert found == Settings(watch_namespaces=("a", "b"), log_level="DEBUG", runs=RunSettings(poll_min=0.1))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("GRADATIM_RESYNC_SECONDS", "soon", "GRADATIM_RESYNC_SECONDS must be a number, not 'soon'"),
        ("GRADATIM_WORKERS", "0", "GRADATIM_WORKERS must be at least 1, not 0"),
        ("GRADATIM_STOP_GRACE_SECONDS", "-1", "GRADATIM_STOP_GRACE_SECONDS must be at least 0, not -1"),
        ("GRADATIM_POLL_MAX_SECONDS", "inf", "GRADATIM_POLL_MAX_SECONDS must be at least 0.05, not inf"),
        ("GRADATIM_POLL_MAX_SECONDS", "nan", "GRADATIM_POLL_MAX_SECONDS must be at least 0.05, not nan"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(name: str, value: str, message: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(message)):
        load({name: value})

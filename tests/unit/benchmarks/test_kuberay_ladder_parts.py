"""What the KubeRay ladder computes itself: names, times, calls per object, and KubeRay's RayJobs made of ours."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from tests.benchmarks.kuberay_follow import Moments
from tests.benchmarks.kuberay_ladder import each, named
from tests.benchmarks.kuberay_world import NODE, Names, pinned_to_node

A, AAAA = 1, 28
NAME = b"\4head\2ns\3svc\0"


class Sent:
    """A transport that keeps what was sent."""

    def __init__(self) -> None:
        """Start empty."""
        self.messages: list[tuple[bytes, Any]] = []

    def sendto(self, data: bytes, addr: Any) -> None:
        """Keep a message."""
        self.messages.append((data, addr))


@pytest.mark.parametrize(
    ("kind", "answers", "tail"),
    [
        pytest.param(A, 1, b"\x7f\0\0\1", id="an address is loopback"),
        pytest.param(AAAA, 0, struct.pack("!HH", AAAA, 1), id="there is no address of the other family"),
    ],
)
def test_every_name_is_loopback(kind: int, answers: int, tail: bytes) -> None:
    names, sent = Names(), Sent()
    names.connection_made(sent)  # type: ignore[arg-type]
    question = NAME + struct.pack("!HH", kind, 1)
    extra = b"\0\0\x29\4\xd0\0\0\0\0\0\0"  # EDNS, which resolvers add
    names.datagram_received(struct.pack("!HHHHHH", 7, 0x0100, 1, 0, 0, 1) + question + extra, ("127.0.0.1", 4000))
    [(answer, to)] = sent.messages
    assert to == ("127.0.0.1", 4000)
    assert struct.unpack("!HHHHHH", answer[:12]) == (7, 0x8180, 1, answers, 0, 0)
    assert answer[12 : 12 + len(question)] == question
    assert answer.endswith(tail)


def test_a_moment_counts_once_and_lags_are_between_the_same_objects() -> None:
    moments = Moments({"begun": {("ns", str(n)): float(n) for n in range(4)}})
    assert moments.reached("ready", ("ns", "0"))
    assert not moments.reached("ready", ("ns", "0"))
    moments.seen["ready"] = {("ns", str(n)): n + 0.5 * n for n in range(3)}
    assert moments.lag("begun", "ready") == {"p50_s": 0.5, "p99_s": 0.5}
    assert (moments.count("ready"), moments.last("ready"), moments.count("failed")) == (3, 3.0, 0)


def test_calls_are_those_since_the_start_and_rare_ones_are_only_in_the_sum() -> None:
    before, after = {"GET": 10.0}, {"GET": 110.0, "POST": 50.0, "DELETE": 1.0}
    assert each(before, after, 50) == {"calls_per_object": 3.02, "calls": {"GET": 2.0, "POST": 1.0}}


def test_kuberay_gets_our_rayjob_without_owner_on_the_fake_node() -> None:
    head: dict[str, Any] = {"template": {"spec": {"containers": []}}}
    ours = {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {"name": "r-a1", "uid": "u", "ownerReferences": [{}], "finalizers": ["f"]},
        "spec": {
            "jobId": "r-a1",
            "submissionMode": "HTTPMode",
            "preRunningDeadlineSeconds": 900,
            "rayClusterSpec": {"headGroupSpec": head},
        },
        "status": {"jobStatus": "RUNNING"},
    }
    made = named(pinned_to_node(ours), 21)
    pinned = {"template": {"spec": {"containers": [], "nodeName": NODE}}}
    assert made == {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {"name": "papers-00021", "namespace": "ladder-01"},
        "spec": {"jobId": "papers-00021", "submissionMode": "HTTPMode", "rayClusterSpec": {"headGroupSpec": pinned}},
    }
    assert "nodeName" not in head["template"]["spec"]

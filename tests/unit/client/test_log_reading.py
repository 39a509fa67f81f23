"""Logs come from Ray under the attempt's name, piece by piece, and never carry the cluster's credentials."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gradatim.api import Dataset, RAGIndex
from gradatim.client.effects import Op, Request, Response
from gradatim.client.errors import (
    NotConfiguredError,
    NotFoundError,
    StalledError,
    UnauthorizedError,
    UnreachableError,
    UnsupportedError,
)
from gradatim.client.logs import LogPiece, LogReader, find_token
from gradatim.client.operations import target


def thing(*, attempts: int = 1, done: bool = False, address: str | None = "http://ray:8265/") -> dict[str, Any]:
    store = {"profile": "p", "profileUid": "u", "artifactRoot": "file:///s/"} | (
        {"runtimeAddress": address} if address else {}
    )
    run = {"name": "r", "trigger": "generation", "done": done, "attempts": [{"number": n + 1} for n in range(attempts)]}
    return {
        "metadata": {"name": "d", "namespace": "n"},
        "spec": {"source": {"path": "file:///d"}},
        "status": {"run": run, "store": store},
    }


PROFILE = {
    "metadata": {"name": "default"},
    "spec": {
        "runtime": {"rayCluster": {"address": "http://of-profile"}},
        "artifactStore": {"root": "file:///{namespace}/"},
    },
}


class Server:
    """Answers requests by path and remembers those for Ray."""

    def __init__(self, state: dict[str, Any], logs: dict[str, tuple[int, str]]) -> None:
        self.state, self.logs = state, logs
        self.asked: list[Request] = []
        self.silent: tuple[str, ...] = ()

    def run(self, op: Op[LogPiece]) -> LogPiece:
        try:
            effect = next(op)
            while True:
                assert isinstance(effect, Request)
                silent = UnreachableError(f"{effect.base} did not answer")
                effect = op.throw(silent) if effect.base in self.silent else op.send(self._answer(effect))
        except StopIteration as ended:
            piece: LogPiece = ended.value
            return piece

    def _answer(self, request: Request) -> Response:
        if request.base is None:
            body = PROFILE if "computeprofiles" in request.path else self.state
            return Response(200, {}, json.dumps(body).encode())
        self.asked.append(request)
        code, text = self.logs.get(request.path.split("/")[3], (404, ""))
        return Response(code, {}, json.dumps({"logs": text}).encode())


@pytest.fixture(autouse=True)
def _no_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("GRADATIM_RAY_TOKEN_FILE", raising=False)
    monkeypatch.setenv("GRADATIM_STATE", str(tmp_path / "state"))


def reader(tmp_path: Path, *, follow: bool = False) -> LogReader:
    return LogReader(target(Dataset, "d", "n"), state=tmp_path / "state", follow=follow)


def asked(state: dict[str, Any], *, taken: bool = False) -> dict[str, Any]:
    """Return an object that `gradatim rerun` was called on; the operator has seen its generation."""
    state["metadata"] |= {"annotations": {"gradatim.dev/requested-at": "T2"}, "generation": 1}
    state["status"] |= {"observedGeneration": 1, "lastRequested": "T2" if taken else "T1"}
    return state


def reconciling(state: dict[str, Any], reason: str, message: str) -> dict[str, Any]:
    condition = {"type": "Reconciling", "status": "True", "observedGeneration": 1, "reason": reason, "message": message}
    state["metadata"]["generation"] = 1
    state["status"] |= {
        "observedGeneration": 1,
        "conditions": [condition | {"lastTransitionTime": "2026-01-01T00:00:00Z"}],
    }
    return state


def test_pieces_add_up_across_attempts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("secret\n")
    monkeypatch.setenv("GRADATIM_RAY_TOKEN_FILE", str(tmp_path / "token"))
    server, log = Server(thing(), {"r-a1": (200, "one\n")}), reader(tmp_path)
    pieces = [server.run(log.next())]
    server.logs["r-a1"] = (200, "one\ntwo\n")
    pieces.append(server.run(log.next()))
    server.state, server.logs["r-a2"] = thing(attempts=2, done=True), (200, "again\n")
    pieces.append(server.run(log.next()))
    assert pieces == [
        LogPiece("r-a1", "one\n", False),
        LogPiece("r-a1", "two\n", False),
        LogPiece("r-a2", "again\n", True),
    ]
    assert {(r.base, r.headers["Authorization"]) for r in server.asked} == {("http://ray:8265", "Bearer secret")}


def test_the_profile_tells_the_address_where_the_status_does_not(tmp_path: Path) -> None:
    server = Server(thing(address=None, done=True), {"r-a1": (200, "x")})
    assert server.run(reader(tmp_path).next()).text == "x"
    assert [(r.base, dict(r.headers)) for r in server.asked] == [("http://of-profile", {})]


def test_a_log_that_is_not_there_yet_is_empty_while_the_run_goes_on(tmp_path: Path) -> None:
    assert Server(thing(), {}).run(reader(tmp_path).next()) == LogPiece("r-a1", "", False)
    with pytest.raises(NotFoundError, match="Ray has no log of r-a1"):
        Server(thing(done=True), {}).run(reader(tmp_path).next())
    with pytest.raises(NotFoundError, match="has not run yet"):
        Server(thing(attempts=0), {}).run(reader(tmp_path).next())


def test_a_refused_token_says_which_one_was_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(thing(), {"r-a1": (401, "")})
    with pytest.raises(NotConfiguredError, match="none is known") as missing:
        server.run(reader(tmp_path).next())
    assert "GRADATIM_RAY_TOKEN_FILE" in missing.value.hint
    (tmp_path / "token").write_text("old")
    monkeypatch.setenv("GRADATIM_RAY_TOKEN_FILE", str(tmp_path / "token"))
    with pytest.raises(UnauthorizedError, match="refused the token"):
        server.run(reader(tmp_path).next())


def test_a_kind_that_runs_nothing_has_no_log(tmp_path: Path) -> None:
    log = LogReader(target("computeprofile", "default", None), state=tmp_path)
    with pytest.raises(UnsupportedError, match="has no log"):
        Server(PROFILE, {}).run(log.next())


def test_the_token_comes_from_the_variable_before_a_local_platform_that_nobody_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "state"
    monkeypatch.setenv("GRADATIM_STATE", str(state))
    state.mkdir()
    own, other = "http://127.0.0.1:8265", "http://ray:8265"
    assert find_token(own, state, {}) is None
    (state / "token").write_text("platform")
    (state / "client.json").write_text(json.dumps({"ray_token_file": "token", "ray": own}))
    (tmp_path / "mine").write_text("mine")
    assert find_token(f"{own}/", state, {}) == "platform"
    mine = {"GRADATIM_RAY_TOKEN_FILE": str(tmp_path / "mine")}
    assert [find_token(address, None, mine) for address in (own, other)] == ["mine", "mine"]
    assert [find_token(address, state, mine) for address in (own, other)] == ["platform", "mine"]
    with pytest.raises(NotConfiguredError, match="cannot be read"):
        find_token(own, None, {"GRADATIM_RAY_TOKEN_FILE": str(tmp_path / "absent")})
    (state / "client.json").write_text("{")
    with pytest.raises(NotConfiguredError, match=r"client\.json cannot be read"):
        find_token(own, state, {})


def test_the_local_platform_s_token_goes_to_its_own_ray_cluster_only(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / "token").write_text("platform")
    (state / "client.json").write_text(json.dumps({"ray_token_file": "token", "ray": "http://127.0.0.1:8265"}))
    sent = {}
    for address in ("http://127.0.0.1:8265/", "http://ray:8265/", "http://127.0.0.1:9999/"):
        server = Server(thing(address=address, done=True), {"r-a1": (200, "x")})
        server.run(reader(tmp_path).next())
        sent[address] = [dict(request.headers) for request in server.asked]
    assert sent == {
        "http://127.0.0.1:8265/": [{"Authorization": "Bearer platform"}],
        "http://ray:8265/": [{}],
        "http://127.0.0.1:9999/": [{}],
    }


def test_after_a_rerun_the_log_says_that_it_is_the_earlier_run_s(tmp_path: Path) -> None:
    server = Server(asked(thing(done=True)), {"r-a1": (200, "old\n")})
    piece = server.run(reader(tmp_path).next())
    assert (piece.text, piece.last) == ("old\n", False)
    assert piece.note == "this is the log of r-a1, which is over; the Run that was requested has not started yet"


def test_after_a_rerun_following_waits_for_the_new_run_and_shows_that_one(tmp_path: Path) -> None:
    server, log = Server(asked(thing(done=True)), {"r-a1": (200, "old\n")}), reader(tmp_path, follow=True)
    waiting = server.run(log.next())
    assert (waiting, waiting.note) == (LogPiece("", "", False), "the Run that was requested has not started yet")
    new = reconciling(asked(thing(), taken=True), "InProgress", "attempt 1 is being handed to the runtime")
    new["status"]["run"] |= {"name": "r2"}
    server.state = new
    silent = server.run(log.next())
    assert silent == LogPiece("r2-a1", "", False)
    assert silent.note == "r2-a1 has written nothing yet (InProgress: attempt 1 is being handed to the runtime)"
    server.logs["r2-a1"] = (200, "new\n")
    new["status"]["run"]["done"] = True
    assert server.run(log.next()) == LogPiece("r2-a1", "new\n", True)


def test_following_goes_on_when_another_run_was_requested_meanwhile(tmp_path: Path) -> None:
    server, log = Server(asked(thing()), {"r-a1": (200, "one\n")}), reader(tmp_path, follow=True)
    assert server.run(log.next()) == LogPiece("r-a1", "one\n", False)
    server.state, server.logs = asked(thing(done=True)), {"r-a1": (200, "one\ntwo\n")}
    assert server.run(log.next()) == LogPiece("r-a1", "two\n", False)
    assert server.run(log.next()) == LogPiece("", "", False)
    server.state = asked(thing(done=True), taken=True)
    server.state["status"]["run"]["name"], server.logs = "r2", {"r2-a1": (200, "three\n")}
    assert server.run(log.next()) == LogPiece("r2-a1", "three\n", True)


def suspended(state: dict[str, Any]) -> dict[str, Any]:
    """Return an object that is suspended, as the operator shows it."""
    found = reconciling(state, "Suspended", "spec.suspend is set")
    found["status"]["conditions"][0]["type"] = "Suspended"
    return found


def pinned(state: dict[str, Any]) -> dict[str, Any]:
    """Return an index with the same status, and a pin."""
    state["spec"] = {
        "sources": [{"name": "a", "source": {"path": "file:///d"}}],
        "embedding": {"model": {"uri": "package://m"}},
        "versions": {"pin": {"digest": "sha256:" + "a" * 64}},
    }
    return state


def stopped(state: dict[str, Any]) -> dict[str, Any]:
    state["status"]["run"]["attempts"][-1]["outcome"] = "Stopped"
    return state


IN_VAIN: dict[str, tuple[type[Dataset] | type[RAGIndex], dict[str, Any], str]] = {
    "a request of a suspended object": (
        Dataset,
        suspended(asked(thing(done=True))),
        "no log to follow: Suspended: the requested run does not start: spec.suspend is set",
    ),
    "a request of a pinned index": (
        RAGIndex,
        pinned(asked(thing(done=True))),
        "no log to follow: Pinned: the requested run does not start: spec.versions.pin is set",
    ),
}


@pytest.mark.parametrize(("kind", "state", "message"), IN_VAIN.values(), ids=IN_VAIN.keys())
def test_a_run_that_will_not_start_is_not_followed(
    tmp_path: Path, kind: type[Dataset] | type[RAGIndex], state: dict[str, Any], message: str
) -> None:
    server = Server(state, {"r-a1": (200, "old\n")})
    with pytest.raises(StalledError, match=message) as found:
        server.run(LogReader(target(kind, "d", "n"), state=tmp_path / "state", follow=True).next())
    assert "lets it run" in found.value.hint
    piece = server.run(LogReader(target(kind, "d", "n"), state=tmp_path / "state").next())
    assert (piece.text, piece.last) == ("old\n", True), "without following there is the log of the earlier run"
    assert piece.note.startswith("this is the log of r-a1, which is over; ")


def test_a_pin_that_the_operator_has_not_seen_may_be_too_late_for_the_run_to_follow(tmp_path: Path) -> None:
    state = pinned(asked(thing(done=True)))
    state["metadata"]["generation"] = 2
    log = LogReader(target(RAGIndex, "d", "n"), state=tmp_path / "state", follow=True)
    waiting = Server(state, {"r-a1": (200, "old\n")}).run(log.next())
    assert (waiting, waiting.note) == (LogPiece("", "", False), "the Run that was requested has not started yet")


def test_following_ends_where_a_suspension_has_stopped_the_run(tmp_path: Path) -> None:
    server, log = Server(thing(), {"r-a1": (200, "one\n")}), reader(tmp_path, follow=True)
    assert server.run(log.next()) == LogPiece("r-a1", "one\n", False)
    server.state, server.logs = suspended(thing()), {"r-a1": (200, "one\ntwo\n")}
    assert server.run(log.next()) == LogPiece("r-a1", "two\n", False), "it is still stopping"
    server.state, server.logs = stopped(suspended(thing())), {"r-a1": (200, "one\ntwo\nstopped\n")}
    last = server.run(log.next())
    assert last == LogPiece("r-a1", "stopped\n", True)
    assert last.note == "r-a1 has ended and none follows it (Suspended: spec.suspend is set)"


def test_following_ends_with_its_run_when_the_one_requested_meanwhile_will_not_start(tmp_path: Path) -> None:
    server, log = Server(asked(thing()), {"r-a1": (200, "one\n")}), reader(tmp_path, follow=True)
    assert server.run(log.next()) == LogPiece("r-a1", "one\n", False)
    server.state = suspended(asked(thing(done=True)))
    assert server.run(log.next()) == LogPiece("r-a1", "", True)


def test_an_object_that_is_suspended_before_its_first_run_has_no_log_to_wait_for(tmp_path: Path) -> None:
    state = suspended(thing(attempts=0))
    del state["status"]["run"]
    for follow in (True, False):
        with pytest.raises(NotFoundError, match=r"has not run yet \(Suspended: spec.suspend is set\)") as found:
            Server(state, {}).run(reader(tmp_path, follow=follow).next())
        assert found.value.hint == "`gradatim resume dataset d` lets it run"


def test_following_may_begin_before_the_first_run(tmp_path: Path) -> None:
    state = reconciling(thing(attempts=0), "WaitingForProfile", "ComputeProfile 'default' is not ready")
    del state["status"]["run"]
    server, log = Server(state, {}), reader(tmp_path, follow=True)
    waiting = server.run(log.next())
    told = "the Run of the newest change has not started yet (WaitingForProfile: ComputeProfile 'default' is not ready)"
    assert (waiting, waiting.note) == (LogPiece("", "", False), told)
    server.state, server.logs = thing(done=True), {"r-a1": (200, "x")}
    server.state["status"]["observedGeneration"] = 0
    assert server.run(log.next()) == LogPiece("r-a1", "x", True)


def test_without_following_an_object_that_has_not_run_says_why_and_what_to_do(tmp_path: Path) -> None:
    state = reconciling(thing(attempts=0), "ConcurrencyLimit", "the profile's limit is reached")
    with pytest.raises(
        NotFoundError, match=r"has not run yet \(ConcurrencyLimit: the profile's limit is reached\)"
    ) as found:
        Server(state, {}).run(reader(tmp_path).next())
    assert found.value.hint == "gradatim logs dataset d --follow waits for it"


def test_what_an_attempt_wrote_at_its_end_is_not_lost_when_the_next_one_has_begun(tmp_path: Path) -> None:
    server, log = Server(thing(), {"r-a1": (200, "one\n")}), reader(tmp_path, follow=True)
    assert server.run(log.next()).text == "one\n"
    server.state, server.logs = thing(attempts=2, done=True), {"r-a1": (200, "one\nkilled\n"), "r-a2": (200, "two\n")}
    assert server.run(log.next()) == LogPiece("r-a1", "killed\n", False)
    assert server.run(log.next()) == LogPiece("r-a2", "two\n", True)


@pytest.mark.parametrize(
    ("address", "hint"),
    [("http://ray:8265", "inside the cluster only"), ("http://127.0.0.1:8265", "`gradatim status`")],
    ids=["a cluster's", "the local platform's"],
)
def test_a_silent_ray_cluster_has_a_hint_for_where_it_is(tmp_path: Path, address: str, hint: str) -> None:
    server = Server(thing(address=address), {})
    server.silent = (address,)
    with pytest.raises(UnreachableError, match="did not answer") as found:
        server.run(reader(tmp_path).next())
    assert hint in found.value.hint

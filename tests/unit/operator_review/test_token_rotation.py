"""A token that the API server refuses is read anew at once and once, and calls that are under way keep their connection."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import kopf
import pytest

from gradatim.operator import kube as module
from gradatim.operator.kube import CONFIG_MAPS, Kube, KubeError


class Session:
    """A session that sends its token and answers 401 unless it is the valid one."""

    made: list[Session] = []  # noqa: RUF012

    def __init__(self, *, headers: dict[str, str], **_: Any) -> None:
        self.token, self.closed, self.calls = headers.get("Authorization", ""), False, 0
        Session.made.append(self)

    def request(self, *_: Any, **__: Any) -> Any:
        """Answer."""
        self.calls += 1
        good = self.token == "Bearer good"

        class Answer:
            status, headers = (200, {}) if good else (401, {})

            async def __aenter__(self) -> Any:
                return self

            async def __aexit__(self, *_: Any) -> None:
                return None

            async def text(self) -> str:
                return '{"kind":"ConfigMap"}' if good else '{"reason":"Unauthorized","message":"no"}'

        return Answer()

    async def close(self) -> None:
        """Close."""
        self.closed = True


def identity(tokens: list[str]) -> Callable[..., kopf.ConnectionInfo]:
    """Return credentials that give the next token only when they are renewed."""
    state = {"at": 0}

    def current(*, renew: bool = False) -> kopf.ConnectionInfo:
        state["at"] = min(state["at"] + renew, len(tokens) - 1)
        return kopf.ConnectionInfo(server="http://api", token=tokens[state["at"]])

    return current


@pytest.fixture(autouse=True)
def sessions(monkeypatch: pytest.MonkeyPatch) -> list[Session]:
    """Put sessions without a network in the place of aiohttp's."""
    Session.made = []
    monkeypatch.setattr(module.aiohttp, "ClientSession", Session)
    monkeypatch.setattr(module.aiohttp, "TCPConnector", lambda **_: SimpleNamespace())
    return Session.made


async def test_a_refused_token_is_renewed_once_and_the_call_succeeds(sessions: list[Session]) -> None:
    kube = Kube(identity(["old", "good"]))
    assert await kube.get(CONFIG_MAPS, "team", "one") == {"kind": "ConfigMap"}
    assert [(s.token, s.calls, s.closed) for s in Session.made] == [("Bearer old", 1, False), ("Bearer good", 1, False)]
    await kube.close()
    assert [s.closed for s in Session.made] == [True, True]


async def test_a_token_that_stays_refused_is_an_error_after_two_calls(sessions: list[Session]) -> None:
    kube = Kube(identity(["old"]))
    with pytest.raises(KubeError) as refused:
        await kube.get(CONFIG_MAPS, "team", "one")
    assert (refused.value.status, sum(s.calls for s in Session.made)) == (401, 2)
    await kube.close()

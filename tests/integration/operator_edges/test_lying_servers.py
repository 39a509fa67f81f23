"""Dependencies that are down, slow, wrong or lying: every answer that is none must end as "unknown", never as "absent" or "failed"."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest
from aiohttp import web

from gradatim.api.reasons import Reason
from gradatim.operator.breaker import Guard, Rules
from gradatim.operator.errors import DependencyError
from gradatim.operator.runtimes.base import Launch
from gradatim.operator.runtimes.raycluster import RayCluster
from gradatim.operator.stores.weaviate import Weaviate
from gradatim.operator.wire import Call, Endpoint, open_session

NAME = "manuals-abc-a1"
LAUNCH = Launch(NAME, "team", '{"workload":"validate","run":"manuals-abc"}', "sha256:0", "u-1", 1)
TOKEN = "hunter2"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@contextlib.asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    """Serve every path with one handler on a free loopback port."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """Return a session as the operator opens it."""
    async with open_session() as opened:
        yield opened


def constant(status: int, body: str = "", **headers: str) -> Handler:
    """Return a handler that always answers the same."""

    async def handler(_request: web.Request) -> web.Response:
        return web.Response(status=status, text=body, headers={k.replace("_", "-"): v for k, v in headers.items()})

    return handler


async def broken_off(request: web.Request) -> web.StreamResponse:
    """Announce a body and hang up."""
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b'{"version": "1')
    assert request.transport is not None
    request.transport.close()
    return response


async def endless(request: web.Request) -> web.StreamResponse:
    """Send for as long as somebody reads."""
    response = web.StreamResponse()
    await response.prepare(request)
    with contextlib.suppress(ConnectionError):
        while True:
            await response.write(b" " * 65_536)
    return response


LIES = [
    pytest.param(constant(500, "boom"), Reason.RUNTIME_UNREACHABLE, id="500"),
    pytest.param(constant(503), Reason.RUNTIME_UNREACHABLE, id="503"),
    pytest.param(constant(404, "<html>no such page</html>"), Reason.RUNTIME_UNREACHABLE, id="the 404 of a proxy"),
    pytest.param(constant(404, "<html/>", Content_Type="text/html"), Reason.RUNTIME_UNREACHABLE, id="404 as HTML"),
    pytest.param(constant(200, "<html>hello</html>"), Reason.RUNTIME_UNREACHABLE, id="HTML"),
    pytest.param(constant(200, ""), Reason.RUNTIME_UNREACHABLE, id="nothing"),
    pytest.param(constant(200, "[]"), Reason.RUNTIME_UNREACHABLE, id="another JSON"),
    pytest.param(constant(200, '{"submission_id":"other-a1"}'), Reason.RUNTIME_UNREACHABLE, id="another submission"),
    pytest.param(constant(200, "[" * 200_000), Reason.RUNTIME_UNREACHABLE, id="deep JSON"),
    pytest.param(constant(302, "", Location="http://127.0.0.1:1/"), Reason.RUNTIME_UNREACHABLE, id="a redirect"),
    pytest.param(constant(401), Reason.CREDENTIALS_REFUSED, id="401"),
    pytest.param(constant(403), Reason.CREDENTIALS_REFUSED, id="403"),
    pytest.param(broken_off, Reason.RUNTIME_UNREACHABLE, id="broken off"),
    pytest.param(endless, Reason.RUNTIME_UNREACHABLE, id="endless"),
]


@pytest.mark.parametrize(("handler", "reason"), LIES)
async def test_a_lying_dashboard_proves_nothing(
    session: aiohttp.ClientSession, handler: Handler, reason: Reason
) -> None:
    async with serving(handler) as address:
        ray = RayCluster(session, address, TOKEN)
        for call in (ray.submit(LAUNCH), ray.observe(NAME), ray.delete(NAME), ray.version()):
            with pytest.raises(DependencyError) as caught:
                await call
            assert (caught.value.dependency, caught.value.reason) == ("runtime", reason)
            assert TOKEN not in caught.value.message
            assert "127.0.0.1" not in caught.value.message


@pytest.mark.parametrize(("handler", "reason"), LIES)
async def test_a_lying_weaviate_proves_nothing(
    session: aiohttp.ClientSession, handler: Handler, reason: Reason
) -> None:
    expected = reason if reason is Reason.CREDENTIALS_REFUSED else Reason.VECTOR_STORE_UNREACHABLE
    async with serving(handler) as address:
        store = Weaviate(session, address, TOKEN)
        name = "G0123456789_0123456789"
        # put_alias: a 200 is all there is to see of a success, so only the other answers can be told apart.
        calls = [
            store.version(),
            store.exists(name),
            store.count(name),
            store.alias("A"),
            store.aliases(),
            store.collections("G"),
        ]
        for call in calls:
            with pytest.raises(DependencyError) as caught:
                await call
            assert (caught.value.dependency, caught.value.reason) == ("vectorStore", expected)
            assert TOKEN not in caught.value.message


async def test_a_server_that_is_down_or_slow_is_unknown(session: aiohttp.ClientSession) -> None:
    async def slow(_request: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    async with serving(slow) as address:
        server = Endpoint(session, address, "runtime", "the Ray dashboard")
        with pytest.raises(DependencyError, match=r"did not answer within 0\.2 s"):
            await server.ask(Call("GET", "/", seconds=0.2))
    for call in (RayCluster(session, address).observe(NAME), RayCluster(session, address).submit(LAUNCH)):
        with pytest.raises(DependencyError, match="cannot be reached"):
            await call


async def test_a_server_that_hangs_is_left_alone_after_three_calls_and_asked_again_by_one(
    session: aiohttp.ClientSession,
) -> None:
    asked, release = 0, asyncio.Event()

    async def hangs(_request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        await release.wait()
        return web.json_response({})

    async with serving(hangs) as address:
        guard = Guard(Rules(pause=0.4))
        server = Endpoint(session, address, "vectorStore", "Weaviate", guard=guard)
        for _ in range(3):
            with pytest.raises(DependencyError, match="did not answer within"):
                await server.ask(Call("GET", "/", seconds=0.1))
        found = await asyncio.gather(*(server.ask(Call("GET", "/")) for _ in range(100)), return_exceptions=True)
        assert {str(e) for e in found} == {"Weaviate does not answer; it is asked again from time to time"}
        assert asked == 3
        release.set()
        await asyncio.sleep(0.5)
        assert (await server.ask(Call("GET", "/"))).status == 200
        answers = await asyncio.gather(*(server.ask(Call("GET", "/")) for _ in range(20)))
        assert {a.status for a in answers} == {200}


async def test_the_token_goes_to_the_server_and_to_no_other(session: aiohttp.ClientSession) -> None:
    seen: list[str | None] = []

    async def other(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Authorization"))
        return web.Response()

    async with serving(other) as elsewhere:

        async def redirect(request: web.Request) -> web.Response:
            seen.append(request.headers.get("Authorization"))
            return web.Response(status=307, headers={"Location": elsewhere + "/"})

        async with serving(redirect) as address:
            with pytest.raises(DependencyError, match="redirect"):
                await RayCluster(session, address, TOKEN).version()
    assert seen == [f"Bearer {TOKEN}"]


async def test_the_environments_proxy_is_not_used(
    session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(constant(200, '{"ray_version":"2.60.0"}')) as address:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:1")
        assert await RayCluster(session, address).version() == "2.60.0"


async def test_a_long_log_is_read_from_its_end(session: aiohttp.ClientSession) -> None:
    text = "".join(f"line {i}\n" for i in range(300_000))
    body = '{"logs": "' + text.replace("\n", "\\n") + '"}'
    async with serving(constant(200, body)) as address:
        assert await RayCluster(session, address).logs(NAME, 100) == text[-100:]

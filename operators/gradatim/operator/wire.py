"""HTTP to a dependency that may be down, slow, wrong or lying: bounded time, bounded size, no redirects, no proxies.

Used by `runtimes.raycluster` and `stores.weaviate`, which know what an answer means; this module only turns everything that is not an
answer into a `DependencyError`. It never logs or repeats a header, a token or a body.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import aiohttp

from gradatim.operator.breaker import Guard, Refused
from gradatim.operator.errors import Dependency, DependencyError, credentials_refused

MAX_BODY_BYTES = 1_048_576
CONNECT_SECONDS = 5.0
TOTAL_SECONDS = 20.0
_CHUNK = 65_536


def open_session(connections: int = 64, per_host: int = 16) -> aiohttp.ClientSession:
    """Return the one session that all dependencies share. Ignores the environment's proxies, keeps no cookies."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections, limit_per_host=per_host),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        headers={"Accept-Encoding": "identity", "User-Agent": "gradatim-operator"},
    )


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: any status, and at most the bytes that were asked for."""

    status: int
    body: bytes

    @property
    def text(self) -> str:
        """Return the body as text, for comparing with what a server is known to say; never for showing."""
        return self.body.decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class Call:
    """One request below the endpoint's address. `tail` keeps the last `limit` bytes of a body instead of refusing a longer one."""

    method: str
    path: str
    body: object = None
    query: Mapping[str, str] = field(default_factory=dict)
    seconds: float = TOTAL_SECONDS
    limit: int = MAX_BODY_BYTES
    tail: bool = False
    read_limit: int = 64 * MAX_BODY_BYTES


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server: its address, what people call it, and the bearer token that it takes."""

    session: aiohttp.ClientSession = field(repr=False)
    address: str
    dependency: Dependency
    label: str
    token: str | None = field(default=None, repr=False)
    guard: Guard = field(default_factory=Guard, repr=False)

    async def ask(self, call: Call) -> Answer:
        """Return the server's answer. Raises `DependencyError` if there is none, or if it is a redirect, a refusal or too large.

        One that hangs is not asked by everybody: then the error comes at once.
        """
        try:
            return self._checked(await self.guard.run(lambda: self._send(call)))
        except Refused as error:
            raise DependencyError(self.dependency, f"{self.label} {error}", delay=error.delay) from error
        except TimeoutError as error:
            raise self.fault(f"did not answer within {call.seconds:g} s") from error
        except aiohttp.ClientConnectionError as error:
            raise self.fault("cannot be reached") from error
        except (aiohttp.ClientError, ValueError) as error:
            raise self.fault("broke off or answered nonsense") from error

    async def _send(self, call: Call) -> Answer:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        timeout = aiohttp.ClientTimeout(total=call.seconds, sock_connect=CONNECT_SECONDS)
        async with self.session.request(
            call.method,
            self.address.rstrip("/") + call.path,
            json=call.body,
            params=dict(call.query) or None,
            headers=headers,
            timeout=timeout,
            allow_redirects=False,
        ) as response:
            return Answer(response.status, await self._body(response, call))

    async def ask_json(self, call: Call) -> object:
        """Return the JSON of a 200. Raises `DependencyError` for anything else."""
        return self.json(self.expect(await self.ask(call), 200))

    def expect(self, answer: Answer, *statuses: int) -> Answer:
        """Return the answer if it has one of the statuses; raises `DependencyError` otherwise."""
        if answer.status not in statuses:
            raise self.fault(f"answered with status {answer.status}")
        return answer

    def json(self, answer: Answer) -> object:
        """Return the body as JSON; raises `DependencyError` where it is none."""
        try:
            return json.loads(answer.body)
        except (ValueError, RecursionError) as error:
            raise self.fault("answered something that is not JSON") from error

    def fault(self, what: str) -> DependencyError:
        """Return the error "<label> <what>"."""
        return DependencyError(self.dependency, f"{self.label} {what}")

    def _checked(self, answer: Answer) -> Answer:
        if answer.status in {401, 403}:
            raise credentials_refused(self.dependency, self.label)
        if 300 <= answer.status < 400:
            raise self.fault("answered with a redirect, which is never followed")
        return answer

    async def _body(self, response: aiohttp.ClientResponse, call: Call) -> bytes:
        kept = bytearray()
        total = 0
        async for chunk in response.content.iter_chunked(_CHUNK):
            kept += chunk
            total += len(chunk)
            if len(kept) <= call.limit:
                continue
            if not call.tail or total > call.read_limit:
                raise self.fault(f"answered with more than {call.read_limit if call.tail else call.limit} bytes")
            del kept[: len(kept) - call.limit]
        return bytes(kept)


def member(document: object, name: str) -> object:
    """Return a member of a JSON object, or None where the document is no object or has none."""
    return document.get(name) if isinstance(document, dict) else None

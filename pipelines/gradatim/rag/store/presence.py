"""What a collection says about itself and how many objects it holds, asked over HTTP with the standard library alone.

A Run over unchanged sources asks this and ends: importing the client would take it longer than all else that it does. Counts come from
`Aggregate`, which is exact at once, as the operator's do. Whoever loads or searches uses `connection`.
"""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import quote

from gradatim.rag.store.address import VectorStoreAddress
from gradatim.rag.store.errors import CredentialsRefused, VectorStoreError, VectorStoreUnreachable

_NAME = re.compile(r"[A-Z][0-9A-Za-z_]{0,127}")
_TENANT = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TENANTS_PER_QUERY = 100
_MOST_BYTES = 64 * 1_048_576
_Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Presence:
    """A collection that exists: its description as it is, and its objects over all tenants."""

    description: str | None
    objects: int


def presence(address: VectorStoreAddress, name: str) -> Presence | None:
    """Look at the collection of that very name; None where there is none, or only an alias of that name.

    Raises VectorStoreUnreachable, CredentialsRefused, or VectorStoreError for an answer that cannot be used.
    """
    if not _NAME.fullmatch(name):
        raise VectorStoreError(f"{name[:128]!r} cannot be the name of a collection")
    with closing(_connection(address)) as connection:
        server = _Server(address, connection)
        schema = server.ask("GET", f"/v1/schema/{quote(name)}")
        # Asked for an alias, the server answers with the collection behind it.
        if not isinstance(schema, dict) or schema.get("class") != name:
            return None
        queries: Iterable[list[str]] = [[name]]
        if (schema.get("multiTenancyConfig") or {}).get("enabled"):
            queries = _of_tenants(name, server.ask("GET", f"/v1/schema/{quote(name)}/tenants"))
        return Presence(schema.get("description"), sum(_count(server, fields) for fields in queries))


def _connection(address: VectorStoreAddress) -> HTTPConnection:
    host, port, secure = address.http()
    seconds = address.timeouts.query
    if not secure:
        return HTTPConnection(host, port, timeout=seconds)
    import certifi  # what the client trusts, wherever the machine keeps its own certificates

    return HTTPSConnection(host, port, timeout=seconds, context=ssl.create_default_context(cafile=certifi.where()))


@dataclass(frozen=True, slots=True)
class _Server:
    address: VectorStoreAddress
    connection: HTTPConnection

    def ask(self, method: str, path: str, body: _Body | None = None) -> object:
        """Return the JSON of an answer; None where there is nothing at this path."""
        headers = {"Content-Type": "application/json"}
        if self.address.api_key:
            headers["Authorization"] = f"Bearer {self.address.api_key}"
        doing = f"asking Weaviate at {self.address.endpoint}"
        try:
            self.connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            answer = self.connection.getresponse()
            status, content = answer.status, answer.read(_MOST_BYTES + 1)
        except (OSError, HTTPException) as error:
            raise VectorStoreUnreachable(f"{doing}: {type(error).__name__}: {error}") from error
        if status in (401, 403):
            raise CredentialsRefused(f"{doing}: the API key was refused")
        if status >= 500:
            raise VectorStoreUnreachable(f"{doing}: it answered {path} with status {status}")
        # The server's own 404 has an empty or a JSON body; the page of a proxy before it has not.
        if status == 404 and content.strip()[:1] in {b"", b"{"}:
            return None
        try:
            if status == 200 and len(content) <= _MOST_BYTES:
                found: object = json.loads(content)
                return found
        except ValueError:
            pass
        raise VectorStoreError(
            f"{doing}: it answered {path} with status {status} and nothing to read; is it a Weaviate?"
        )


def _of_tenants(name: str, listed: object) -> Iterator[list[str]]:
    """Yield the fields of one query for a hundred tenants at a time."""
    tenants = [str(entry.get("name")) for entry in listed] if isinstance(listed, list) else [""]
    if not all(map(_TENANT.fullmatch, tenants)):
        raise VectorStoreError(f"Weaviate listed tenants of {name} that cannot be")
    for start in range(0, len(tenants), _TENANTS_PER_QUERY):
        yield [f'{name}(tenant:"{tenant}")' for tenant in tenants[start : start + _TENANTS_PER_QUERY]]


def _count(server: _Server, fields: list[str]) -> int:
    query = " ".join(f"c{number}:{field}{{meta{{count}}}}" for number, field in enumerate(fields))
    answer = server.ask("POST", "/v1/graphql", {"query": f"{{Aggregate{{{query}}}}}"})
    try:
        groups = answer["data"]["Aggregate"]  # type: ignore[index]  # whatever else it is, is caught
        return sum(int(groups[f"c{number}"][0]["meta"]["count"]) for number in range(len(fields)))
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise VectorStoreError(f"Weaviate could not count the objects of {fields[0]}: {str(answer)[:300]}") from error

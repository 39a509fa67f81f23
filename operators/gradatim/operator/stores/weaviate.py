"""Weaviate over its REST and GraphQL interfaces: collections, exact counts, aliases.

Opened by `stores.identity`; used to reconcile counts, to switch aliases after the gate and to clean up. It never writes objects: that is
the workload's. Counts come from `Aggregate`, which is exact at once and answers within milliseconds; node statistics lag behind.
"""

from __future__ import annotations

import re
from urllib.parse import quote

import aiohttp

from gradatim.api.reasons import Reason
from gradatim.operator.breaker import Guard
from gradatim.operator.errors import TryLater, WillNeverWork
from gradatim.operator.stores.aliases import AliasBook
from gradatim.operator.wire import Answer, Call, Endpoint, member

_NAME = re.compile(r"[A-Z][0-9A-Za-z_]{0,127}")
_TENANT = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TENANTS_PER_QUERY = 100
# A schema of ten thousand collections takes about 10 MiB.
_SCHEMA_BYTES = 64 * 1_048_576
_DELETE_SECONDS = 60.0


class Weaviate:
    """One Weaviate. Every method raises `DependencyError` where the server cannot be asked."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        address: str,
        api_key: str | None = None,
        guard: Guard | None = None,
        book: AliasBook | None = None,
    ) -> None:
        """Take the shared session, the REST address, the operator's API key, and the guard and the book of aliases that all calls share."""
        self._server = Endpoint(session, address, "vectorStore", "Weaviate", api_key, guard or Guard())
        self._book = book or AliasBook()

    async def version(self) -> str:
        """Return the server's version."""
        found = member(await self._server.ask_json(Call("GET", "/v1/meta")), "version")
        if not isinstance(found, str) or not found:
            raise self._server.fault("did not tell its version; the address may belong to another server")
        return found[:63]

    async def collections(self, prefix: str) -> list[str]:
        """Return the names of all collections that start with `prefix`, sorted. Reads the whole schema: for clean-up only."""
        document = await self._server.ask_json(Call("GET", "/v1/schema", limit=_SCHEMA_BYTES))
        names = [member(entry, "class") for entry in self._entries(document, "classes")]
        return sorted(name for name in names if isinstance(name, str) and name.startswith(prefix))

    async def exists(self, name: str) -> bool:
        """Return whether a collection of that very name exists; an alias of that name does not count."""
        return await self._schema(name) is not None

    async def count(self, name: str) -> int | None:
        """Return how many objects a collection holds, over all tenants; None where there is no such collection.

        Exact. Raises `DependencyError` while the server cannot count, as with a tenant that is not active.
        """
        schema = await self._schema(name)
        if schema is None:
            return None
        if member(member(schema, "multiTenancyConfig"), "enabled") is not True:
            return sum(await self._aggregate([f"{name}{{meta{{count}}}}"]))
        tenants = await self._tenants(name)
        total = 0
        for start in range(0, len(tenants), _TENANTS_PER_QUERY):
            batch = tenants[start : start + _TENANTS_PER_QUERY]
            fields = [f't{i}:{name}(tenant:"{tenant}"){{meta{{count}}}}' for i, tenant in enumerate(batch)]
            total += sum(await self._aggregate(fields))
        return total

    async def alias(self, name: str) -> str | None:
        """Return the collection that an alias leads to; None where there is no such alias. At most a second old where thousands ask."""
        path = f"/v1/aliases/{_checked(name)}"
        if self._book.crowded(name):
            return (await self._book.listing(self.aliases)).get(name)
        answer = await self._server.ask(Call("GET", path))
        if _is_absent(answer):
            return None
        target = member(self._server.json(self._server.expect(answer, 200)), "class")
        if not isinstance(target, str) or not target:
            raise self._server.fault("answered about an alias without saying where it leads")
        return target

    async def put_alias(self, name: str, collection: str) -> None:
        """Make the alias lead to the collection, at once and whether it exists or not.

        Raises `WillNeverWork` where a collection has the alias's name, `TryLater` where the collection does not exist.
        """
        if await self._set_alias(name, collection):
            return
        # 422 covers every refusal: look what it was instead of trusting its text.
        if not await self.exists(collection):
            raise TryLater(f"collection {collection} does not exist", reason=Reason.COUNT_MISMATCH)
        if await self.exists(name):
            raise WillNeverWork(
                Reason.NAME_CONFLICT, f"Weaviate has a collection {name}, which this alias needs as name"
            )
        if not await self._set_alias(name, collection):
            raise self._server.fault("refused to set an alias")

    async def delete_alias(self, name: str) -> None:
        """Remove an alias; a missing one is fine."""
        try:
            answer = await self._server.ask(Call("DELETE", f"/v1/aliases/{_checked(name)}"))
        finally:
            self._book.changed(name)
        if not _is_absent(answer):
            self._server.expect(answer, 200, 204)

    async def delete_collection(self, name: str) -> None:
        """Remove a collection with everything in it; a missing one is fine. Aliases that lead to it stay, and lead nowhere."""
        if await self.exists(name):
            call = Call("DELETE", f"/v1/schema/{_checked(name)}", seconds=_DELETE_SECONDS)
            self._server.expect(await self._server.ask(call), 200, 204)

    async def aliases(self) -> dict[str, str]:
        """Return every alias with its collection."""
        document = await self._server.ask_json(Call("GET", "/v1/aliases", limit=_SCHEMA_BYTES))
        pairs = [(member(entry, "alias"), member(entry, "class")) for entry in self._entries(document, "aliases")]
        return {alias: target for alias, target in pairs if isinstance(alias, str) and isinstance(target, str)}

    async def _set_alias(self, name: str, collection: str) -> bool:
        path, target = f"/v1/aliases/{_checked(name)}", _checked(collection)
        try:
            answer = await self._server.ask(Call("PUT", path, body={"class": target}))
            if _is_absent(answer):
                answer = await self._server.ask(Call("POST", "/v1/aliases", body={"alias": name, "class": target}))
        finally:
            self._book.changed(name)
        return self._server.expect(answer, 200, 422).status == 200

    async def _schema(self, name: str) -> object | None:
        answer = await self._server.ask(Call("GET", f"/v1/schema/{_checked(name)}"))
        if _is_absent(answer):
            return None
        document = self._server.json(self._server.expect(answer, 200))
        found = member(document, "class")
        if not isinstance(found, str):
            raise self._server.fault("answered about a collection without naming it")
        # Asked for an alias, the server answers with the collection behind it.
        return document if found == name else None

    async def _tenants(self, name: str) -> list[str]:
        document = await self._server.ask_json(Call("GET", f"/v1/schema/{_checked(name)}/tenants", limit=_SCHEMA_BYTES))
        names = [member(entry, "name") for entry in document] if isinstance(document, list) else [None]
        tenants = [tenant for tenant in names if isinstance(tenant, str) and _TENANT.fullmatch(tenant)]
        if len(tenants) != len(names):
            raise self._server.fault("listed tenants that cannot be")
        return tenants

    async def _aggregate(self, fields: list[str]) -> list[int]:
        query = {"query": f"{{Aggregate{{{' '.join(fields)}}}}}"}
        document = await self._server.ask_json(Call("POST", "/v1/graphql", body=query))
        found = member(member(document, "data"), "Aggregate")
        counts = [_count(entry) for entry in found.values()] if isinstance(found, dict) else []
        known = [count for count in counts if count is not None]
        if len(known) != len(fields):
            raise self._server.fault("could not count the objects of a collection")
        return known

    def _entries(self, document: object, name: str) -> list[object]:
        entries = member(document, name)
        if entries is None and isinstance(document, dict) and name in document:
            return []
        if not isinstance(entries, list):
            raise self._server.fault(f"answered without {name}")
        return entries


def _count(entry: object) -> int | None:
    first = entry[0] if isinstance(entry, list) and len(entry) == 1 else None
    value = member(member(first, "meta"), "count")
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise WillNeverWork(Reason.INVALID_SPEC, f"{name[:128]!r} cannot be the name of a collection or an alias")
    return quote(name, safe="")


def _is_absent(answer: Answer) -> bool:
    """Tell the server's own 404, whose body is empty or JSON, from the page of a proxy before it."""
    return answer.status == 404 and answer.body.strip()[:1] in {b"", b"{"}

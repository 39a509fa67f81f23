"""The vector store against a real Weaviate: exact counts at once, aliases that move in one step, deletion that may be repeated."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import aiohttp
import pytest
from tests.support.platform import WeaviateServer

from gradatim.api.reasons import Reason
from gradatim.operator.errors import DependencyError, TryLater, WillNeverWork
from gradatim.operator.runtimes.instant_load import Loader
from gradatim.operator.stores.aliases import CROWD
from gradatim.operator.stores.weaviate import Weaviate
from gradatim.operator.wire import Call, Endpoint, open_session


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """Return a session as the operator opens it."""
    async with open_session() as opened:
        yield opened


@pytest.fixture
async def store(session: aiohttp.ClientSession, weaviate_server: WeaviateServer) -> Weaviate:
    """Return the store with the operator's own key."""
    return Weaviate(session, weaviate_server.endpoint, weaviate_server.operator_key)


@pytest.fixture
async def load(session: aiohttp.ClientSession, weaviate_server: WeaviateServer) -> Loader:
    """Return what makes collections."""
    return Loader(session, weaviate_server.workload_key)


@pytest.fixture
def prefix() -> str:
    """Return a collection prefix that nothing else uses."""
    return f"G{uuid.uuid4().hex[:10]}_"


async def test_the_version_proves_that_weaviate_answers(store: Weaviate) -> None:
    major, minor, *_ = (await store.version()).split(".")
    assert (int(major), int(minor)) >= (1, 32)


async def test_counts_are_exact_right_after_a_load(
    store: Weaviate, load: Loader, prefix: str, weaviate_server: WeaviateServer
) -> None:
    name = prefix + "0123456789"
    assert await store.count(name) is None
    assert not await store.exists(name)
    for objects in (0, 2_345):
        await load(weaviate_server.endpoint, name, objects)
        assert await store.count(name) == objects
    assert await store.exists(name)
    assert await store.collections(prefix) == [name]


async def test_tenants_are_counted_together_or_not_at_all(
    store: Weaviate, prefix: str, session: aiohttp.ClientSession, weaviate_server: WeaviateServer
) -> None:
    name = prefix + "0123456789"
    server = Endpoint(session, weaviate_server.endpoint, "vectorStore", "Weaviate", weaviate_server.workload_key)
    tenancy = {"enabled": True, "autoTenantCreation": True}
    schema = {"class": name, "vectorizer": "none", "multiTenancyConfig": tenancy, "properties": []}
    server.expect(await server.ask(Call("POST", "/v1/schema", body=schema)), 200)
    assert await store.count(name) == 0
    objects = [{"class": name, "tenant": f"t{i % 150}", "properties": {}, "vector": [1.0]} for i in range(450)]
    answer = await server.ask(Call("POST", "/v1/batch/objects", body={"objects": objects}, seconds=60))
    server.expect(answer, 200)
    assert await store.count(name) == 450
    asleep = [{"name": "t7", "activityStatus": "COLD"}]
    server.expect(await server.ask(Call("PUT", f"/v1/schema/{name}/tenants", body=asleep)), 200)
    with pytest.raises(DependencyError, match="could not count"):
        await store.count(name)


async def test_an_alias_is_made_moved_and_removed(
    store: Weaviate, load: Loader, prefix: str, weaviate_server: WeaviateServer
) -> None:
    first, second, alias = prefix + "1111111111", prefix + "2222222222", "Team_manuals_" + prefix[1:9]
    for name in (first, second):
        await load(weaviate_server.endpoint, name, 1)
    assert await store.alias(alias) is None
    for target in (first, first, second, first):
        await store.put_alias(alias, target)
        assert await store.alias(alias) == target
    assert (await store.aliases())[alias] == first
    assert not await store.exists(alias), "an alias is no collection"
    assert await store.count(alias) is None
    await store.delete_collection(alias)
    assert await store.exists(first), "deleting under an alias's name leaves the collection alone"
    await store.delete_alias(alias)
    await store.delete_alias(alias)
    assert await store.alias(alias) is None
    for name in (first, second, second):
        await store.delete_collection(name)
    assert await store.collections(prefix) == []


async def test_a_crowd_of_questions_is_answered_from_one_list_that_own_writes_renew(
    store: Weaviate, load: Loader, prefix: str, weaviate_server: WeaviateServer
) -> None:
    first, second, alias = prefix + "1111111111", prefix + "2222222222", "Team_manuals_" + prefix[1:9]
    for name in (first, second):
        await load(weaviate_server.endpoint, name, 0)
    for target in (first, second):
        await store.put_alias(alias, target)
        found = await asyncio.gather(*(store.alias(alias) for _ in range(4 * CROWD)))
        assert set(found) == {target}
        assert await store.alias("Team_none_" + prefix[1:9]) is None
    await store.delete_alias(alias)
    assert await store.alias(alias) is None


async def test_what_an_alias_cannot_be(
    store: Weaviate, load: Loader, prefix: str, weaviate_server: WeaviateServer
) -> None:
    collection, other = prefix + "1111111111", prefix + "2222222222"
    for name in (collection, other):
        await load(weaviate_server.endpoint, name, 0)
    with pytest.raises(WillNeverWork) as conflict:
        await store.put_alias(other, collection)
    assert conflict.value.reason == Reason.NAME_CONFLICT
    for _ in range(2):
        with pytest.raises(TryLater) as missing:
            await store.put_alias("Team_" + prefix, prefix + "3333333333")
        assert missing.value.reason == Reason.COUNT_MISMATCH
    for name in ("lower", "A-b", "", "A/../B", 'A"){x}', "A" * 200):
        with pytest.raises(WillNeverWork):
            await store.put_alias(name, collection)
        with pytest.raises(WillNeverWork):
            await store.count(name)


@pytest.mark.parametrize("key", [None, "wrong"])
async def test_a_wrong_key_is_told_apart(
    session: aiohttp.ClientSession, weaviate_server: WeaviateServer, key: str | None
) -> None:
    store = Weaviate(session, weaviate_server.endpoint, key)
    for call in (store.version(), store.count("G0123456789_0123456789"), store.delete_alias("A")):
        with pytest.raises(DependencyError) as caught:
            await call
        assert caught.value.reason == Reason.CREDENTIALS_REFUSED

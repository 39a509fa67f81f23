"""Many questions about aliases within a second share one list; few do not, and what this process writes is seen at once."""

from __future__ import annotations

import asyncio

import pytest

from gradatim.api.runstatus import StoreIdentity
from gradatim.operator.sharedread import RECENT_SECONDS
from gradatim.operator.stores.aliases import CROWD, AliasBook
from gradatim.operator.stores.identity import VECTOR_KEY, Opener, Secret


class Store:
    """A list of aliases, a clock, and how often the list was read."""

    def __init__(self) -> None:
        self.now, self.reads = 100.0, 0
        self.aliases = {"Docs": "first"}
        self.error: Exception | None = None
        self.book = AliasBook(lambda: self.now)

    async def read(self) -> dict[str, str]:
        """Answer after others have had a turn."""
        self.reads += 1
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return dict(self.aliases)

    async def ask(self) -> str | None:
        """Return where the alias leads."""
        return (await self.book.listing(self.read)).get("Docs")


@pytest.mark.parametrize(
    ("per_second", "crowded"), [(CROWD // 2, False), (2 * CROWD, True)], ids=["as many as any time", "after a start"]
)
def test_a_crowd_is_more_than_so_many_questions_within_a_second(per_second: int, *, crowded: bool) -> None:
    store = Store()
    said = []
    for _ in range(3 * per_second):
        said.append(store.book.crowded("Docs"))
        store.now += 1 / per_second
    assert any(said) is crowded
    assert all(said[per_second:]) is crowded, "it stays one from second to second"
    store.now += 2
    assert not store.book.crowded("Docs")


async def test_a_crowd_shares_one_list_for_a_second() -> None:
    store = Store()
    assert set(await asyncio.gather(*(store.ask() for _ in range(100)))) == {"first"}
    store.aliases["Docs"] = "second"
    assert (await store.ask(), store.reads) == ("first", 1)
    store.now += RECENT_SECONDS + 0.01
    assert (await store.ask(), store.reads) == ("second", 2)


async def test_what_this_process_writes_is_asked_by_name_until_the_next_list_and_the_list_serves_the_others() -> None:
    store = Store()
    for _ in range(2 * CROWD):
        store.book.crowded("Docs")
    await store.ask()
    store.book.changed("Docs")
    assert [store.book.crowded(name) for name in ("Docs", "Other")] == [False, True]
    assert (await store.ask(), store.reads) == ("first", 1)
    store.now += RECENT_SECONDS + 0.01
    store.aliases["Docs"] = "second"
    assert store.book.crowded("Docs"), "the next list is begun after the write"
    assert (await store.ask(), store.reads) == ("second", 2)


async def test_a_write_while_a_list_is_read_is_not_taken_from_that_list() -> None:
    store = Store()
    for _ in range(2 * CROWD):
        store.book.crowded("Docs")
    reading = asyncio.create_task(store.ask())
    await asyncio.sleep(0)
    store.book.changed("Docs")
    await reading
    assert not store.book.crowded("Docs")


async def test_an_error_is_shared_and_not_kept() -> None:
    store = Store()
    store.error = OSError("away")
    told = await asyncio.gather(*(store.ask() for _ in range(3)), return_exceptions=True)
    assert ([str(t) for t in told], store.reads) == (["away"] * 3, 1)
    store.error = None
    assert await store.ask() == "first"


async def test_whoever_gives_up_takes_the_answer_from_nobody() -> None:
    store = Store()
    first, second = asyncio.create_task(store.ask()), asyncio.create_task(store.ask())
    await asyncio.sleep(0)
    first.cancel()
    assert await second == "first"


async def test_all_passes_share_the_book_of_a_store_until_its_key_changes() -> None:
    opener = Opener()
    identity = StoreIdentity(
        profile="p",
        profile_uid="u",
        artifact_root="file:///store/{namespace}/",
        vector_endpoint="http://vectors.example",
    )
    books = [opener.vectors(identity, Secret(version, {VECTOR_KEY: "k"}))._book for version in ("1", "1", "2")]
    await opener.close()
    assert books[0] is books[1]
    assert books[1] is not books[2]

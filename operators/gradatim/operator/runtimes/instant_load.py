"""Makes a real Weaviate collection for the instant runtime, as far as aliases and counts can tell.

Used by `instant` only, in tests that promote and clean up without Ray: one text property, tiny vectors, ids that make a repeated load
idempotent. Nothing of the product loads objects this way.
"""

from __future__ import annotations

import uuid

import aiohttp

from gradatim.operator.wire import Call, Endpoint

_BATCH = 1000


class Loader:
    """Callable as `InstantRuntime.load`."""

    def __init__(self, session: aiohttp.ClientSession, api_key: str | None = None) -> None:
        """Take the shared session and a key that may write."""
        self._session = session
        self._api_key = api_key

    async def __call__(self, address: str, collection: str, count: int) -> None:
        """Make the collection hold `count` objects at `address`."""
        server = Endpoint(self._session, address, "vectorStore", "Weaviate", self._api_key)
        schema = {
            "class": collection,
            "vectorizer": "none",
            "properties": [{"name": "text", "dataType": ["text"]}],
        }
        # 422: an earlier attempt made it.
        server.expect(await server.ask(Call("POST", "/v1/schema", body=schema)), 200, 422)
        for start in range(0, count, _BATCH):
            objects = [
                {
                    "class": collection,
                    "id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{collection}/{i}")),
                    "properties": {"text": f"chunk {i}"},
                    "vector": [1.0, float(i)],
                }
                for i in range(start, min(start + _BATCH, count))
            ]
            call = Call("POST", "/v1/batch/objects", body={"objects": objects}, limit=16 * 1_048_576, seconds=60.0)
            server.expect(await server.ask(call), 200)

"""What kopf asks for through our session: metadata alone where no body is read, and no list that trips it."""

from __future__ import annotations

from typing import Any

import kopf
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gradatim.operator import watches
from gradatim.operator.kube import METADATA_LIST, METADATA_ONLY

ROOT = "/apis/gradatim.dev/v1alpha1"


@pytest.mark.parametrize(
    ("path", "accept"),
    [
        (f"{ROOT}/ragindices?limit=500", METADATA_LIST),
        (f"{ROOT}/namespaces/team/ragindices?limit=500", METADATA_LIST),
        (f"{ROOT}/ragindices?watch=true", "*/*"),
        ("/apis/ray.io/v1/rayjobs?watch=true", METADATA_ONLY),
        (f"{ROOT}/datasets?limit=500", "*/*"),
        (f"{ROOT}/computeprofiles?watch=true", "*/*"),
        (ROOT, "*/*"),
        ("/version", "*/*"),
    ],
)
async def test_metadata_alone_is_asked_for_where_no_body_is_read(path: str, accept: str) -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.headers["Accept"])
        return web.json_response({})

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    async with TestServer(app) as server:
        made = watches.session(kopf.ConnectionInfo(server=str(server.make_url("/"))))
        async with made.aiohttp_session as session, session.get(server.make_url(path)):
            pass
    assert asked == [accept]


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ({"kind": "PartialObjectMetadataList", "metadata": {}, "items": None}, []),
        ({"items": [{"metadata": {}}]}, [{"metadata": {}}]),
        ({"kind": "Status", "code": 403}, None),
        ([1], None),
    ],
    ids=["an empty list of metadata", "a list", "an error", "no object"],
)
async def test_a_list_that_is_null_is_read_as_empty(sent: Any, read: list[Any] | None) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response(sent)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    async with TestServer(app) as server:
        made = watches.session(kopf.ConnectionInfo(server=str(server.make_url("/"))))
        async with made.aiohttp_session as session, session.get(server.make_url("/")) as response:
            found = await response.json()
    assert found == (sent if read is None else sent | {"items": read})

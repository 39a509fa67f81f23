"""kopf alone: what one watch event costs before anybody does anything with it.

Run as a child by `control_plane`. It watches RAGIndex objects through the product's own settings and session with a handler that counts,
and prints one JSON line per second of events and CPU seconds until it is ended. It decides and writes nothing.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import kopf
import psutil

from gradatim.api.meta import GROUP, VERSION
from gradatim.operator import watches


async def main() -> None:
    """Count events until the process is ended."""
    settings = watches.operator_settings()
    registry = kopf.OperatorRegistry()
    seen = {"events": 0}

    async def on_login(settings: kopf.OperatorSettings, **_: Any) -> kopf.AiohttpSession:
        return watches.session(watches.login(settings))

    async def count(**_: Any) -> None:
        seen["events"] += 1

    kopf.on.login(id="login", registry=registry)(on_login)
    kopf.on.event(GROUP, VERSION, "ragindices", id="count", registry=registry)(count)
    operator = asyncio.create_task(
        kopf.operator(registry=registry, settings=settings, clusterwide=True, standalone=True)
    )
    process = psutil.Process()
    while not operator.done():
        times = process.cpu_times()
        sys.stdout.write(json.dumps({"events": seen["events"], "cpu_s": times.user + times.system}) + "\n")
        sys.stdout.flush()
        await asyncio.sleep(1)


if __name__ == "__main__":
    asyncio.run(main())

"""The operator's two small HTTP servers: health and metrics.

Started by `main`. Liveness is fed by real work: a process whose workers hang, or whose resync no longer comes round, is not alive however
well its event loop answers.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from gradatim.operator.loop import Loop
from gradatim.operator.metrics import Metrics


class Health:
    """Answers /healthz and /readyz."""

    def __init__(self, loop: Loop, stall_after: float, ready: Callable[[], bool]) -> None:
        self._loop = loop
        self._stall_after = stall_after
        self._ready = ready
        self.last_resync = time.monotonic()

    def trouble(self, resync_interval: float) -> str | None:
        """Return why the process should be restarted, or None."""
        queue = self._loop.queue
        if queue.longest_pass() > self._stall_after:
            return f"a pass has been running for {queue.longest_pass():.0f} s"
        if queue.depth() and queue.oldest_age() > self._stall_after:
            idle = time.monotonic() - self._loop.last_progress
            if idle > self._stall_after:
                return f"keys wait, but no pass has ended for {idle:.0f} s"
        since = time.monotonic() - self.last_resync
        if since > 3 * resync_interval + self._stall_after:
            return f"no resync for {since:.0f} s"
        return None

    def application(self, resync_interval: float) -> web.Application:
        """Return the health application."""

        async def healthz(_: web.Request) -> web.Response:
            found = self.trouble(resync_interval)
            return web.Response(text=found or "ok", status=500 if found else 200)

        async def readyz(_: web.Request) -> web.Response:
            ready = self._ready()
            return web.Response(text="ok" if ready else "starting", status=200 if ready else 503)

        app = web.Application()
        app.router.add_get("/healthz", healthz)
        app.router.add_get("/readyz", readyz)
        return app


def metrics_application(metrics: Metrics) -> web.Application:
    """Return the metrics application."""

    async def scrape(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.router.add_get("/metrics", scrape)
    return app


async def serve(app: web.Application, host: str, port: int) -> web.AppRunner:
    """Start an application; the caller cleans the runner up. Raises `OSError` when the port is taken."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner

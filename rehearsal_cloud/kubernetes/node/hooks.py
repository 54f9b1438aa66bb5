"""Lifecycle hooks: postStart and preStop of a container."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from rehearsal_cloud.kubernetes.node.handlers import Errored, handle

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.node.runtime import Run
    from rehearsal_cloud.kubernetes.node.sandbox import Sandbox

LEAST_SECONDS = 2.0
"""What a container has left to end in, however long its hook took."""

_FOREVER = 86400.0


async def run(hook: Document, sandbox: Sandbox, container: Document, of: Run, name: str, seconds: float | None) -> bool:
    """Run a hook; a failed hook records an event and returns False."""
    try:
        if "sleep" in hook:
            async with asyncio.timeout(seconds):
                await asyncio.sleep(hook["sleep"]["seconds"])
            return True
        outcome = await handle(hook, sandbox, container, of, seconds or _FOREVER)
    except TimeoutError:
        return True
    except Errored as fault:
        text = str(fault)
    else:
        if outcome.well:
            return True
        text = outcome.output
    sandbox.events.warning(f"Failed{name}Hook", f"{name}Hook failed: {text}", container)
    return False

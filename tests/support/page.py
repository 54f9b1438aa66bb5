"""A page: what a browser keeps of a kernel's widgets, by the messages that JupyterLab would exchange with it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from jupyter_client.manager import start_new_kernel

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_SECONDS = 60.0


class Page:
    """A kernel, started in `folder`, and the widgets that it has shown, in the order in which they were made."""

    def __init__(self, folder: Path) -> None:
        self._manager, self._client = start_new_kernel(kernel_name="python3", cwd=str(folder))
        self.widgets: dict[str, dict[str, Any]] = {}
        self.outputs: list[dict[str, Any]] = []

    def close(self) -> None:
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)
        self._manager.cleanup_resources()

    def run(self, code: str) -> list[dict[str, Any]]:
        """Run a cell as somebody in JupyterLab does, and return its outputs."""
        self.outputs = []
        request = self._client.execute(code, allow_stdin=True)
        self._read(lambda message: _ends(message, request))
        errors = [one for one in self.outputs if "ename" in one]
        assert not errors, errors
        return self.outputs

    def printed(self, code: str) -> str:
        """Run a cell, and return what it printed."""
        return "".join(one.get("text", "") for one in self.run(code))

    def until(self, holds: Callable[[], Any]) -> None:
        """Take in what the kernel sends until `holds` does."""
        self._read(lambda _message: bool(holds()), at_once=True)

    def shown(self, kind: str = "HTML") -> str:
        """The values of all widgets of a kind, as they are now."""
        return "\n".join(str(one.get("value", "")) for one in self.widgets.values() if _kind(one) == kind)

    def has(self, description: str) -> bool:
        return any(description in _titles(one) for one in self.widgets.values())

    def widget(self, description: str) -> dict[str, Any]:
        return self.widgets[self._named(description)]

    def click(self, description: str) -> None:
        self._send(description, {"method": "custom", "content": {"event": "click"}})

    def set(self, description: str, **state: Any) -> None:
        self.widgets[self._named(description)] |= state
        self._send(description, {"method": "update", "state": state, "buffer_paths": []})

    def choose(self, description: str, label: str) -> None:
        """Choose of a list what begins so."""
        labels = self.widget(description)["_options_labels"]
        self.set(description, index=next(index for index, one in enumerate(labels) if one.startswith(label)))

    def _named(self, description: str) -> str:
        """The newest widget of that description, placeholder or tooltip."""
        named = (one for one, state in self.widgets.items() if description in _titles(state))
        found = list(named)
        assert found, f"{description} is not among {[_titles(one) for one in self.widgets.values()]}"
        return found[-1]

    def _send(self, description: str, data: dict[str, Any]) -> None:
        content = {"comm_id": self._named(description), "data": data}
        self._client.shell_channel.send(self._client.session.msg("comm_msg", content))

    def _read(self, ends: Callable[[dict[str, Any]], bool], *, at_once: bool = False) -> None:
        deadline = time.monotonic() + _SECONDS
        message: dict[str, Any] = {}
        while not ((at_once or message) and ends(message)):
            assert time.monotonic() < deadline, self.shown()
            while not self._client.iopub_channel.msg_ready():
                assert time.monotonic() < deadline, self.shown()
                time.sleep(0.02)
            message = self._client.get_iopub_msg(timeout=1)
            self._take(message["msg_type"], message["content"])

    def _take(self, kind: str, content: dict[str, Any]) -> None:
        if kind == "comm_open":
            self.widgets[content["comm_id"]] = dict(content["data"]["state"])
        elif kind == "comm_msg" and content["comm_id"] in self.widgets:
            self.widgets[content["comm_id"]] |= content["data"].get("state", {})
        elif kind == "comm_close":
            self.widgets.pop(content["comm_id"], None)
        elif kind in ("stream", "display_data", "execute_result", "error"):
            self.outputs.append(content)
        elif kind == "update_display_data":
            same = [one for one in self.outputs if one.get("transient") == content["transient"]]
            assert same, "JupyterLab shows it nowhere"
            for one in same:
                one.update(content)


def _ends(message: dict[str, Any], request: str) -> bool:
    idle = message["msg_type"] == "status" and message["content"]["execution_state"] == "idle"
    return idle and message["parent_header"].get("msg_id") == request


def _titles(state: dict[str, Any]) -> tuple[Any, ...]:
    return state.get("description"), state.get("placeholder"), state.get("tooltip")


def _kind(state: dict[str, Any]) -> str:
    return str(state.get("_model_name", "")).removesuffix("Model")

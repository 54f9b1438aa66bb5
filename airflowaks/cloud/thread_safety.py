"""Thread safety of the Azure SDKs' clients, which `converge` uses side by side.

Two things of theirs are made at the first use without a lock, so that first uses in several threads break each other:

- A generated model completes its class in `__new__` (`_utils/model_base.py` of azure-keyvault-secrets 4.11 and of every
  `azure.mgmt` package that has such a file): it goes through `__dict__` of classes to which another thread adds an
  attribute. The answer is "dictionary changed size during iteration", or, where the deserializer swallows that, a
  plain dict in place of a model: "'dict' object has no attribute 'attributes'".
- A pipeline opens its transport with the first request, and another thread may send through it before its adapters and
  its proxy settings are set (`RequestsTransport.open` of azure-core's `_requests_basic.py`).
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

Client = TypeVar("Client", bound=Any)

_lock = threading.Lock()
_completed: set[str] = set()
"""The packages whose classes are complete, which sessions of one process share."""


def thread_safe(client: Client) -> Client:
    """Return an SDK's client, or a pipeline's, that several threads may use at once: nothing of it is made later."""
    package = type(client).__module__.rpartition(".")[0]
    with _lock:
        if package not in _completed:
            for name in list(sys.modules):
                if name.startswith(f"{package}.") and name.endswith("model_base"):
                    for model in _subclasses(sys.modules[name].Model):
                        model.__new__(model)  # all of an SDK's take at most 40 ms
            _completed.add(package)
    client.__enter__()
    return client


def _subclasses(model: Any) -> Iterator[Any]:
    for subclass in model.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)

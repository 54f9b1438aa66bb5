"""First uses of the Azure SDKs in several threads at once, in a fresh process for each trial.

`python -m tests.support.first_uses TRIALS` counts the trials that failed and prints what was raised. A process is
forked after the imports, which take seconds, and before anything is used.
"""

from __future__ import annotations

import os
import sys
import threading
import traceback
from collections import Counter
from functools import cache, cached_property, partial
from importlib import import_module
from typing import Any

from airflowaks.cloud.connection import Connection
from airflowaks.config.environment import load_environment
from airflowaks.session import Session

CLIENTS = tuple(
    name for name, value in vars(Session).items() if isinstance(value, cached_property) and name != "operator"
)
"""The clients that a session makes once and shares."""
_IMPORTED = (
    "azure.keyvault.secrets",
    "azure.mgmt.authorization",
    "azure.mgmt.containerregistry",
    "azure.mgmt.containerregistrytasks",
    "azure.mgmt.containerservice",
    "azure.mgmt.keyvault",
    "azure.mgmt.msi",
    "azure.mgmt.postgresqlflexibleservers",
    "azure.mgmt.redis",
    "azure.mgmt.redisenterprise",
    "azure.mgmt.resource.resources",
)
_THREADS = 4
_SECRET = {"value": "v", "id": "https://vault/secrets/a/1", "attributes": {"enabled": True, "created": 1}}
_environment = cache(partial(load_environment, "local"))


def new_session() -> Session:
    return Session(_environment(), "plan", Connection(credential=object()))  # type: ignore[arg-type]


def models(package: str) -> list[Any]:
    """Return the models of the imported SDKs under `package`; older SDKs complete theirs when they are imported."""
    bases = [name for name in list(sys.modules) if name.startswith(f"{package}.") and name.endswith("model_base")]
    return [model for name in bases for model in sys.modules[name].Model.__subclasses__()]


def _use(session: Session) -> None:
    session.secrets("https://vault.example.com")
    generated = sys.modules["azure.keyvault.secrets._generated.models"]
    secret = sys.modules["azure.keyvault.secrets._generated._utils.model_base"]._deserialize(
        generated.SecretBundle, dict(_SECRET)
    )
    assert secret.attributes.enabled is True
    for name in CLIENTS:
        client = getattr(session, name)
        for model in models(type(client).__module__.rpartition(".")[0]):
            model({})


def _trial() -> str:
    sys.setswitchinterval(1e-6)
    session, raised = new_session(), set[str]()
    start = threading.Barrier(_THREADS)

    def use() -> None:
        start.wait()
        try:
            _use(session)
        except Exception as error:  # noqa: BLE001 - whatever is raised is a trial's result
            frame = traceback.extract_tb(error.__traceback__)[-1]
            raised.add(f"{error!r} in {frame.filename}, line {frame.lineno}")

    threads = [threading.Thread(target=use) for _ in range(_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return "; ".join(sorted(raised))


def _in_a_fork() -> str:
    reading, writing = os.pipe()
    process = os.fork()
    if not process:
        code = 1
        try:
            os.write(writing, _trial().encode()[:4000])
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        raised = pipe.read()
    _, status = os.waitpid(process, 0)
    return raised or (f"ended with {status}" if status else "")


def main(trials: int) -> int:
    for package in _IMPORTED:
        import_module(package)
    _environment()
    raised = Counter(_in_a_fork() for _ in range(trials))
    failed = trials - raised.pop("", 0)
    print(f"{failed} of {trials} failed")
    for text, count in raised.most_common():
        print(count, text)
    return failed


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])) > 0)

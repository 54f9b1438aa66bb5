"""The evidence bundle for support: an archive of a diagnosis's facts, logs and findings, without secrets."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import ZIP_DEFLATED, ZipFile

from airflowaks.engine.table import Table
from airflowaks.errors import InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflowaks.diagnosis.diagnose import Diagnosis
    from airflowaks.session import Session


def pack(session: Session, diagnosis: Diagnosis, path: str) -> Table:
    """Write the archive to `path`, redacted once more, and return a table of its files; do nothing without a path.

    Raises:
        InvalidParameter: the archive cannot be written.

    """
    if not path:
        return Table((), (), note="No archive was written: no path is set.")
    contents = {name: session.redactor.redact(text) for name, text in _contents(session, diagnosis).items()}
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with ZipFile(target, "w", ZIP_DEFLATED) as archive:
            for name, text in contents.items():
                archive.writestr(name, text)
        size = target.stat().st_size
    except OSError as error:
        message = f"bundle: {path} cannot be written: {str(error.strerror or error).lower()}."
        raise InvalidParameter(message, "Set `bundle` to a file that you can write.") from error
    rows = [(name, str(len(text.encode()))) for name, text in contents.items()]
    return Table(("file", "bytes"), rows, note=f"{target}: {size} bytes, all known secrets masked.")


def _contents(session: Session, diagnosis: Diagnosis) -> Mapping[str, str]:
    facts = diagnosis.facts
    findings = [finding.record() for finding in diagnosis.findings]
    return {
        "findings.txt": f"{diagnosis.findings.table(f'Findings in {session.environment.name}')}\n",
        "findings.json": _json(findings),
        "sources.txt": f"{diagnosis.sources()}\n",
        **{
            f"{name}.json": _json(asdict(getattr(facts, name)))
            for name in ("azure", "kubernetes", "airflow", "backend")
        },
        **{
            f"logs/{name}.{title}{suffix}.log": text
            for name, pod in facts.kubernetes.pods.items()
            for title, container in pod.containers.items()
            for suffix, text in (("", container.log), (".previous", container.previous))
            if text
        },
    }


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"

"""The schemas of Airflow's versions, to tell which of database and image is older.

Source: `_REVISION_HEADS_MAP` in `airflow/utils/db.py` of Airflow 3.3.2. A version has the schema of the last listed.
"""

from __future__ import annotations

import re
from itertools import takewhile

_REVISIONS = {
    (2, 10, 3): "5f2621c13b39",
    (3, 0, 0): "29ce7909c52b",
    (3, 0, 3): "fe199e1abd77",
    (3, 1, 0): "cc92b33c6709",
    (3, 1, 8): "509b94a1042d",
    (3, 2, 0): "1d6611b6ab7c",
    (3, 3, 0): "d2f4e1b3c5a7",
}
_ORDER = list(_REVISIONS.values())
_NEWEST = (3, 3, 2)
_VERSION = re.compile(r":v?(\d+)\.(\d+)\.(\d+)")


def expected(image: str, schema: str) -> str:
    """Return the schema of an image by the version in its tag, if it is another than `schema`; or nothing.

    It says nothing of an image without a version, nor of one that is newer than this table, if `schema` may be its own.
    """
    match = _VERSION.search(image)
    if not match or not schema:
        return ""
    version = tuple(map(int, match.groups()))
    revisions = [_REVISIONS[each] for each in takewhile(lambda each: each <= version, _REVISIONS)]
    may_be_its_own = version > _NEWEST and (schema not in _ORDER or schema == _ORDER[-1])
    return "" if not revisions or revisions[-1] == schema or may_be_its_own else revisions[-1]


def of_version(image: str) -> str:
    """Return the schema of an image by the version in its tag, or nothing without one and for a newer version."""
    match = _VERSION.search(image)
    version = tuple(map(int, match.groups())) if match else ()
    revisions = [_REVISIONS[each] for each in takewhile(lambda each: each <= version, _REVISIONS)]
    return revisions[-1] if revisions and version <= _NEWEST else ""


def is_newer(schema: str, than: str) -> bool:
    """Tell whether a schema is newer than another; one that the table does not have is."""
    return schema not in _ORDER or _ORDER.index(schema) > _ORDER.index(than)


def described(schema: str) -> str:
    """Return a schema with the first version of Airflow that has it."""
    versions = [".".join(map(str, version)) for version, revision in _REVISIONS.items() if revision == schema]
    return f"the schema {schema} (Airflow {versions[0]})" if versions else f"the schema {schema}"

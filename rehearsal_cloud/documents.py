"""The JSON that everything here keeps, takes and answers."""

from __future__ import annotations

from typing import Any

Document = dict[str, Any]

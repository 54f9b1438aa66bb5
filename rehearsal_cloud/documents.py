"""The type of JSON documents: stored, received and answered."""

from __future__ import annotations

from typing import Any

Document = dict[str, Any]

"""How much of a region's quota of machines is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.azure_requests import Sender
    from tests.support.rehearsal import Rehearsal

pytestmark = pytest.mark.broad


def test_the_cores_of_a_region_are_counted(rehearsal: Rehearsal, send: Sender) -> None:
    path = f"/subscriptions/{rehearsal.subscription}/providers/Microsoft.Compute/locations/westeurope/usages"
    usages, link = {}, f"{path}?api-version=2024-07-01"
    while link:
        page = send("GET", link).json()
        (usage,) = page["value"]
        usages[usage["name"]["value"]], link = usage, page.get("nextLink", "")
    total = usages.pop("cores")
    assert total["limit"] == 100
    assert total["currentValue"] == sum(one["currentValue"] for one in usages.values())
    nowhere = send("GET", f"{path.replace('westeurope', 'nowhere')}?api-version=2024-07-01").json()["value"]
    assert [one["currentValue"] for one in nowhere] == [0]

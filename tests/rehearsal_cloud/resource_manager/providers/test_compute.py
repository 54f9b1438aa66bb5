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
        usages |= {usage["name"]["value"]: usage for usage in page["value"]}
        link = page.get("nextLink", "")
    total = usages.pop("cores")
    assert total["limit"] == 1000
    assert total["currentValue"] == sum(one["currentValue"] for one in usages.values())
    nowhere = send("GET", f"{path.replace('westeurope', 'nowhere')}?api-version=2024-07-01").json()["value"]
    assert {one["currentValue"] for one in nowhere} == {0}


def test_sizes_say_what_the_subscription_may_not_have(rehearsal: Rehearsal, send: Sender) -> None:
    path = f"/subscriptions/{rehearsal.subscription}/providers/Microsoft.Compute/skus"
    query = "?api-version=2021-07-01&$filter=location eq 'westeurope'"
    rehearsal.control("POST", {"restriction": "size", "name": "Standard_D4ds_v5", "zones": ["3"]})
    rehearsal.control("POST", {"restriction": "size", "name": "Standard_D8ds_v5"})
    sizes, link = {}, f"{path}{query}"
    try:
        while link:
            page = send("GET", link).json()
            sizes |= {size["name"]: size for size in page["value"]}
            link = page.get("nextLink", "")
    finally:
        rehearsal.control("DELETE")
    assert sizes["Standard_D2ds_v5"]["restrictions"] == []
    (zone,) = sizes["Standard_D4ds_v5"]["restrictions"]
    assert (zone["type"], zone["restrictionInfo"]["zones"]) == ("Zone", ["3"])
    (region,) = sizes["Standard_D8ds_v5"]["restrictions"]
    assert (region["type"], region["reasonCode"]) == ("Location", "NotAvailableForSubscription")
    capabilities = {each["name"]: each["value"] for each in sizes["Standard_D4ds_v5"]["capabilities"]}
    assert (capabilities["vCPUs"], sizes["Standard_D4ds_v5"]["family"]) == ("4", "standardDDSv5Family")

"""Too many requests are answered with 429 and Retry-After, which the SDKs heed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from azure.mgmt.resource.resources import ResourceManagementClient

from rehearsal_cloud.errors import ServiceError
from rehearsal_cloud.resource_manager.throttle import Throttle

if TYPE_CHECKING:
    from tests.support.azure_requests import Sender
    from tests.support.rehearsal import Rehearsal


def drain(throttle: Throttle, object_id: str, *, writing: bool) -> int:
    for count in range(1000):
        try:
            throttle.check(object_id, writing=writing)
        except ServiceError:
            return count
    return 1000


@pytest.mark.parametrize(("writing", "size"), [(False, 250), (True, 200)])
def test_a_bucket_has_azures_size(*, writing: bool, size: int) -> None:
    throttle = Throttle(1.0)
    assert size <= drain(throttle, "one", writing=writing) <= size + 2
    with pytest.raises(ServiceError) as refused:
        throttle.check("one", writing=writing)
    assert (refused.value.status, refused.value.code) == (429, "SubscriptionRequestsThrottled")
    assert refused.value.headers == {"Retry-After": "1"}


def test_buckets_are_for_each_principal_and_kind() -> None:
    throttle = Throttle(1.0)
    drain(throttle, "one", writing=False)
    throttle.check("one", writing=True)
    throttle.check("two", writing=False)


def test_an_sdk_waits_as_long_as_it_is_told_and_goes_on(slow: Rehearsal, send_slowly: Sender) -> None:
    url = f"/subscriptions/{slow.subscription}?api-version=2022-12-01"
    answer = next(one for one in (send_slowly("GET", url) for _ in range(500)) if one.status_code != 200)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "1")
    assert answer.json()["error"]["code"] == "SubscriptionRequestsThrottled"
    with (
        slow.credential() as credential,
        ResourceManagementClient(credential, slow.subscription, **slow.transport) as client,
    ):
        assert not client.resource_groups.check_existence("none")

"""The replay of a trace: each request goes to this rehearsal, and its answer is compared with Azure's."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from rehearsal_cloud.comparison.client import served
from rehearsal_cloud.comparison.differences import Difference, differences
from rehearsal_cloud.comparison.pseudonyms import Pseudonyms, anonymous, pseudonyms_in
from rehearsal_cloud.comparison.trace import MASK, REFUSED
from rehearsal_cloud.entra.ready_made_users import USERS
from rehearsal_cloud.home import OPERATOR_OBJECT_ID, SUBSCRIPTION_ID, TENANT_ID

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from rehearsal_cloud.comparison.client import Client
    from rehearsal_cloud.comparison.differences import Answer
    from rehearsal_cloud.comparison.trace import Exchange, Trace

_VALUES = {"subscription": SUBSCRIPTION_ID, "tenant": TENANT_ID, "operator": OPERATOR_OBJECT_ID}
_SUBSCRIPTION = f"https://management.azure.com/subscriptions/{SUBSCRIPTION_ID}"
_PROVIDER = re.compile(r"/providers/(Microsoft\.\w+)")
_IN_PROGRESS = re.compile(r"(ing|inprogress|accepted|queued|started)$", re.IGNORECASE)
_STATES = (("status",), ("registrationState",), ("properties", "provisioningState"), ("properties", "state"))
# `NotFound` alone is a path that the rehearsal does not serve.
_ABSENT = re.compile(r"\wNotFound|\w+_UNKNOWN")
_MEMBERS = "/members/$ref"
_ACCEPTED, _UNAUTHORIZED, _NOT_FOUND = 202, 401, 404
_LIMITS = (429, 500, 502, 503, 504)
_REFUSED_SECONDS, _WORKING_SECONDS = 5.0, 300.0
_PAUSE_SECONDS = 0.05


class Replay:
    """Plays a trace.

    `differing` counts the differences by request, `skipped` the answers that were not compared by reason.
    """

    def __init__(self, trace: Trace, client: Client) -> None:
        self._client = client
        self._exchanges = trace.exchanges
        roles = {trace.roles[role]: _VALUES[role] for role in _VALUES if role in trace.roles}
        # The people whom an environment file names were there before; this tenant's own users stand in for them.
        self._pseudonyms = Pseudonyms(roles | dict(zip(_people(trace.exchanges, roles), USERS, strict=False)))
        self._answered: set[str] = set()
        self._written: set[str] = set()
        self._ahead: dict[tuple[str, str, str], Answer] = {}
        self.compared = 0
        self.differing: Counter[tuple[str, Difference]] = Counter()
        self.skipped: Counter[str] = Counter()

    def run(self) -> None:
        """Play all requests in their order; their providers are registered, as they may have been on Azure before."""
        for namespace in sorted({name for exchange in self._exchanges for name in _PROVIDER.findall(exchange.url)}):
            url = f"{_SUBSCRIPTION}/providers/{namespace}/register?api-version=2025-04-01"
            self._client.send("POST", url, None, signed_in=True)
        for number, exchange in enumerate(self._exchanges):
            if reason := self._play(number, exchange):
                self.skipped[reason] += 1
            else:
                self.compared += 1
            sent = pseudonyms_in(json.dumps([exchange.url, exchange.request]))
            self._answered |= pseudonyms_in(json.dumps([exchange.headers, exchange.response])) - sent
            if exchange.method != "GET" and not exchange.refused:
                self._written.add(exchange.path)

    def _play(self, number: int, exchange: Exchange) -> str:
        """Play and compare an exchange; return the reason where that is not possible."""
        if reason := self._unplayable(exchange):
            return reason
        answer = self._ahead.pop(exchange.key, None) or self._answer(exchange)
        if answer is None:
            return "requests to a host that nothing here has"
        if exchange.refused and answer.status < REFUSED and self._succeeds_later(number, exchange):
            self._ahead[exchange.key] = answer
            return "refusals of Azure that ended with time"
        working = exchange.method == "GET" and _in_progress(exchange.status, exchange.response)
        if working and not _in_progress(answer.status, answer.body):
            return "operations that had ended here"
        if not exchange.refused and self._is_absent(exchange, answer):
            return f"{_pattern(exchange)}: no request of the trace made it"
        for difference in differences(exchange, answer, self._pseudonyms):
            self.differing[_pattern(exchange), difference] += 1
        return ""

    def _unplayable(self, exchange: Exchange) -> str:
        if not served(self._pseudonyms.sent(exchange.host)):
            return f"{exchange.host}: the rehearsal does not stand in for it"
        if MASK in exchange.url or exchange.path.startswith("/oauth2/"):
            return "requests whose secrets are not in the trace"
        if "eventTimestamp" in exchange.url:
            return "the activity log of another time"
        if exchange.status in _LIMITS:
            return f"answers {exchange.status}, of a moment"
        pseudonyms = pseudonyms_in(json.dumps([exchange.url, exchange.request])) & self._answered
        if not all(map(self._pseudonyms.resolved, pseudonyms)):
            return "requests about what an answer here did not tell"
        return ""

    def _answer(self, exchange: Exchange) -> Answer | None:
        """Send the request, again while the rehearsal still works on what Azure had done."""
        url, text = self._pseudonyms.sent(exchange.url), self._pseudonyms.sent(json.dumps(exchange.request))
        started = time.monotonic()
        while True:
            signed_in = exchange.status != _UNAUTHORIZED
            answer = self._client.send(exchange.method, url, json.loads(text), signed_in=signed_in)
            if answer is None or not self._is_late(exchange, answer):
                return answer
            seconds = _REFUSED_SECONDS if answer.status >= REFUSED else _WORKING_SECONDS
            if time.monotonic() - started > seconds:
                return answer
            time.sleep(_PAUSE_SECONDS)

    def _is_late(self, exchange: Exchange, answer: Answer) -> bool:
        if exchange.refused:
            return False
        if answer.status >= REFUSED:
            return not self._is_absent(exchange, answer)
        working = _in_progress(answer.status, answer.body)
        return exchange.method == "GET" and working and not _in_progress(exchange.status, exchange.response)

    def _is_absent(self, exchange: Exchange, answer: Answer) -> bool:
        """Return whether the object is missing here because no request of the trace made it: SQL did, or others."""
        errors = answer.body if isinstance(answer.body, dict) else {}
        code = str((errors.get("error") or (errors.get("errors") or [{}])[0]).get("code"))
        return answer.status == _NOT_FOUND and bool(_ABSENT.search(code)) and exchange.path not in self._written

    def _succeeds_later(self, number: int, exchange: Exchange) -> bool:
        later = self._exchanges[number + 1 :]
        return any(each.key == exchange.key and not each.refused for each in later)


def _people(exchanges: Sequence[Exchange], roles: Collection[str]) -> list[str]:
    """Return who becomes a member of a group and was not told by an answer before, in the order of the requests."""
    told = set(roles)
    people: dict[str, None] = {}
    for exchange in exchanges:
        if exchange.path.endswith(_MEMBERS):
            people |= dict.fromkeys(sorted(pseudonyms_in(json.dumps(exchange.request)) - told))
        told |= pseudonyms_in(json.dumps(exchange.response))
    return list(people)


def _in_progress(status: int, body: Any) -> bool:
    """Return whether an answer is about an operation that has not ended."""
    states = []
    for path in _STATES:
        value = body
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        states.append(str(value))
    return status == _ACCEPTED or any(_IN_PROGRESS.search(state) for state in states)


def _pattern(exchange: Exchange) -> str:
    """Return the request without what differs between two resources of a kind."""
    parts = urlsplit(exchange.url)
    return f"{exchange.method} {anonymous(f'https://{parts.netloc}{parts.path}')}"

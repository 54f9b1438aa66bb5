"""The client of a cluster's Kubernetes API: objects are JSON, and each request has a valid token.

It uses azure-core's pipeline, as the Microsoft Graph client does, which renews tokens, retries and uses the proxy. The
package `kubernetes` would cost every notebook four seconds of CPU and 50 MB (measured with 37.0.2, where any import
loads all models), and the runbook needs no models.
Source: https://kubernetes.io/docs/reference/using-api/api-concepts
"""

from __future__ import annotations

import json
import threading
import time
from contextlib import closing, suppress
from functools import cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

from airflowaks.cloud.answers import cut_answer, web_page, web_page_behind
from airflowaks.cloud.cluster import find_address
from airflowaks.engine.polling import retry_on
from airflowaks.errors import AzureError, ClusterUnreachable, KubernetesError, MissingDependency
from airflowaks.kube.endpoint import pipeline
from airflowaks.kube.failures import failure, unreachable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from azure.core import PipelineClient
    from azure.core.rest import HttpResponse

    from airflowaks.cloud.cluster import Address
    from airflowaks.session import Session

Document = dict[str, Any]
"""A Kubernetes object as JSON."""

FIELD_MANAGER = "airflowaks"
_APPLY = "application/apply-patch+yaml"
JSON_PATCH = "application/json-patch+json"
_PAGE = 500
_QUIET_SECONDS = 10
_GRACE_SECONDS = 10
_DELETE_SECONDS = 5.0


class Reference(NamedTuple):
    """The identity of an object in a cluster."""

    api_version: str
    kind: str
    name: str
    namespace: str = ""

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Reference:
        """Return the reference of `document`."""
        metadata = document.get("metadata", {})
        return cls(document["apiVersion"], document["kind"], metadata.get("name", ""), metadata.get("namespace", ""))


class _Kind(NamedTuple):
    plural: str
    namespaced: bool


def connect(session: Session) -> Kube:
    """Return the client of the environment's cluster, for `session.memoize`. Raises azure-core's HttpResponseError."""
    return Kube(session, find_address(session.clusters, session.environment, session.connection.ca_bundle))


class Kube:
    """The Kubernetes API of one cluster. Thread-safe.

    Every method raises KubernetesError if the API refuses or does not answer, and MissingDependency if the API has no
    such kind.
    """

    def __init__(self, session: Session, address: Address, headers: Mapping[str, str] | None = None) -> None:
        self.session = session
        self.address = address
        self.headers = dict(headers or {})
        self._kinds: dict[str, dict[str, _Kind]] = {}
        self._lock = threading.Lock()

    def impersonating(self, user: str, group: str) -> Kube:
        """Return a client that impersonates `user` of `group` (an Entra object ID); this needs the verb impersonate."""
        headers = {"Impersonate-User": user, "Impersonate-Group": group}
        client = Kube(self.session, self.address, headers)
        client.__dict__["_pipeline"] = self._pipeline
        return client

    # Objects

    def get(self, reference: Reference) -> Document | None:
        """Return an object, or None if the object, its namespace or its kind does not exist."""
        return self._request_present("GET", reference)

    def each(
        self, api_version: str, kind: str, namespace: str = "", *, labels: str = "", fields: str = ""
    ) -> Iterator[Document]:
        """Yield the objects of a kind in one namespace, or in all of them, by label and field selectors.

        The next page is requested only when it is needed.
        """
        path = self.path(Reference(api_version, kind, "", namespace))
        query = _given(labelSelector=labels, fieldSelector=fields, limit=str(_PAGE))
        while True:
            page = self.request("GET", path, query)
            for item in page["items"]:
                # The items of a list have no apiVersion and kind.
                yield {"apiVersion": api_version, "kind": kind, **item}
            if not (token := page["metadata"].get("continue")):
                return
            query["continue"] = token

    def apply(self, document: Document, *, dry_run: bool = False, force: bool = False) -> Document:
        """Apply an object server-side and return it; a dry run returns the result without writing.

        Raises FieldConflict if another field manager set different values, unless `force` takes its fields over.
        """
        query = {"fieldManager": FIELD_MANAGER, "force": str(force).lower(), "fieldValidation": "Strict"}
        query |= {"dryRun": "All"} if dry_run else {}
        reference = Reference.of(document)
        subject = f"{reference.kind} {reference.name}"
        return self.request("PATCH", self.path(reference), query, document, _APPLY, subject)

    def create(self, document: Document) -> Document:
        """Create an object, or send a review, and return the API's answer."""
        path = self.path(Reference.of(document)._replace(name=""))
        return self.request("POST", path, {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"}, document)

    def delete(self, reference: Reference, *, grace_seconds: int | None = None) -> None:
        """Delete an object, and its dependents in the background. A missing object is not an error."""
        body: Document = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if grace_seconds is not None:
            body["gracePeriodSeconds"] = grace_seconds
        # Asking again is safe; without an answer, the pod of a check would stay until its deadline.
        retry_on(
            lambda: self._request_present("DELETE", reference, body),
            lambda error: isinstance(error, ClusterUnreachable),
            _DELETE_SECONDS,
        )

    def follow(self, reference: Reference, seconds: float) -> Iterator[Document | None]:
        """Yield an object now, after each change, and every few seconds without a change, for `seconds`.

        A watch that breaks is restarted with a valid token.
        """
        deadline = time.monotonic() + seconds
        while True:
            document = self.get(reference)
            yield document
            left = deadline - time.monotonic()
            if left <= 0:
                return
            version = document["metadata"]["resourceVersion"] if document else ""
            yield from self._watch(reference, version, min(left, _QUIET_SECONDS))

    def _watch(self, reference: Reference, version: str, seconds: float) -> Iterator[Document | None]:
        """Yield an object after each change since `version`, None after its deletion, for at most `seconds`."""
        from azure.core.exceptions import AzureError

        query = {
            "watch": "true",
            "fieldSelector": f"metadata.name={reference.name}",
            "timeoutSeconds": str(max(1, round(seconds))),
        } | _given(resourceVersion=version)
        path = self.path(reference._replace(name=""))
        response = self.send("GET", path, query, stream=True, read_timeout=seconds + _GRACE_SECONDS)
        # If the connection breaks, the next request reports why.
        with closing(response), suppress(AzureError):
            for line in _lines(response):
                event = json.loads(line)
                if event["type"] == "ERROR":  # mostly 410: the version is too old
                    return
                yield None if event["type"] == "DELETED" else event["object"]

    def may(self, verb: str, resource: str, namespace: str, group: str = "") -> bool:
        """Tell whether the signed-in or impersonated user may do `verb` on `resource` (`pods/log`) of an API group."""
        resource, _, subresource = resource.partition("/")
        attributes = _given(verb=verb, resource=resource, namespace=namespace, group=group, subresource=subresource)
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
        return bool(self.create({**review, "spec": {"resourceAttributes": attributes}})["status"]["allowed"])

    # Requests

    def path(self, reference: Reference) -> str:
        """Return the path of an object, or of the collection if the reference has no name."""
        api_version, kind, name, namespace = reference
        resource = self._kind(api_version, kind)
        parts = [_root(api_version)]
        if resource.namespaced and namespace:
            parts.append(f"namespaces/{namespace}")
        parts += [resource.plural, *([name] if name else [])]
        return "/".join(parts)

    def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        form: str = "",
        subject: str = "",
    ) -> Document:
        """Send one request about `subject`, as `send` does, and return the JSON of the answer."""
        answer: Document = self.send(method, path, query, body, form, subject).json()
        return answer

    def _request_present(self, method: str, reference: Reference, body: Any = None) -> Document | None:
        """Send one request about an object; return None if the object, its namespace or its kind does not exist."""
        try:
            return self.request(method, self.path(reference), {}, body)
        except MissingDependency:
            return None
        except KubernetesError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise

    def send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        form: str = "",
        subject: str = "",
        **options: Any,
    ) -> HttpResponse:
        """Send one request about `subject`. `form` is the body's media type if not JSON; azure-core takes `options`."""
        from azure.core.exceptions import IncompleteReadError, ServiceRequestError, ServiceResponseError
        from azure.core.rest import HttpRequest

        headers = {"Accept": "application/json", **self.headers} | _given(**{"Content-Type": form})
        url = f"{self.address.server}{path}"
        request = HttpRequest(method, url, params=query or {}, headers=headers, json=body)
        try:
            response: HttpResponse = self._pipeline.send_request(request, **options)
            if response.status_code >= HTTPStatus.BAD_REQUEST:
                response.read()
        except AzureError as error:
            raise self.behind(error) from error
        except (IncompleteReadError, ServiceRequestError, ServiceResponseError) as error:
            if page := web_page_behind(error) or cut_answer(error):
                raise self.behind(page) from error
            raise unreachable(self.session, self.address.cluster, self.address.server, error) from error
        if response.status_code >= HTTPStatus.BAD_REQUEST:
            if page := web_page(response):
                raise self.behind(page)
            raise failure(self.session, self.address.cluster, response.status_code, response.text(), subject)
        return response

    def behind(self, answer: AzureError) -> ClusterUnreachable:
        """Return the error for an answer that is none of the API's."""
        return ClusterUnreachable(f"Cluster {self.address.cluster}: {answer.message}", answer.action)

    def _kind(self, api_version: str, kind: str) -> _Kind:
        with self._lock:
            if kind not in self._kinds.get(api_version, {}):
                self._kinds[api_version] = self._discover(api_version)
            if resource := self._kinds[api_version].get(kind):
                return resource
        raise MissingDependency(
            f"Cluster {self.address.cluster}: the API has no kind {kind} in {api_version}.",
            "Run step 1 with mode=apply, which enables the add-ons that define such kinds.",
        )

    def _discover(self, api_version: str) -> dict[str, _Kind]:
        try:
            resources = self.request("GET", _root(api_version))["resources"]
        except KubernetesError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return {}
            raise
        kinds = [resource for resource in resources if "/" not in resource["name"]]
        return {kind["kind"]: _Kind(kind["name"], kind["namespaced"]) for kind in kinds}

    @cached_property
    def _pipeline(self) -> PipelineClient[Any, Any]:
        return pipeline(self.session, self.address)


def _root(api_version: str) -> str:
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"


def _lines(response: HttpResponse) -> Iterator[bytes]:
    left = b""
    for chunk in response.iter_bytes():
        *lines, left = (left + chunk).split(b"\n")
        yield from lines


def _given(**values: str) -> dict[str, str]:
    """Return the values that are not empty."""
    return {name: value for name, value in values.items() if value}

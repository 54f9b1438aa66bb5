"""The application that people sign in to: its registration, its service principal, who is assigned, its credential.

Source: https://learn.microsoft.com/graph/api/resources/application and /serviceprincipal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflowaks.azure.entra import ALREADY, FORBIDDEN, DirectoryObject, Group, is_missing, items, send
from airflowaks.azure.identities import AUDIENCE
from airflowaks.cloud.error_mapping import error_codes
from airflowaks.engine.changes import AFTER_APPLY
from airflowaks.engine.polling import retry_on
from airflowaks.engine.resource import ADOPTED, Facts, Resource
from airflowaks.errors import NameTaken

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflowaks.session import Session

SIGN_IN_KINDS = ("Entra application", "service principal", "assigned groups", "consent", "sign-in credential")
"""The kinds of resources without one of which nobody signs in."""
CALLBACK = "/auth/oauth-authorized/azure"
"""The path to which Entra sends people back: https://airflow.apache.org/docs/apache-airflow-providers-fab/stable/auth-manager/sso.html"""
_LOCALHOST = f"http://localhost{CALLBACK}"
SCOPES = ("openid", "profile")
_GRAPH = "00000003-0000-0000-c000-000000000000"
"""The client ID of Microsoft Graph, in every tenant."""
_NOT_REPLICATED = ("does not reference a valid application", "does not exist")
_TAKEN = "Request_MultipleObjectsWithSameKeyValue"
_DEFAULT_ACCESS = "00000000-0000-0000-0000-000000000000"
"""The role of an assignment to an application without roles of its own."""
_CLAIMS = [
    {"name": "groups", "additionalProperties": []},
    # Of guests only with the addition: https://learn.microsoft.com/entra/identity-platform/optional-claims
    {"name": "upn", "additionalProperties": ["include_externally_authenticated_upn"]},
    {"name": "given_name", "additionalProperties": []},
    {"name": "family_name", "additionalProperties": []},
]


class Application(DirectoryObject):
    """The registration of an application that people of this tenant sign in to, without a secret.

    Its tokens name those groups of a person that are assigned to it, so that there are never too many for a token:
    https://learn.microsoft.com/entra/identity-platform/reference-app-manifest#groupmembershipclaims-attribute. Airflow
    takes `upn` for the mail address, which two people may share: so the claim `email` is not asked for.
    """

    kind = "Entra application"
    path = "/applications"
    noun = "application"
    command = "az ad app delete --id"
    properties = (
        "id,appId,displayName,description,createdDateTime,signInAudience,groupMembershipClaims,optionalClaims,web"
    )

    def __init__(self, session: Session, name: str, description: str, host: str | None) -> None:
        super().__init__(session, name, description)
        self.host = host

    @property
    def client_id(self) -> Any:
        """Return the application's client ID, or AFTER_APPLY.

        Everybody in a tenant may register applications under any name, so one is not adopted by its name: nothing is
        written for it, and nobody is sent to it. Raises NameTaken.
        """
        client_id = self.fact("appId")
        if self.origin == ADOPTED:
            raise NameTaken(
                f"{self}: the application {client_id} of this name was not made for this environment, and anybody may"
                " have registered it.",
                "Set another name in `entra.application`, or `entra.application_id` to the client ID of one you trust.",
            )
        return client_id

    def settings(self) -> Facts:
        """Return who signs in, where Entra sends them back to, and what the token says of them.

        The port of http://localhost does not count:
        https://learn.microsoft.com/entra/identity-platform/reply-url#localhost-exceptions
        """
        addresses = [_LOCALHOST, *([f"https://{self.host}{CALLBACK}"] if self.host else [])]
        return {
            "signInAudience": "AzureADMyOrg",
            "groupMembershipClaims": "ApplicationGroup",
            "optionalClaims": {"idToken": _CLAIMS},
            "web": {"redirectUris": addresses},
        }


class EarlierApplication(Application):
    """The application that the runbook made for an environment whose file now describes none of its own."""

    def read(self) -> Facts | None:
        """Return the one with the environment's mark, unless the file names it; who may not read any has made none."""
        from azure.core.exceptions import HttpResponseError

        try:
            named = self._called(self.path, self.properties)
        except HttpResponseError as error:
            if error.status_code != FORBIDDEN:
                raise
            return None
        in_use = self.session.environment.entra.application_id
        return next((each for each in named if self._is_marked(each) and each["appId"] != in_use), None)


class ServicePrincipal(Resource):
    """The application in this tenant; only who is assigned to it signs in."""

    kind = "service principal"
    settings: ClassVar[Facts] = {"accountEnabled": True, "appRoleAssignmentRequired": True}

    def __init__(self, application: Application) -> None:
        super().__init__(application.session, application.name, parent=application)
        self.application = application

    @property
    def id(self) -> str:
        """Return the object ID as text."""
        return str(self.fact("id"))

    @property
    def origin(self) -> str:
        """Return the application's origin: the service principal has no description that could be marked."""
        return "" if self.facts is None else self.application.origin

    def read(self) -> Facts | None:
        """Return the service principal of the application's client ID."""
        query = {
            "$filter": f"appId eq '{self.application.client_id}'",
            "$select": "id,appId,accountEnabled,appRoleAssignmentRequired",
        }
        return next(items(self.session, send(self.session, "GET", "/servicePrincipals", params=query)), None)

    def desired(self) -> Facts:
        """Return that it is enabled, and that who signs in has to be assigned."""
        return {"appId": self.application.client_id, **self.settings}

    def write(self, facts: Facts | None) -> None:
        """Create or update it; a creation is repeated while a new application is not replicated."""
        if facts is None:
            create(self.session, "/servicePrincipals", self.desired(), self.application)
        else:
            send(self.session, "PATCH", f"/servicePrincipals/{facts['id']}", json=self.settings)


class AssignedGroups(Resource):
    """The assignment of groups to the application, whose direct members then sign in. Other assignments stay.

    Members of groups within these do not: https://learn.microsoft.com/entra/identity/enterprise-apps/assign-user-or-group-access-portal,
    by which a tenant also needs Entra ID P1 to assign a group.
    """

    kind = "assigned groups"

    def __init__(self, principal: ServicePrincipal, groups: Sequence[Group]) -> None:
        super().__init__(principal.session, principal.name, parent=principal, depends_on=groups)
        self.principal, self.groups = principal, groups

    @property
    def id(self) -> str:
        """Return the path of the assignments in Graph."""
        return f"/servicePrincipals/{self.principal.id}/appRoleAssignedTo"

    def read(self) -> Facts:
        """Return the names of those of the groups that are assigned."""
        page = ask(lambda: send(self.session, "GET", self.id, params={"$top": "999"}), self.principal)
        assigned = {assignment["principalId"] for assignment in items(self.session, page)}
        return {"groups": [group.name for group in self.groups if group.object_id in assigned]}

    def desired(self) -> Facts:
        """Return all of the groups."""
        return {"groups": [group.name for group in self.groups]}

    def write(self, facts: Facts | None) -> None:
        """Assign the missing groups, of which another run may have assigned some that the read did not find."""
        for group in self.groups:
            if group.name in (facts or {}).get("groups", ()):
                continue
            body = {
                "principalId": group.require("id"),
                "resourceId": self.principal.require("id"),
                "appRoleId": _DEFAULT_ACCESS,
            }
            create(self.session, self.id, body, group, self.principal)


class Consent(Resource):
    """The tenant's consent to what the sign-in reads of a person; who has to be assigned cannot consent alone.

    Source: https://learn.microsoft.com/entra/identity-platform/howto-restrict-your-app-to-a-set-of-users
    """

    kind = "consent"

    def __init__(self, principal: ServicePrincipal) -> None:
        super().__init__(principal.session, principal.name, parent=principal)
        self.principal = principal

    @property
    def id(self) -> str:
        """Return the path of the grant in Graph."""
        return f"/oauth2PermissionGrants/{self.fact('id')}"

    def read(self) -> Facts | None:
        """Return the grant for everybody of the tenant."""
        query = {"$filter": f"clientId eq '{self.principal.id}'"}
        grants = items(self.session, send(self.session, "GET", "/oauth2PermissionGrants", params=query))
        grant = next((grant for grant in grants if grant["consentType"] == "AllPrincipals"), None)
        return grant and {"id": grant["id"], "scopes": sorted(grant["scope"].split())}

    def desired(self) -> Facts:
        """Return the scopes that are granted, and those of the sign-in."""
        granted = self.fact("scopes")
        return {"scopes": sorted({*SCOPES, *(() if granted is AFTER_APPLY else granted)})}

    def write(self, facts: Facts | None) -> None:
        """Create or update the grant: https://learn.microsoft.com/graph/api/oauth2permissiongrant-post."""
        scope = {"scope": " ".join(self.desired()["scopes"])}
        if facts is not None:
            send(self.session, "PATCH", self.id, json=scope)
            return
        api = send(self.session, "GET", f"/servicePrincipals(appId='{_GRAPH}')", params={"$select": "id"})
        grant = {"clientId": self.principal.id, "consentType": "AllPrincipals", "resourceId": api["id"], **scope}
        create(self.session, "/oauth2PermissionGrants", grant, self.principal)


class ApplicationCredential(Resource):
    """The trust of the application in the tokens of a Kubernetes service account, which stand in for a client secret.

    Entra takes such a token wherever it takes a secret, for a sign-in's code too: App Service does the same with an
    identity, https://learn.microsoft.com/azure/app-service/configure-authentication-provider-aad#use-a-managed-identity-instead-of-a-secret-preview.
    So there is nothing to renew, and nothing that expires.
    """

    kind = "sign-in credential"

    def __init__(self, application: Application, cluster: Resource, namespace: str, service_account: str) -> None:
        super().__init__(application.session, service_account, parent=application, depends_on=(cluster,))
        self.application, self.cluster = application, cluster
        self.subject = f"system:serviceaccount:{namespace}:{service_account}"

    @property
    def id(self) -> str:
        """Return its path in Graph."""
        return f"{self._collection}/{self.fact('id')}"

    @property
    def _collection(self) -> str:
        return f"/applications(appId='{self.application.client_id}')/federatedIdentityCredentials"

    def read(self) -> Facts | None:
        """Return the credential of the service account's name."""
        page = ask(lambda: send(self.session, "GET", self._collection), self.application)
        return next((each for each in items(self.session, page) if each["name"] == self.name), None)

    def desired(self) -> Facts:
        """Return the cluster's issuer URL with its trailing slash: Entra compares the text."""
        return {
            "issuer": self.cluster.fact("properties.oidcIssuerProfile.issuerURL"),
            "subject": self.subject,
            "audiences": [AUDIENCE],
        }

    def write(self, facts: Facts | None) -> None:
        """Create or update it: https://learn.microsoft.com/graph/api/application-post-federatedidentitycredentials."""
        if facts is None:
            body = {"name": self.name, **self.desired()}
            create(self.session, self._collection, body, self.application)
        else:
            send(self.session, "PATCH", self.id, json=self.desired())


def create(session: Session, path: str, body: Facts, *resources: Resource) -> None:
    """Create an object of Graph, as `ask` asks; what another run has made meanwhile, the next read finds."""
    from azure.core.exceptions import HttpResponseError

    try:
        ask(lambda: send(session, "POST", path, json=body), *resources)
    except HttpResponseError as error:
        if ALREADY not in str(error) and _TAKEN not in error_codes(error):
            raise


def ask(request: Callable[[], dict[str, Any]], *resources: Resource) -> dict[str, Any]:
    """Return a request's answer; repeat it while one of `resources`, which is new, is not on every server of Graph."""

    def replicates(error: BaseException) -> bool:
        unknown = is_missing(error) or any(words in str(error) for words in _NOT_REPLICATED)
        return unknown and any(resource.recently_written for resource in resources)

    return retry_on(request, replicates)

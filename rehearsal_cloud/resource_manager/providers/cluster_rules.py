"""AKS's validation of a managed cluster's properties, with its codes and messages.

https://learn.microsoft.com/troubleshoot/azure/azure-kubernetes/welcome-azure-kubernetes
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

from rehearsal_cloud.errors import ServiceError
from rehearsal_cloud.resource_manager.kubernetes_versions import (
    SUPPORT_PLANS,
    current_version,
    oidc_by_default,
    release_of,
    support_plans,
    supported,
    upgrades,
)
from rehearsal_cloud.resource_manager.resource_types import find

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.resource_manager.resource_types import Call

_IMMUTABLE = (
    "dnsPrefix",
    "fqdnSubdomain",
    "nodeResourceGroup",
    "enableRBAC",
    "diskEncryptionSetID",
    "servicePrincipalProfile.clientId",
    "networkProfile.networkPlugin",
    "networkProfile.podCidr",
    "networkProfile.serviceCidr",
    "networkProfile.dnsServiceIP",
)
_RESERVED = (
    *("169.254.0.0/16", "172.30.0.0/16", "172.31.0.0/16", "192.0.2.0/24"),
    *("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3"),
)
_SERVICES = "10.0.0.0/16"


def check_version(call: Call, properties: Document, existing: Document | None) -> None:
    """Check that AKS offers the version with the cluster's support plan. Raises ServiceError.

    Texts: https://github.com/Azure/AKS/issues, and "only available for Long-Term Support" in many users' reports.
    """
    version, name = properties.get("kubernetesVersion"), call.id.name
    if not version or version == find(existing or {}, "properties.kubernetesVersion"):
        return
    release = release_of(version)
    plan = properties.get("supportPlan") or find(existing or {}, "properties.supportPlan") or SUPPORT_PLANS[0]
    if supported(version) and plan not in support_plans(release):
        text = (
            f"Managed cluster {name} is on version {version}, which is only available for Long-Term Support (LTS). If"
            " you intend to onboard to LTS, please ensure the cluster is in Premium tier and LTS support plan (see"
            " https://aka.ms/aks/enable-lts). Otherwise, use [az aks get-versions] command to get the supported"
            " version list in this region. For more information, please check https://aka.ms/supported-version-list"
        )
        raise ServiceError(400, "K8sVersionNotSupported", text)
    if not supported(version) or call.cloud.faults.restriction("version", f"Kubernetes {release}"):
        text = (
            f"Managed cluster {name} is on version {version} which is not supported in this region. Please"
            " use [az aks get-versions] command to get the supported version list in this region. For more"
            " information, please check https://aka.ms/supported-version-list"
        )
        raise ServiceError(400, "K8sVersionNotSupported", text)
    if existing is not None:
        _check_upgrade(call, properties, existing)


def _check_upgrade(call: Call, properties: Document, existing: Document) -> None:
    """Check that an upgrade skips no release, and that no API is in use that the new one has not. Raises ServiceError.

    Text of the refusal: rancher/dashboard#11884. The other: "Control Plane upgrade is blocked", at
    https://learn.microsoft.com/azure/aks/stop-cluster-upgrade-api-breaking-changes.
    """

    def ended(release: str) -> bool:
        return call.cloud.faults.restriction("version", f"Kubernetes {release}") is not None

    current = existing["properties"]["currentKubernetesVersion"]
    requested = current_version(properties["kubernetesVersion"])
    if requested == current:
        return
    if requested not in (available := upgrades(current, ended)):
        text = (
            f"Upgrading Kubernetes version {current} to {requested} is not allowed. Available upgrades:"
            f" [{' '.join(reversed(available))}]. Please see https://aka.ms/aks-supported-k8s-ver for version details."
        )
        raise ServiceError(400, "OperationNotAllowed", text)
    release, now = release_of(requested), datetime.now(UTC)
    override = find(properties, "upgradeSettings.overrideSettings") or {}
    forced = override.get("forceUpgrade") and datetime.fromisoformat(override.get("until") or "1970-01-01T00Z") > now
    use = call.cloud.faults.breakdown("deprecation", release)
    if use and release != release_of(current) and not forced:
        text = (
            "Control Plane upgrade is blocked due to recent usage of a Kubernetes API deprecated in the specified"
            " version. Please refer to https://kubernetes.io/docs/reference/using-api/deprecation-guide to migrate the"
            " usage. To bypass this error, set enable-force-upgrade in upgradeSettings.overrideSettings. Bypassing this"
            " error without migrating usage will result in the deprecated Kubernetes API calls failing. Usage details:"
            f" 1 error occurred:\n\t* usage has been detected on API {_spelled(use.message)}, and was recently seen at:"
            f" {now:%Y-%m-%d %H:%M:%S} +0000 UTC, which will be removed in {release}\n\n"
        )
        raise ServiceError(400, "ValidationError", text)


def _spelled(api: str) -> str:
    group, version, resource = api.split("/")
    return f"{group}.{resource}.{version}"


def check_support_plan(body: Document, existing: Document | None) -> None:
    """Check that long-term support goes with the tier Premium. Raises ServiceError.

    Rule: https://learn.microsoft.com/azure/aks/long-term-support. The tier alone does not set the plan. The text is
    that of `az aks upgrade`, which checks the same; the service's is not published.
    """
    old = existing or {}
    plan = find(body, "properties.supportPlan") or find(old, "properties.supportPlan") or SUPPORT_PLANS[0]
    tier = find(body, "sku.tier") or find(old, "sku.tier") or "Free"
    if plan not in SUPPORT_PLANS:
        text = f"The value of parameter supportPlan is invalid. Error details: one of {' and '.join(SUPPORT_PLANS)}."
        raise ServiceError(400, "InvalidParameter", text)
    if plan != SUPPORT_PLANS[0] and tier != "Premium":
        raise ServiceError(400, "BadRequest", "AKS Long Term Support is only available for Premium tier clusters.")


def check_autoscaler(properties: Document) -> None:
    """Check that the autoscaler's grace for pods is text of a whole number. Raises ServiceError, with a believed text.

    Type: ManagedClusterPropertiesAutoScalerProfile in managedClusters.json. No upper limit is documented.
    """
    seconds = find(properties, "autoScalerProfile.max-graceful-termination-sec")
    if seconds is not None and not (isinstance(seconds, str) and seconds.isdecimal()):
        text = (
            "The value of parameter autoScalerProfile.max-graceful-termination-sec is invalid. Error details: it must"
            f" be a whole number of seconds as text, got {seconds!r}."
        )
        raise ServiceError(400, "InvalidParameter", text)


def check_required(properties: Document) -> None:
    """Check the required properties of a new cluster. Raises ServiceError."""
    for name in ("agentPoolProfiles", "dnsPrefix"):
        if not properties.get(name) and not (name == "dnsPrefix" and properties.get("fqdnSubdomain")):
            raise ServiceError(400, "InvalidParameter", f"Required parameter {name} is missing (null).")
    prefix = properties.get("dnsPrefix") or "x"
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9-]{0,52}[A-Za-z0-9])?", prefix):
        text = (
            "The value of parameter dnsPrefix is invalid. Error details: DNS prefix must have 1 to 54 letters, digits"
            " and '-' and start and end with a letter or digit. Please see https://aka.ms/aks-naming-rules for more"
            " details."
        )
        raise ServiceError(400, "InvalidParameter", text)


def check_networks(properties: Document) -> None:
    """Check a new cluster's ranges of pods and services, and its DNS service's address. Raises ServiceError.

    Which AKS reserves: https://learn.microsoft.com/azure/aks/configure-kubenet#prerequisites. The others that no host
    can have, code and texts are believed.
    """
    for name in ("podCidr", "serviceCidr"):
        if (value := find(properties, f"networkProfile.{name}")) is None:
            continue
        try:
            network = IPv4Network(str(value))
        except ValueError as fault:
            raise _invalid(name, f"'{value}' is not an IPv4 range in CIDR notation: {fault}.") from None
        if reserved := next((each for each in _RESERVED if network.overlaps(IPv4Network(each))), None):
            raise _invalid(name, f"{network} overlaps with the reserved range {reserved}.")
    address, services = find(properties, "networkProfile.dnsServiceIP"), find(properties, "networkProfile.serviceCidr")
    if address is None:
        return
    try:
        inside = IPv4Address(str(address)) in IPv4Network(services or _SERVICES)
    except ValueError as fault:
        raise _invalid("dnsServiceIP", f"'{address}' is not an IPv4 address: {fault}.") from None
    if not inside:
        raise _invalid("dnsServiceIP", f"{address} does not belong to the range {services or _SERVICES}.")


def _invalid(name: str, details: str) -> ServiceError:
    text = f"The value of parameter networkProfile.{name} is invalid. Error details: {details}"
    return ServiceError(400, "InvalidParameter", text)


def check_immutable(requested: Document, before: Document) -> None:
    """Check that an update does not change immutable properties. Raises ServiceError."""
    for path in _IMMUTABLE:
        old, new = find(before, path), find(requested, path)
        if new is not None and new != old:
            raise ServiceError(400, "PropertyChangeNotAllowed", f"Changing property '{path}' is not allowed.")


def check_oidc(requested: Document, existing: Document | None) -> None:
    """Check that the issuer stays enabled, and is enabled for workload identity. Raises ServiceError."""
    before = (existing or {}).get("properties", {})
    requested_issuer = find(requested, "oidcIssuerProfile.enabled")
    enabled = find(before, "oidcIssuerProfile.enabled")
    if enabled and requested_issuer is False:
        raise ServiceError(400, "OIDCIssuerFeatureCannotBeDisabled", "OIDC issuer feature cannot be disabled.")
    if requested_issuer is None:
        version = requested.get("kubernetesVersion") or before.get("kubernetesVersion")
        requested_issuer = enabled or oidc_by_default(current_version(version))
    if find(requested, "securityProfile.workloadIdentity.enabled") and not requested_issuer:
        text = "Azure AD Workload Identity requires OIDC issuer. Please see https://aka.ms/aks/wi for details."
        raise ServiceError(400, "BadRequest", text)

"""Azure's validation of the request for a flexible server.

The code is nearly always InvalidParameterValue with the parameter's name, as in the service's message:
https://github.com/hashicorp/terraform-provider-azurerm/issues/22585
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rehearsal_cloud.errors import ServiceError
from rehearsal_cloud.home import TENANT_ID
from rehearsal_cloud.resource_manager.providers.postgresql.editions import (
    EDITIONS,
    ZONES,
    closing,
    disk,
    minor_versions,
    standby_modes,
    tiers_from,
)
from rehearsal_cloud.resource_manager.resource_types import defaults, find

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.resource_manager.faults import Faults

_RESERVED_LOGINS = (
    "azure_superuser",
    "azuresu",
    "azure_pg_admin",
    "admin",
    "administrator",
    "root",
    "guest",
    "public",
    "postgres",
)
_SWITCH = ("Enabled", "Disabled")
_CHOICES = {
    "authConfig.activeDirectoryAuth": _SWITCH,
    "authConfig.passwordAuth": _SWITCH,
    "network.publicNetworkAccess": _SWITCH,
    "backup.geoRedundantBackup": _SWITCH,
    "storage.autoGrow": _SWITCH,
    "highAvailability.mode": ("Disabled", "SameZone", "ZoneRedundant"),
    "availabilityZone": ZONES,
    "createMode": ("Default", "Create", "Update"),
}
_PASSWORD_CLASSES = (r"[a-z]", r"[A-Z]", r"[0-9]", r"[^a-zA-Z0-9]")
_LEAST_CLASSES = 3
_BACKUP_DAYS = range(7, 36)
_PREMIUM_V2_GIGABYTES = range(32, 65537)


def invalid(parameter: str, hint: str = "") -> ServiceError:
    """Return Azure's error for a parameter's value; `hint` names the allowed values."""
    text = f"Invalid value given for parameter {parameter}. Specify a valid parameter value. {hint}"
    return ServiceError(400, "InvalidParameterValue", text.strip())


def check_server(body: Document, existing: Document | None, faults: Faults) -> None:
    """Validate the body of a PUT, or of a PATCH merged into the server. Raises ServiceError (400)."""
    before: Document = (existing or {}).get("properties", {})
    if existing is None and closing(faults):
        # As users report it, such as https://github.com/adamdost-0/linux-update-cds/issues/14
        text = (
            f"Subscriptions are restricted from provisioning in location '{body['location']}'. Try again in a different"
            " location. To request an exception, contact support: https://aka.ms/postgres-request-quota-increase"
        )
        raise ServiceError(400, "LocationIsOfferRestricted", text)
    properties = body.get("properties") or {}
    for path, allowed in _CHOICES.items():
        if find(properties, path) not in (None, *allowed):
            raise invalid(path, f"One of: {', '.join(allowed)}.")
    _check_sku(defaults(body.get("sku"), (existing or {}).get("sku", {})), properties)
    _check_version(properties.get("version"), before.get("version"), minor_versions(faults))
    mode = find(properties, "highAvailability.mode") or "Disabled"
    if mode not in ("Disabled", find(before, "highAvailability.mode"), *standby_modes(faults)):
        # The code is the service's for a parameter's value; the text is believed.
        raise invalid("highAvailability.mode", f"HA mode {mode} is not supported in this region.")
    _check_storage(properties.get("storage") or {}, before.get("storage") or {})
    if find(properties, "backup.backupRetentionDays") not in (None, *_BACKUP_DAYS):
        raise invalid("backup.backupRetentionDays", "7 to 35 days.")
    _check_network(properties.get("network") or {}, before.get("network"))
    _check_authentication(properties, before)


def _check_sku(sku: Document, properties: Document) -> None:
    names = [size.name for size in EDITIONS.get(sku.get("tier") or "", ())]
    if not names:
        raise invalid("Tier", f"One of: {', '.join(EDITIONS)}.")
    if sku.get("name") not in names:
        raise invalid("Sku.Name", f"The SKU name '{sku.get('name')}' does not match the tier '{sku['tier']}'.")
    if sku["tier"] == "Burstable" and find(properties, "highAvailability.mode") not in (None, "Disabled"):
        raise invalid("highAvailability.mode", "High availability is not supported for the Burstable tier.")


def _check_version(version: str | None, before: str | None, live: Mapping[str, str]) -> None:
    if version is None or version == before:
        return
    if before is not None:
        check_upgrade(version, before, live)
    elif version not in live:
        raise invalid("Version", f"Version '{version}' cannot be created. One of: {', '.join(live)}.")


def check_upgrade(version: str, before: str, live: Mapping[str, str]) -> None:
    """Check that a server may be upgraded to a version: versions may be skipped, and there is no way back.

    Text: hashicorp/terraform-provider-azurerm#25344. Raises ServiceError.
    """
    if version not in (later := [each for each in live if int(each) > int(before)]):
        text = (
            f"The value of the 'Version' should be in: [{','.join(later)}]. Verify that the specified parameter value"
            " is correct."
        )
        raise ServiceError(400, "ParameterOutOfRange", text)


def _check_storage(storage: Document, before: Document) -> None:
    gigabytes, smallest = storage.get("storageSizeGB"), before.get("storageSizeGB", 0)
    if gigabytes is None:
        return
    if storage.get("type") == "PremiumV2_LRS":
        if gigabytes not in _PREMIUM_V2_GIGABYTES:
            raise invalid("StorageSizeGB")
    else:
        size = disk(gigabytes)
        if size is None:
            raise invalid("StorageSizeGB")
        fitting = [disk_tier.tier for disk_tier in tiers_from(size)]
        tier = storage.get("tier")
        # A PATCH that enlarges the disk repeats the old tier.
        if tier and tier not in fitting and tier != before.get("tier"):
            raise invalid("storage.tier", f"For {gigabytes} GB one of: {', '.join(fitting)}.")
    if gigabytes < smallest:
        raise invalid("StorageSizeGB", f"Storage cannot shrink: it has {smallest} GB.")


def _check_network(network: Document, before: Document | None) -> None:
    subnet = network.get("delegatedSubnetResourceId")
    if subnet and network.get("publicNetworkAccess") == "Enabled":
        code = "ConflictingPublicNetworkAccessAndVirtualNetworkConfiguration"
        raise ServiceError(400, code, "Public Network Access is not supported along with Virtual Network feature.")
    if before is not None and network and subnet != before.get("delegatedSubnetResourceId"):
        raise invalid("network.delegatedSubnetResourceId", "It cannot be changed after the server has been created.")


def _check_authentication(properties: Document, before: Document) -> None:
    standard = {"passwordAuth": "Enabled", "activeDirectoryAuth": "Disabled"}
    was = before.get("authConfig", {"passwordAuth": "Disabled"})
    now = defaults(properties.get("authConfig"), before.get("authConfig", standard))
    now = defaults(now, standard)
    if "Enabled" not in (now["passwordAuth"], now["activeDirectoryAuth"]):
        raise invalid("authConfig", "At least one way to sign in must be enabled.")
    if now.get("tenantId") not in (None, "", TENANT_ID):
        raise invalid("authConfig.tenantId")
    login, password = properties.get("administratorLogin"), properties.get("administratorLoginPassword")
    if before.get("administratorLogin") and login not in (None, before["administratorLogin"]):
        raise invalid("administratorLogin", "It cannot be changed after the server has been created.")
    if now["passwordAuth"] == "Enabled":
        if not (login or before.get("administratorLogin")):
            raise invalid("administratorLogin", "Password authentication needs it.")
        if was["passwordAuth"] != "Enabled" and not password:
            raise invalid("administratorLoginPassword", "Password authentication needs it.")
    if login:
        _check_login(login)
    if password:
        _check_password(password, login or "")


def _check_login(login: str) -> None:
    if not re.fullmatch(r"[a-zA-Z0-9_]{1,63}", login) or login[0].isdigit():
        raise invalid("administratorLogin", "1 to 63 letters, digits and '_', of which the first is no digit.")
    if login.lower() in _RESERVED_LOGINS or login.lower().startswith("pg_"):
        raise invalid("administratorLogin", f"The name '{login}' is reserved.")


def _check_password(password: str, login: str) -> None:
    if not 8 <= len(password) <= 128:  # noqa: PLR2004 - Azure's own limits
        text = "Password validation failed. The password does not meet policy requirements: 8 to 128 characters."
        raise ServiceError(400, "PasswordTooShort" if len(password) < 8 else "PasswordTooLong", text)  # noqa: PLR2004
    classes = sum(bool(re.search(pattern, password)) for pattern in _PASSWORD_CLASSES)
    if classes < _LEAST_CLASSES or (login and login.lower() in password.lower()):
        text = (
            "Password validation failed. The password does not meet policy requirements because it is not complex"
            " enough: it must have three of lowercase letters, uppercase letters, digits and other characters, and"
            " not contain the login name."
        )
        raise ServiceError(400, "PasswordNotComplex", text)

"""The types of values in an environment file: validated and normalized text.

Each is an annotated `str`, so the SDKs take it unchanged. A validator raises ValueError with one sentence: the value,
the rule and the fix.
"""

import re
from collections import Counter
from collections.abc import Hashable
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from airflowaks.config.naming import MARK, RULES, region_name

Item = TypeVar("Item", bound=Hashable)

LARGEST_PORT = 65535
ROLE_BYTES = 63
# Of PostgreSQL (https://www.postgresql.org/docs/17/sql-createrole.html and its `IsReservedName`), of Azure
# (https://learn.microsoft.com/azure/postgresql/flexible-server/how-to-create-users), and step 3's unused administrator.
SERVER_ROLES = ("airflowaksadmin", "azure_pg_admin", "azure_superuser", "azuresu", "none", "postgres", "public")
TAG_COUNT = 49  # Azure's limit of 50, less the mark
# https://learn.microsoft.com/azure/azure-resource-manager/management/tag-resources#limitations
TAG_FORBIDDEN = "<>%&\\?/"
TAG_RESERVED = ("azure", "microsoft", "windows")

# Addresses that no machine of a network has: RFC 6890, and
# https://learn.microsoft.com/azure/virtual-network/virtual-networks-faq (ranges that a network cannot have, believed).
SPECIAL_NETWORKS = {
    IPv4Network("0.0.0.0/8"): "this network",
    IPv4Network("127.0.0.0/8"): "loopback",
    IPv4Network("168.63.129.16/32"): "Azure's platform",
    IPv4Network("169.254.0.0/16"): "link-local",
    IPv4Network("224.0.0.0/4"): "multicast",
    IPv4Network("240.0.0.0/4"): "reserved",
}
# Nobody owns more of the internet than a /8; who admits more means everyone, and has to say so.
WIDEST_PREFIX = 8
# With this authorized range AKS admits only the cluster's own outbound address.
# https://azure.github.io/PSRule.Rules.Azure/en/rules/Azure.AKS.AuthorizedIPs
_OUTBOUND_ONLY = "0.0.0.0/32"

# The form of https://learn.microsoft.com/azure/virtual-machines/vm-naming-conventions
VM_SIZE = re.compile(
    r"Standard_(?P<family>[A-Z]+)(?P<cores>\d+)(-\d+)?(?P<features>[a-z]*)(_[A-Z]+\d+)*(_v(?P<version>\d+))?", re.ASCII
)
_SIZE_IN_ANY_CASE = re.compile(r"Standard_([A-Z]+)(\d+(?:-\d+)?)([A-Z]*)((?:_[A-Z]+\d+)*)", re.ASCII | re.IGNORECASE)


_CIDR = re.compile(r"[0-9.]+(/([0-9]|[1-9][0-9]))?")
# Zero is no number of cores, and no machine has a thousand or 100,000 GiB.
_CORES = r"(?=.*[1-9])([1-9]\d{0,2}|[1-9]\d{0,5}m|(0|[1-9]\d{0,2})\.\d{1,3})"
_MEMORY = r"[1-9]\d{0,4}Gi|[1-9]\d{0,7}Mi"
_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_PROXY_HOST = r"[-a-z0-9_.]+|[0-9a-f:.]+"
# An address has digits alone after its last full stop.
_HOST = rf"(?=.{{1,253}}$)({_LABEL}\.)+(?![0-9]+$){_LABEL}"


def _matching(pattern: str, what: str, example: str) -> AfterValidator:
    def check(value: str) -> str:
        if not re.fullmatch(pattern, value, re.ASCII):
            raise ValueError(f'"{value}" is not {what}; write it like {example}')
        return value

    return AfterValidator(check)


def _spelled_as_azure_does(value: str) -> str:
    """Return a VM size in the case of the naming conventions, with which it is compared: Azure ignores the case."""
    if not (size := _SIZE_IN_ANY_CASE.fullmatch(value)):
        return value
    suffixes = re.sub(r"_V\d+$", lambda version: version[0].lower(), size[4].upper())
    return f"Standard_{size[1].upper()}{size[2]}{size[3].lower()}{suffixes}"


def _guid(name: str, command: str) -> AfterValidator:
    def check(value: str) -> str:
        if not re.fullmatch(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", value):
            raise ValueError(f'"{value}" is not a GUID (8-4-4-4-12 hexadecimal digits); enter {name}: {command}')
        if not value.strip("0-"):
            raise ValueError(f'"{value}" is a placeholder; enter {name}: {command}')
        return value.lower()

    return AfterValidator(check)


def _network(value: str) -> str:
    with suppress(ValueError):
        if _CIDR.fullmatch(value):  # IPv4Network also takes a mask after the slash
            return str(IPv4Network(value))
    try:
        fix = f'did you mean "{IPv4Network(value, strict=False)}"?'
    except ValueError:
        fix = 'write it like "10.1.0.0/16"'
    raise ValueError(f'"{value}" is not an IPv4 network in CIDR notation with zero host bits; {fix}')


def _address(value: str) -> str:
    try:
        return str(IPv4Address(value))
    except ValueError:
        raise ValueError(
            f'"{value}" is not an IPv4 address; write four numbers of 0 to 255 and full stops between'
        ) from None


def special_network(first: IPv4Address, last: IPv4Address) -> str | None:
    """Return the special network that a range of addresses overlaps, with its use, or None."""
    for special, use in SPECIAL_NETWORKS.items():
        if first <= special.broadcast_address and special.network_address <= last:
            return f"{special} ({use})"
    return None


def _clients(value: str) -> str:
    network = IPv4Network(value)
    if network.prefixlen < WIDEST_PREFIX:
        raise ValueError(
            f'"{value}" is larger than a /{WIDEST_PREFIX}; use a range such as "203.0.113.0/24", '
            "or an empty list, which admits everyone"
        )
    if value != _OUTBOUND_ONLY and (special := special_network(network[0], network[-1])):
        raise ValueError(f'"{value}" overlaps {special}; use a range such as "203.0.113.0/24"')
    return value


def image_tag(value: str) -> str:
    """Return the tag of an image reference with a tag and, optionally, a digest."""
    return value.partition("@")[0].rpartition(":")[2]


def _is_endpoint(value: str) -> bool:
    host, colon, port = value.partition(":")
    is_port = re.fullmatch("[1-9][0-9]{0,4}", port) is not None and int(port) <= LARGEST_PORT
    return re.fullmatch(rf"{_LABEL}(\.{_LABEL})+", host.lower()) is not None and (is_port or not colon)


def _image(value: str) -> str:
    registry, _, rest = value.partition("/")
    tagged, at, digest = rest.partition("@")
    repository, _, tag = tagged.rpartition(":")
    if not _is_endpoint(registry) or not repository or not tag:
        form = "registry host, repository and tag"
        raise ValueError(f'"{value}" is not an image with {form}; write it like "docker.io/apache/airflow:3.3.2"')
    if at and not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        raise ValueError(f'"{digest}" is not a digest; write "sha256:" and 64 hexadecimal digits')
    RULES["repository"].check(repository)
    RULES["image_tag"].check(tag)
    return value


def _proxy(value: str) -> str:
    # The message omits the value: a proxy URL may contain a password.
    try:
        url = urlsplit(value)
        complete = url.scheme in {"http", "https"} and url.port and re.fullmatch(_PROXY_HOST, url.hostname or "")
        more = url.path.strip("/") or url.query or url.fragment
    except ValueError:
        complete, more = None, ""
    if not complete:
        raise ValueError('the proxy URL needs scheme, host and port; write it like "http://proxy.example.com:3128"')
    if url.username is not None:
        raise ValueError("the proxy URL contains credentials; remove them and set HTTPS_PROXY instead")
    if more:
        raise ValueError("the proxy URL has text after the port; remove it")
    return value


def _secret_url(value: str) -> str:
    # The message omits the value: it may be the secret itself.
    if not re.fullmatch(r"https://[a-z][-a-z0-9]{2,23}\.vault\.azure\.net/secrets/[-0-9A-Za-z]{1,127}", value):
        raise ValueError(
            "must be the URL of a secret in a vault, never the secret itself; write it like"
            ' "https://shared.vault.azure.net/secrets/docker-hub-token"'
        )
    return value


def _file(value: Any, info: ValidationInfo) -> Any:
    if not isinstance(value, str):
        return value
    try:
        path = Path((info.context or {}).get("folder", ""), Path(value).expanduser()).resolve()
        if path.is_file():
            return path
    except (OSError, RuntimeError):  # a name that is too long, a link in a circle, the home of no user
        pass
    raise ValueError(f'"{value}" is not a file; use a path relative to the environment file, or from / or ~')


def _unique(items: tuple[Item, ...]) -> tuple[Item, ...]:
    if duplicates := [item for item, count in Counter(items).items() if count > 1]:
        raise ValueError(f'"{duplicates[0]}" is listed twice; remove one')
    return items


def _not_blank(name: str) -> str:
    if name != name.strip():
        raise ValueError(f'"{name}" begins or ends with a space; remove it')
    return name


def _readable(name: str) -> str:
    if name.strip() and not any(map(str.isalnum, name)):
        raise ValueError(f'"{name}" has no letter or digit; choose a name that people can read')
    return name


def _role_name(name: str) -> str:
    # The length of PostgreSQL's type `name`. Azure accepts a longer one, and has no such administrator afterwards:
    # https://github.com/MicrosoftDocs/azure-docs/issues/100012
    if (size := len(name.encode())) > ROLE_BYTES:
        raise ValueError(f"the name has {size} bytes and is also a PostgreSQL user's; use at most {ROLE_BYTES} bytes")
    if name.casefold().startswith("pg_") or name.casefold() in SERVER_ROLES:
        raise ValueError(f'"{name}" is also a PostgreSQL user\'s, and the server reserves it; choose another name')
    return name


def _tag_name(name: str) -> str:
    if forbidden := [character for character in TAG_FORBIDDEN if character in name]:
        raise ValueError(f'the tag name "{name}" contains {forbidden[0]}; remove each of {" ".join(TAG_FORBIDDEN)}')
    if name.lower().startswith(TAG_RESERVED):
        raise ValueError(f'the tag name "{name}" begins with a word that Azure reserves; choose another name')
    return name


def _tags(tags: dict[str, str]) -> dict[str, str]:
    if len(tags) > TAG_COUNT:
        raise ValueError(f"{len(tags)} tags exceed the limit of {TAG_COUNT} for each resource; remove some")
    _unique(tuple(name.lower() for name in tags))
    if MARK in map(str.lower, tags):
        raise ValueError(f'"{MARK}" is the tag by which the runbook knows what it created; remove it')
    return tags


def _text(value: Any) -> Any:
    # YAML reads 17 as a number, which converts back without loss; a float does not (1.30 → 1.3).
    return str(value) if type(value) is int else value


SubscriptionId = Annotated[str, _guid("your subscription ID", "az account show --query id")]
TenantId = Annotated[str, _guid("your tenant ID", "az account show --query tenantId")]
MemberId = Annotated[str, _guid("the member's object ID", "az ad user show --id NAME@DOMAIN --query id")]
ApplicationId = Annotated[
    str, _guid("the application's client ID", "az ad app list --display-name NAME --query [].appId")
]
Members = Annotated[tuple[MemberId, ...], Field(strict=False), AfterValidator(_unique)]
Location = Annotated[str, AfterValidator(region_name)]
TagName = Annotated[str, Field(min_length=1, max_length=512), AfterValidator(_not_blank), AfterValidator(_tag_name)]
Tags = Annotated[dict[TagName, Annotated[str, Field(max_length=256)]], AfterValidator(_tags)]
ProxyUrl = Annotated[str, AfterValidator(_proxy)]
File = Annotated[Path, BeforeValidator(_file)]
Network = Annotated[str, AfterValidator(_network)]
Address = Annotated[str, AfterValidator(_address)]
VmSize = Annotated[
    str, AfterValidator(_spelled_as_azure_does), _matching(VM_SIZE.pattern, "a VM size", '"Standard_D4ds_v5"')
]
GroupName = Annotated[str, Field(min_length=1, max_length=256), AfterValidator(_not_blank), AfterValidator(_readable)]
AdminGroupName = Annotated[
    str, Field(min_length=1), AfterValidator(_not_blank), AfterValidator(_readable), AfterValidator(_role_name)
]
Client = Annotated[Network, AfterValidator(_clients)]
Networks = Annotated[tuple[Client, ...], Field(strict=False, max_length=200), AfterValidator(_unique)]
Zones = Annotated[
    tuple[Annotated[Literal["1", "2", "3"], BeforeValidator(_text)], ...], Field(strict=False), AfterValidator(_unique)
]
# Which of them there are depends on the region and the day: the preflight and the steps ask Azure.
KubernetesVersion = Annotated[
    str, _matching(r"1\.[1-9]\d(\.(0|[1-9]\d*))?", "a version of Kubernetes", '"1.35" or "1.35.3"')
]
PostgresqlVersion = Annotated[
    str, BeforeValidator(_text), _matching(r"[1-9]\d", "a major version of PostgreSQL", '"17"')
]
Image = Annotated[str, AfterValidator(_image)]
SecretUrl = Annotated[str, AfterValidator(_secret_url)]
Cores = Annotated[str, BeforeValidator(_text), _matching(_CORES, "a number of cores", '"2" or, in thousandths, "500m"')]
Memory = Annotated[str, _matching(_MEMORY, "an amount of memory", '"512Mi" or "2Gi"')]
UtcOffset = Annotated[str, _matching(r"[+-](0\d|1[0-4]):(00|15|30|45)", "an offset from UTC", '"+01:00"')]
HostName = Annotated[str, _matching(_HOST, "a lower-case host name", '"airflow.example.com"')]

EnvironmentName = Annotated[str, AfterValidator(RULES["environment"].check)]
ResourceGroupName = Annotated[str, AfterValidator(RULES["resource_group"].check)]
IdentityName = Annotated[str, AfterValidator(RULES["identity"].check)]
ClusterName = Annotated[str, AfterValidator(RULES["cluster"].check)]
NodePoolName = Annotated[str, AfterValidator(RULES["node_pool"].check)]
QueueName = Annotated[str, AfterValidator(RULES["queue"].check)]
Namespace = Annotated[str, AfterValidator(RULES["namespace"].check)]
RegistryName = Annotated[str, AfterValidator(RULES["registry"].check)]
RepositoryName = Annotated[str, AfterValidator(RULES["repository"].check)]
ImageTag = Annotated[str, AfterValidator(RULES["image_tag"].check)]
PostgresqlName = Annotated[str, AfterValidator(RULES["postgresql"].check)]
DatabaseName = Annotated[str, AfterValidator(RULES["database"].check)]
RoleName = Annotated[str, AfterValidator(RULES["role"].check)]
FirewallRuleName = Annotated[str, AfterValidator(RULES["firewall_rule"].check)]
ManagedRedisName = Annotated[str, AfterValidator(RULES["managed_redis"].check)]
RedisCacheName = Annotated[str, AfterValidator(RULES["redis_cache"].check)]
KeyVaultName = Annotated[str, AfterValidator(RULES["key_vault"].check)]
CertificateName = Annotated[str, AfterValidator(RULES["certificate"].check)]
UserName = Annotated[str, AfterValidator(RULES["airflow_user"].check)]

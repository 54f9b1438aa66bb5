"""Azure's name rules by resource type, and the default names derived from an environment.

The rules are those of https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules, narrowed
where a service's SDK has a stricter pattern.
"""

import re
from base64 import b32encode
from dataclasses import dataclass
from difflib import get_close_matches
from hashlib import sha256

# Words that Azure rejects in a public host name: the first two anywhere, the others at the beginning.
# https://learn.microsoft.com/azure/azure-resource-manager/troubleshooting/error-reserved-resource-name
TRADEMARK = re.compile(r"microsoft|windows|^login|^xbox", re.IGNORECASE)

SUFFIX_LENGTH = 6


@dataclass(frozen=True, slots=True)
class NameRule:
    """The name rule of one resource type; lengths are in characters.

    A `public` name becomes part of a host name, where Azure reserves words; the service itself uses `reserved` names.
    """

    kind: str
    pattern: str
    shortest: int
    longest: int
    form: str
    example: str
    public: bool = False
    reserved: tuple[str, ...] = ()

    def check(self, name: str) -> str:
        """Return `name` unchanged.

        Raises:
            ValueError: the name breaks the rule; the message has the name, the rule and a valid example.

        """
        if not self.shortest <= len(name) <= self.longest:
            problem = f"it has {len(name)} characters; {self.shortest} to {self.longest} are allowed"
        elif not re.fullmatch(self.pattern, name, re.ASCII):
            problem = f"use {self.form}"
        # Hyphens are ignored because the derived registry name drops them.
        elif self.public and (word := TRADEMARK.search(name.replace("-", ""))):
            problem = f'Azure reserves the word "{word.group().lower()}"'
        elif name.lower() in self.reserved:
            problem = "the service reserves this name"
        else:
            return name
        raise ValueError(f'"{name}" is not a valid name for {self.kind}: {problem}; for example, "{self.example}"')


ENVIRONMENT = NameRule(
    "an environment",
    r"[a-z][a-z0-9]*(-[a-z0-9]+)*",
    1,
    32,
    "lower-case letters, digits and single hyphens between them, a letter first",
    "dev",
    public=True,
)
RESOURCE_GROUP = NameRule(
    "a resource group",
    r"[-\w.()]*[-\w()]",
    1,
    90,
    "letters, digits and - _ . ( ), not ending with a full stop",
    "airflow-dev",
)
IDENTITY = NameRule(
    "a managed identity",
    r"[A-Za-z0-9][-_A-Za-z0-9]*",
    3,
    128,
    "letters, digits, hyphens and underscores, a letter or digit first",
    "airflow-dev-cluster",
)
CLUSTER = NameRule(
    "a cluster",
    r"[A-Za-z0-9]([-_A-Za-z0-9]*[A-Za-z0-9])?",
    1,
    63,
    "letters, digits, hyphens and underscores, a letter or digit first and last",
    "airflow-dev",
)
NODE_POOL = NameRule(
    "a node pool", r"[a-z][a-z0-9]*", 1, 12, "lower-case letters and digits, a letter first", "airflow"
)
NAMESPACE = NameRule(
    "a namespace of this deployment",
    r"(?!kube-)[a-z0-9]([-a-z0-9]*[a-z0-9])?",
    1,
    63,
    "lower-case letters, digits and hyphens, a letter or digit first and last; do not begin with kube-",
    "airflow",
    reserved=("default", "gatekeeper-system"),
)
REGISTRY = NameRule(
    "a container registry", r"[A-Za-z0-9]+", 5, 50, "letters and digits only", "airflowdevacr", public=True
)
REPOSITORY = NameRule(
    "a repository",
    r"[a-z0-9]+([._/-][a-z0-9]+)*",
    1,
    256,
    "lower-case letters and digits, with single . _ / - between them",
    "airflow",
)
IMAGE_TAG = NameRule(
    "an image tag",
    r"[A-Za-z0-9_][-.\w]*",
    1,
    128,
    "letters, digits, underscores, hyphens and full stops, the last two not first",
    "3.3.2",
)
POSTGRESQL = NameRule(
    "a PostgreSQL server",
    r"[a-z0-9]+(-[a-z0-9]+)*",
    3,
    63,
    "lower-case letters, digits and single hyphens between them",
    "airflow-dev-pg",
    public=True,
)
DATABASE = NameRule(
    "Airflow's database",
    r"[A-Za-z_][-A-Za-z0-9_]*",
    1,
    63,
    "letters, digits, underscores and hyphens, a letter or underscore first",
    "airflow",
    reserved=("azure_maintenance", "azure_sys", "postgres", "template0", "template1"),
)
ROLE = NameRule(
    "Airflow's database role",
    r"(?!pg_|azure)[a-z_][a-z0-9_]*",
    1,
    63,
    "lower-case letters, digits and underscores, a letter or underscore first; do not begin with pg_ or azure",
    "airflow",
    reserved=("admin", "administrator", "guest", "none", "public", "replication", "root"),
)
FIREWALL_RULE = NameRule(
    "a firewall rule",
    r"(?!(operator|cluster(-\d+)?)$)[-.\w]+",
    1,
    128,
    'letters, digits, hyphens, underscores and full stops, but not "operator" or "cluster", which step 3 uses',
    "office",
)
MANAGED_REDIS = NameRule(
    "an Azure Managed Redis",
    r"[A-Za-z0-9]+(-[A-Za-z0-9]+)*",
    1,
    60,
    "letters, digits and single hyphens between them",
    "airflow-dev-redis",
    public=True,
)
REDIS_CACHE = NameRule(
    "an Azure Cache for Redis",
    r"[A-Za-z0-9]+(-[A-Za-z0-9]+)*",
    1,
    63,
    "letters, digits and single hyphens between them",
    "airflow-dev-redis",
)
KEY_VAULT = NameRule(
    "a key vault",
    r"[A-Za-z][A-Za-z0-9]*(-[A-Za-z0-9]+)*",
    3,
    24,
    "letters, digits and single hyphens between them, a letter first",
    "airflow-dev-kv",
    public=True,
)
CERTIFICATE = NameRule("a certificate", r"[-A-Za-z0-9]+", 1, 127, "letters, digits and hyphens", "airflow-tls")
AIRFLOW_USER = NameRule(
    "a user of Airflow",
    r"[A-Za-z0-9][-_.@A-Za-z0-9]*",
    1,
    64,
    "letters, digits and - _ . @, a letter or digit first",
    "admin",
)

# `az account list-locations`: physical regions of the public cloud, without the early-access ones (November 2026).
REGIONS = tuple(
    """
    australiacentral australiacentral2 australiaeast australiasoutheast austriaeast belgiumcentral brazilsouth
    brazilsoutheast canadacentral canadaeast centralindia centralus chilecentral denmarkeast eastasia eastus eastus2
    francecentral francesouth germanynorth germanywestcentral indonesiacentral israelcentral italynorth japaneast
    japanwest jioindiacentral jioindiawest koreacentral koreasouth malaysiawest mexicocentral newzealandnorth
    northcentralus northeurope norwayeast norwaywest polandcentral qatarcentral southafricanorth southafricawest
    southcentralus southeastasia southindia spaincentral swedencentral swedensouth switzerlandnorth switzerlandwest
    uaecentral uaenorth uksouth ukwest westcentralus westeurope westindia westus westus2 westus3
    """.split()  # noqa: SIM905 - sixty quoted names would be sixty lines
)


def region_name(location: str) -> str:
    """Return Resource Manager's name of a region, from that name or the display name ("East US" → "eastus").

    Raises:
        ValueError: the public cloud has no such region.

    """
    name = re.sub(r"\(.*?\)|[^a-z0-9]", "", location.lower())
    if name in REGIONS:
        return name
    nearest = get_close_matches(name, REGIONS, n=1)
    fix = f'did you mean "{nearest[0]}"?' if nearest else "az account list-locations --query [].name lists the regions"
    raise ValueError(f'"{location}" is not a region of the Azure public cloud; {fix}')


def name_suffix(environment: str, subscription_id: str, resource_group: str) -> str:
    """Return the suffix that makes a global name unique: six characters, the same on every run.

    The hash includes the environment's name, so that two environments in one resource group differ even if their names
    are cut to the same prefix. Case is ignored, as in Azure's IDs.
    """
    digest = sha256(f"{subscription_id}/{resource_group}/{environment}".lower().encode()).digest()
    return b32encode(digest).decode().lower()[:SUFFIX_LENGTH]


def global_name(rule: NameRule, abbreviation: str, environment: str, suffix: str) -> str:
    """Return `airflow-<environment>-<abbreviation>-<suffix>`, with the environment cut to the length `rule` allows."""
    if rule is REGISTRY:
        head, tail = f"airflow{environment.replace('-', '')}", f"{abbreviation}{suffix}"
    else:
        head, tail = f"airflow-{environment}", f"-{abbreviation}-{suffix}"
    return head[: rule.longest - len(tail)].rstrip("-") + tail

"""Names that Azure accepts: the rule of each kind, checked before anything is created, and the names made by default.

Rules are those of https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules, narrowed
where a service's own SDK has the stricter pattern.
"""

import re
from base64 import b32encode
from dataclasses import dataclass
from difflib import get_close_matches
from hashlib import sha256

# Words that Azure keeps out of every public host name: the first two anywhere, the others at the beginning.
# https://learn.microsoft.com/azure/azure-resource-manager/troubleshooting/error-reserved-resource-name
TRADEMARK = re.compile(r"microsoft|windows|^login|^xbox", re.IGNORECASE)

SUFFIX_LENGTH = 6


@dataclass(frozen=True, slots=True)
class NameRule:
    """What one kind of thing may be called; lengths are in characters.

    `public` names become part of a host name, where Azure reserves words; `reserved` ones are taken by the service.
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
            ValueError: the name breaks the rule; the sentence names it, the rule and a name that would do.

        """
        if not self.shortest <= len(name) <= self.longest:
            broken = f"it has {len(name)} characters where {self.shortest} to {self.longest} are allowed"
        elif not re.fullmatch(self.pattern, name, re.ASCII):
            broken = f"it must be {self.form}"
        # Hyphens are looked past because the name derived for a registry drops them.
        elif self.public and (word := TRADEMARK.search(name.replace("-", ""))):
            broken = f'Azure reserves the word "{word.group().lower()}"'
        elif name.lower() in self.reserved:
            broken = "the service keeps it for itself"
        else:
            return name
        raise ValueError(f'"{name}" cannot name {self.kind}: {broken}; use for example "{self.example}"')


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
    "lower-case letters, digits and hyphens, a letter or digit first and last, and not begin with kube-",
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
    "lower-case letters, digits and underscores, a letter or underscore first, and not begin with pg_ or azure",
    "airflow",
    reserved=("admin", "administrator", "guest", "none", "public", "replication", "root"),
)
FIREWALL_RULE = NameRule(
    "a firewall rule",
    r"(?!(operator|cluster(-\d+)?)$)[-.\w]+",
    1,
    128,
    'letters, digits, hyphens, underscores and full stops, and not "operator" or "cluster", which step 3 makes',
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

# `az account list-locations`, physical regions of the public cloud without those for early updates (November 2026).
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
    """Return the name that Resource Manager uses for a region, given that or its display name ("East US" → "eastus").

    Raises:
        ValueError: no public region is called that.

    """
    name = re.sub(r"\(.*?\)|[^a-z0-9]", "", location.lower())
    if name in REGIONS:
        return name
    nearest = get_close_matches(name, REGIONS, n=1)
    fix = f'did you mean "{nearest[0]}"?' if nearest else "az account list-locations --query [].name lists them"
    raise ValueError(f'"{location}" is not a region of the Azure public cloud; {fix}')


def name_suffix(environment: str, subscription_id: str, resource_group: str) -> str:
    """Return what keeps a global name apart from everybody else's: six characters, the same on every run.

    The environment's name is hashed too, so that two environments in one resource group stay apart where their names
    are shortened to the same beginning. Azure compares IDs without regard to case, and so does this.
    """
    digest = sha256(f"{subscription_id}/{resource_group}/{environment}".lower().encode()).digest()
    return b32encode(digest).decode().lower()[:SUFFIX_LENGTH]


def global_name(rule: NameRule, abbreviation: str, environment: str, suffix: str) -> str:
    """Return `airflow-<environment>-<abbreviation>-<suffix>`, the environment shortened to what `rule` has room for."""
    if rule is REGISTRY:
        head, tail = f"airflow{environment.replace('-', '')}", f"{abbreviation}{suffix}"
    else:
        head, tail = f"airflow-{environment}", f"-{abbreviation}-{suffix}"
    return head[: rule.longest - len(tail)].rstrip("-") + tail

"""Names: Azure's rules for them, and that what is derived keeps those rules for any environment."""

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflowaks.config import naming
from airflowaks.steps import key_vault

RULES = naming.RULES.values()

# What the services' own SDKs accept, by kind: azure-mgmt-keyvault 10.3.1, -containerregistry 10.3.0, -containerservice
# 30.0.0, -postgresqlflexibleservers 1.0.0 and -redisenterprise 3.1.0; the newest versions check no names any more.
SDK_PATTERNS = {
    "a key vault": r"[a-zA-Z0-9-]{3,24}",
    "a container registry": r"[a-zA-Z0-9]{5,50}",
    "a cluster": r"[a-zA-Z0-9]|[a-zA-Z0-9][-_a-zA-Z0-9]{0,61}[a-zA-Z0-9]",
    "a node pool": r"[a-z][a-z0-9]{0,11}",
    "a PostgreSQL server": r"(?=.{3,63}$)[a-zA-Z0-9]+(-[a-zA-Z0-9]+)*",
    "Airflow's database": r"[-\w\._]+",
    "a firewall rule": r"[-\w\._]+",
    "a resource group": r"(?=.{1,90}$)[-a-z0-9A-Z._()]*[^.]",
    "an Azure Managed Redis": r"(?=.{1,60}$)[A-Za-z0-9]+(-[A-Za-z0-9]+)*",
    "an Azure Cache for Redis": r"[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]|[a-zA-Z0-9]",
}

environment_names = st.from_regex(rf"\A(?:{naming.RULES['environment'].pattern})\Z").filter(
    lambda name: (
        len(name) <= naming.RULES["environment"].length[1] and not naming.TRADEMARK.search(name.replace("-", ""))
    )
)
derivations = pytest.mark.parametrize(
    ("rule", "abbreviation"),
    [("registry", "acr"), ("postgresql", "pg"), ("managed_redis", "redis"), ("key_vault", "kv")],
    ids=lambda value: value if isinstance(value, str) else "",
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.kind)
def test_the_example_of_a_rule_keeps_it(rule: naming.NameRule) -> None:
    assert rule.check(rule.example) == rule.example


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.kind in SDK_PATTERNS], ids=lambda rule: rule.kind)
@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_what_a_rule_accepts_the_sdk_accepts(rule: naming.NameRule, data: st.DataObject) -> None:
    name = data.draw(st.from_regex(re.compile(rf"\A(?:{rule.pattern})\Z", re.ASCII)))
    try:
        rule.check(name)
    except ValueError:
        return
    assert re.fullmatch(SDK_PATTERNS[rule.kind], name)


def test_every_pattern_of_the_sdks_belongs_to_a_rule() -> None:
    assert SDK_PATTERNS.keys() <= {rule.kind for rule in RULES}


@derivations
@settings(deadline=None)
@given(environment=environment_names, subscription=st.uuids(), group=st.text(min_size=1, max_size=90))
@example(environment="a" * 32, subscription="", group="")
@example(environment="abcde-fgh", subscription="", group="")  # cut just behind the hyphen where the vault's room ends
def test_derived_names_keep_the_rules(
    rule: str, abbreviation: str, environment: str, subscription: object, group: str
) -> None:
    suffix = naming.name_suffix(environment, str(subscription), group)
    name = naming.global_name(rule, abbreviation, environment, suffix)
    assert naming.RULES[rule].check(name) == name
    assert name.endswith(suffix)
    assert name == naming.global_name(
        rule, abbreviation, environment, naming.name_suffix(environment, str(subscription), group)
    )


@derivations
def test_long_names_with_one_beginning_stay_apart(rule: str, abbreviation: str) -> None:
    derived = {
        naming.global_name(rule, abbreviation, environment, naming.name_suffix(environment, "s", "shared-group"))
        for environment in ("production-east", "production-west", "productioneast")
    }
    assert len(derived) == 3


def test_the_suffix_never_changes() -> None:
    # It names resources that exist: with another suffix a run would build everything anew beside them.
    assert naming.name_suffix("local", "11111111-1111-4111-8111-111111111111", "airflow-local") == "3wnbdg"
    assert naming.name_suffix("dev", "ABCDEF00-0000-4000-8000-000000000000", "Airflow-Dev") == naming.name_suffix(
        "dev", "abcdef00-0000-4000-8000-000000000000", "airflow-dev"
    )


@pytest.mark.parametrize(
    ("location", "region"),
    [
        ("westeurope", "westeurope"),
        ("East US", "eastus"),
        ("(US) East US 2", "eastus2"),
        ("Germany West Central", "germanywestcentral"),
        ("India South Central", "indiasouthcentral"),
    ],
)
def test_display_names_of_regions(location: str, region: str) -> None:
    assert naming.region_name(location) == region


@pytest.mark.parametrize(
    ("region", "offset"),
    [("westus2", "-08:00"), ("northeurope", "+00:00"), ("westeurope", "+01:00"), ("indiasouthcentral", "+05:30")],
)
def test_regions_have_their_standard_time(region: str, offset: str) -> None:
    assert naming.utc_offset(region) == offset


@pytest.mark.parametrize(
    ("location", "hint"),
    [
        ("westeuropa", 'did you mean "westeurope"?'),
        ("eastus\u0662", 'did you mean "eastus"?'),
        ("moon", "az account list-locations --query [].name lists the regions"),
        ("", "az account list-locations --query [].name lists the regions"),
    ],
)
def test_other_regions_are_refused(location: str, hint: str) -> None:
    with pytest.raises(ValueError, match=r"is not a region of the Azure public cloud") as refusal:
        naming.region_name(location)
    assert str(refusal.value).endswith(hint)


@pytest.mark.parametrize(
    ("rule", "name", "why"),
    [
        ("key_vault", "ab", "it has 2 characters; 3 to 24 are allowed"),
        ("key_vault", "a" * 25, "it has 25 characters; 3 to 24 are allowed"),
        ("key_vault", "1vault", "a letter first"),
        ("key_vault", "my--vault", "single hyphens"),
        ("key_vault", "vault-", "single hyphens between them"),
        ("key_vault", "vault\n", "letters, digits"),
        ("key_vault", "vaült", "letters, digits"),
        ("key_vault", "my-Microsoft-kv", 'Azure reserves the word "microsoft"'),
        ("key_vault", "login-kv", 'Azure reserves the word "login"'),
        ("registry", "air-flow", "letters and digits only"),
        ("postgresql", "Airflow", "lower-case letters"),
        ("environment", "windo-ws", 'Azure reserves the word "windows"'),
        ("resource_group", "group.", "not ending with a full stop"),
        ("namespace", "kube-system", "not begin with kube-"),
        ("namespace", "default", "this name is reserved"),
        ("database", "postgres", "this name is reserved"),
        ("role", "pg_airflow", "not begin with pg_"),
        ("role", "azure_pg_admin", "not begin with pg_ or azure"),
        ("node_pool", "airflowworkers", "it has 14 characters; 1 to 12 are allowed"),
    ],
)
def test_names_that_break_a_rule(rule: str, name: str, why: str) -> None:
    kind = naming.RULES[rule].kind
    with pytest.raises(ValueError, match=re.escape(f'"{name}" is not a valid name for {kind}: ')) as refusal:
        naming.RULES[rule].check(name)
    assert why in str(refusal.value)


def test_no_certificate_is_called_like_a_secret_of_step_4() -> None:
    constants = vars(key_vault)
    secrets = {value for name, value in constants.items() if name.isupper() and str(value).startswith("airflow-")}
    assert secrets == set(naming.RULES["certificate"].reserved)

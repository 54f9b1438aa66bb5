"""Environments: files that ship, defaults, every rule's sentence, and where files are found."""

import ipaddress
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from airflowaks.config.backend_schema import ExistingCache, ManagedRedis
from airflowaks.config.environment import Environment, load_environment
from airflowaks.errors import InvalidEnvironment
from tests.support.repository import REPOSITORY

SHIPPED = REPOSITORY / "manifests" / "environments"
SUBSCRIPTION = "33333333-3333-4333-8333-333333333333"
TENANT = "44444444-4444-4444-8444-444444444444"
REQUIRED = f"subscription_id: {SUBSCRIPTION}\ntenant_id: {TENANT}\nlocation: westeurope\n"
PLACEHOLDER = "00000000-0000-0000-0000-000000000000"


def load(tmp_path: Path, text: str, name: str = "test") -> Environment:
    (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    return load_environment(name, tmp_path)


def refusals(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(InvalidEnvironment) as refusal:
        load(tmp_path, text)
    first, *problems = refusal.value.message.splitlines()
    assert first.startswith(f"test.yaml breaks {len(problems)} rule")
    return [problem.strip() for problem in problems]


# A fragment of YAML, put behind the three required keys (so that it begins on line 4), and the one sentence it earns.
REFUSED = {
    # Keys
    "unknown section": ("clutser: {}", 'clutser (line 4): no such key; did you mean "cluster"?'),
    "unknown key": (
        "cluster: {node_pool: {vmsize: x}}",
        'cluster.node_pool.vmsize (line 4): no such key; did you mean "cluster.node_pool.vm_size"?',
    ),
    "key in the wrong section": (
        "cluster: {storage_gb: 64}",
        'cluster.storage_gb (line 4): no such key here; did you mean "postgresql.storage_gb"?',
    ),
    "key like no other": (
        "identities: {xyz: 1}",
        "identities.xyz (line 4): no such key here; valid keys are cluster, pods",
    ),
    # Airflow in the cluster
    "cores": (
        "airflow: {scheduler: {cpu: two}}",
        (
            'airflow.scheduler.cpu (line 4): "two" is not a number of cores; write it like "2" or, in '
            'thousandths, "500m"'
        ),
    ),
    "memory": (
        "airflow: {workers: {memory: 2GB}}",
        ('airflow.workers.memory (line 4): "2GB" is not an amount of memory; write it like "512Mi" or "2Gi"'),
    ),
    "workers below their minimum": (
        "airflow: {workers: {min_count: 4, max_count: 3}}",
        ("airflow.workers.max_count (line 4): 3 is below min_count (4); raise max_count or lower min_count"),
    ),
    "share too small for Premium": (
        "airflow: {files: {sku: Premium_LRS, logs_gb: 32}}",
        'airflow.files.logs_gb (line 4): 32 is too small for "Premium_LRS"; use 100 or more',
    ),
    "exposed without a certificate": (
        "airflow: {expose: public, host: airflow.example.com}",
        (
            "airflow.certificate (line 4): expose: public needs a certificate, because plain HTTP would "
            "expose passwords; set it, or use expose: none"
        ),
    ),
    "host": (
        "airflow: {host: localhost}",
        ('airflow.host (line 4): "localhost" is not a lower-case host name; write it like "airflow.example.com"'),
    ),
    "key of the other broker": (
        "broker: {kind: existing_cache, resource_group: g, name: c, high_availability: true}",
        ("broker.high_availability (line 4): no such key here; valid keys are kind, name, resource_group"),
    ),
    "key of a firewall rule": (
        "postgresql:\n  firewall:\n    home: {start: 10.0.0.1, ends: 10.0.0.2}",
        'postgresql.firewall.home.ends (line 6): no such key; did you mean "postgresql.firewall.home.end"?',
    ),
    "key that is a number": ("17: x", "17 (line 4): a key must be text; remove it or put it in quotes"),
    "key given twice": (
        "cluster:\n  tier: Free\n  tier: Standard",
        "cluster.tier (line 6): appears twice; remove one of the two",
    ),
    "section given twice": (
        "cluster: {}\ncluster: {}",
        "cluster (line 5): appears twice; remove one of the two",
    ),
    "the file's name as a key": (
        "name: dev",
        "name (line 4): the file name is the environment's name; remove this key",
    ),
    # Forms that YAML and people get wrong
    "section that is text": (
        "cluster: big",
        'cluster (line 4): "big" is not a mapping; write its keys on the lines below, indented',
    ),
    "list that is text": (
        "cluster: {authorized_ip_ranges: 10.0.0.0/8}",
        (
            'cluster.authorized_ip_ranges (line 4): "10.0.0.0/8" is not a list; write each item on its '
            'own line, after "- "'
        ),
    ),
    "text that is a list": (
        "resource_group: [a]",
        "resource_group (line 4): must be text; got a list; write the text on the key's line",
    ),
    "text that is a truth": (
        "resource_group: no",
        'resource_group (line 4): YAML reads no as true or false; put it in quotes: "no"',
    ),
    "text that is a date": (
        "tags: {since: 2026-11-22}",
        'tags.since (line 4): YAML reads 2026-11-22 as a date; put it in quotes: "2026-11-22"',
    ),
    "text that is a number": (
        "tags: {cost-center: 0471}",
        'tags.cost-center (line 4): YAML reads 0471 as a number; put it in quotes: "0471"',
    ),
    "truth that is text": (
        'key_vault: {purge_protection: "yes"}',
        'key_vault.purge_protection (line 4): must be true or false without quotes; got "yes"',
    ),
    "number that is text": (
        'postgresql: {backup_days: "7"}',
        'postgresql.backup_days (line 4): must be a whole number without quotes; got "7"',
    ),
    "version that lost its zero": (
        "cluster: {kubernetes_version: 1.30}",
        ('cluster.kubernetes_version (line 4): YAML reads 1.30 as the number 1.3; put it in quotes: "1.30"'),
    ),
    "version without quotes": (
        "cluster: {kubernetes_version: 1.35}",
        ('cluster.kubernetes_version (line 4): YAML reads 1.35 as the number 1.35; put it in quotes: "1.35"'),
    ),
    "choice in the wrong case": (
        "cluster: {tier: standard}",
        "cluster.tier (line 4): \"standard\" is not one of 'Free', 'Standard' or 'Premium'; did you mean \"Standard\"?",
    ),
    "choice like no other": (
        "cloud: 7",
        "cloud (line 4): 7 is not one of 'azure' or 'rehearsal'; use one of these",
    ),
    # Who, where and how it is reached
    "member who is no GUID": (
        "entra: {admin_members: [me@example.com]}",
        (
            'entra.admin_members.0 (line 4): "me@example.com" is not a GUID (8-4-4-4-12 hexadecimal '
            "digits); enter the member's object ID: az ad user show --id NAME@DOMAIN --query id"
        ),
    ),
    "member listed twice": (
        f"entra: {{admin_members: [{TENANT}, {TENANT}]}}",
        f'entra.admin_members (line 4): "{TENANT}" is listed twice; remove one',
    ),
    "proxy without a port": (
        "proxy: proxy.example.com",
        ('proxy (line 4): the proxy URL needs scheme, host and port; write it like "http://proxy.example.com:3128"'),
    ),
    "proxy with an impossible port": (
        "proxy: http://proxy.example.com:99999",
        ('proxy (line 4): the proxy URL needs scheme, host and port; write it like "http://proxy.example.com:3128"'),
    ),
    "proxy with a password": (
        "proxy: http://me:hunter2@proxy.example.com:3128",
        "proxy (line 4): the proxy URL contains credentials; remove them and set HTTPS_PROXY instead",
    ),
    "CA bundle that is a number": ("ca_bundle: 5", "ca_bundle (line 4): must be a path in quotes; got 5"),
    "CA bundle that is not there": (
        "ca_bundle: nowhere.pem",
        (
            'ca_bundle (line 4): "nowhere.pem" is not a file; use a path relative to the environment '
            "file, or from / or ~"
        ),
    ),
    "tag's name": (
        'tags: {"a/b": c}',
        'tags.a/b (line 4): the tag name "a/b" contains /; remove each of < > % & \\ ? /',
    ),
    "tag's reserved name": (
        "tags: {Microsoft-x: y}",
        (
            'tags.Microsoft-x (line 4): the tag name "Microsoft-x" begins with a word that Azure '
            "reserves; choose another name"
        ),
    ),
    "the runbook's own tag": (
        "tags: {AirflowAKS: dev}",
        'tags (line 4): "airflowaks" is the tag by which the runbook knows what it created; remove it',
    ),
    "tags that differ in case only": ("tags: {a: x, A: y}", 'tags (line 4): "a" is listed twice; remove one'),
    "tag's long value": (
        f"tags: {{a: {'x' * 257}}}",
        "tags.a (line 4): the text is too long; use at most 256 characters",
    ),
    "too many tags": (
        f"tags: {{{', '.join(f't{n}: x' for n in range(51))}}}",
        "tags (line 4): 51 tags exceed the limit of 49 for each resource; remove some",
    ),
    # Values that are dangerous although each is valid
    "groups that are the same": (
        "entra: {admin_group: Team, developer_group: team}",
        (
            'entra.developer_group (line 4): "team" is also admin_group: developers would administer the cluster; '
            "use another group"
        ),
    ),
    "identities that are the same": (
        "identities: {cluster: Airflow, pods: airflow}",
        (
            'identities.pods (line 4): "airflow" is also the cluster\'s: pods would act as the cluster; '
            "use another identity"
        ),
    ),
    "firewall rules that differ in case only": (
        "postgresql: {firewall: {Office: {start: 203.0.113.7}, office: {start: 203.0.113.8}}}",
        'postgresql.firewall (line 4): the rules "Office" and "office" differ only in case; rename one',
    ),
    "firewall rule that step 3 makes, in capitals": (
        "postgresql: {firewall: {Operator: {start: 203.0.113.7}}}",
        (
            'postgresql.firewall.Operator (line 4): "Operator" is not a valid name for a firewall rule: '
            'use letters, digits, hyphens, underscores and full stops, but not "operator" or "cluster", '
            'which step 3 uses; for example, "office"'
        ),
    ),
    "firewall open to everyone": (
        "postgresql: {firewall: {all: {start: 0.0.0.0, end: 255.255.255.255}}}",
        (
            'postgresql.firewall (line 4): the rule "all" (0.0.0.0 to 255.255.255.255) is larger than a /8; narrow it, '
            'or call it "everyone" to admit everyone'
        ),
    ),
    "firewall open to loopback": (
        "postgresql: {firewall: {home: {start: 127.0.0.1}}}",
        (
            'postgresql (line 4): the firewall rule "home" (127.0.0.1 to 127.0.0.1) overlaps 127.0.0.0/8 (loopback); '
            "use public addresses"
        ),
    ),
    "API open to everyone": (
        "cluster: {authorized_ip_ranges: [0.0.0.0/0]}",
        (
            'cluster.authorized_ip_ranges.0 (line 4): "0.0.0.0/0" is larger than a /8; use a range such as '
            '"203.0.113.0/24", or an empty list, which admits everyone'
        ),
    ),
    "Airflow open to multicast": (
        "airflow: {allowed_networks: [224.0.0.0/8]}",
        (
            'airflow.allowed_networks.0 (line 4): "224.0.0.0/8" overlaps 224.0.0.0/4 (multicast); '
            'use a range such as "203.0.113.0/24"'
        ),
    ),
    "pods on loopback": (
        "cluster: {network: {pod_cidr: 127.0.0.0/16}}",
        ('cluster.network.pod_cidr (line 4): "127.0.0.0/16" overlaps 127.0.0.0/8 (loopback); choose another range'),
    ),
    "services on Azure's DNS": (
        "cluster: {network: {service_cidr: 168.63.0.0/16}}",
        (
            'cluster.network.service_cidr (line 4): "168.63.0.0/16" overlaps 168.63.129.16/32 (Azure\'s platform); '
            "choose another range"
        ),
    ),
    "pods for a thousand nodes": (
        "cluster: {node_pool: {max_count: 1000}}",
        (
            'cluster.network (line 4): pod_cidr "10.244.0.0/16" is too small: each of 1000 nodes needs a /24; '
            'use a larger range such as "10.4.0.0/14", or lower node_pool.max_count'
        ),
    ),
    "digits of another script": (
        "cluster: {kubernetes_version: '1.\u0663\u0665'}",
        (
            'cluster.kubernetes_version (line 4): "1.\u0663\u0665" is not a version of Kubernetes; write it like '
            '"1.35" or "1.35.3"'
        ),
    ),
    "size in digits of another script": (
        "cluster: {node_pool: {vm_size: Standard_D\u0664ds_v5}}",
        (
            'cluster.node_pool.vm_size (line 4): "Standard_D\u0664ds_v5" is not a VM size; '
            'write it like "Standard_D4ds_v5"'
        ),
    ),
    "octal number": (
        "postgresql: {storage_gb: 0200}",
        "postgresql.storage_gb (line 4): 0200 is not a decimal number; write it without leading zeros",
    ),
    "sexagesimal number": (
        "postgresql: {storage_gb: 1:04}",
        "postgresql.storage_gb (line 4): 1:04 is not a decimal number; write it without leading zeros",
    ),
    "blank group": (
        "entra: {admin_group: ' '}",
        'entra.admin_group (line 4): " " begins or ends with a space; remove it',
    ),
    "blank tag": ("tags: {' a': x}", 'tags. a (line 4): " a" begins or ends with a space; remove it'),
    "image on a host with a space": (
        "registry: {source: 'a b.io/airflow:1'}",
        (
            'registry.source (line 4): "a b.io/airflow:1" is not an image with registry host, repository and tag; '
            'write it like "docker.io/apache/airflow:3.3.2"'
        ),
    ),
    "nothing in a list": (
        "cluster:\n  authorized_ip_ranges:\n    -",
        "cluster.authorized_ip_ranges.0 (line 6): has no value; add one or remove the line",
    ),
    "null as text": ("tags: {a: null}", 'tags.a (line 4): YAML reads null as no value; put it in quotes: "null"'),
    # Cluster
    "Kubernetes of another form": (
        'cluster: {kubernetes_version: "v1.36"}',
        (
            'cluster.kubernetes_version (line 4): "v1.36" is not a version of Kubernetes; write it like '
            '"1.35" or "1.35.3"'
        ),
    ),
    "VM size": (
        "cluster: {node_pool: {vm_size: D4ds_v5}}",
        ('cluster.node_pool.vm_size (line 4): "D4ds_v5" is not a VM size; write it like "Standard_D4ds_v5"'),
    ),
    "ephemeral disk where there is none": (
        "cluster: {node_pool: {vm_size: Standard_D4s_v5}}",
        (
            'cluster.node_pool.os_disk (line 4): "Ephemeral" needs a local disk, and Standard_D4s_v5 has '
            'none; use "Managed", or a vm_size with a d such as "Standard_D4ds_v5"'
        ),
    ),
    "maintenance on no day": (
        "cluster: {maintenance: {day: sunday}}",
        (
            "cluster.maintenance.day (line 4): \"sunday\" is not one of 'Monday', 'Tuesday', 'Wednesday', "
            "'Thursday', 'Friday', 'Saturday' or 'Sunday'; did you mean \"Sunday\"?"
        ),
    ),
    "maintenance in a time zone": (
        "cluster: {maintenance: {utc_offset: CET}}",
        'cluster.maintenance.utc_offset (line 4): "CET" is not an offset from UTC; write it like "+01:00"',
    ),
    "maintenance at an offset that YAML reads as a number": (
        "cluster: {maintenance: {utc_offset: +10:00}}",
        'cluster.maintenance.utc_offset (line 4): YAML reads +10:00 as a number; put it in quotes: "+10:00"',
    ),
    "maintenance too short": (
        "cluster: {maintenance: {hours: 2}}",
        "cluster.maintenance.hours (line 4): 2 is too small; use 4 or more",
    ),
    "fewer nodes at most than at least": (
        "cluster: {node_pool: {min_count: 4, max_count: 3}}",
        ("cluster.node_pool.max_count (line 4): 3 is below min_count (4); raise max_count or lower min_count"),
    ),
    "zone": (
        "cluster: {node_pool: {zones: [4]}}",
        "cluster.node_pool.zones.0 (line 4): \"4\" is not one of '1', '2' or '3'; use one of these",
    ),
    "network with host bits": (
        "cluster: {network: {pod_cidr: 10.244.1.0/16}}",
        (
            'cluster.network.pod_cidr (line 4): "10.244.1.0/16" is not an IPv4 network in CIDR notation '
            'with zero host bits; did you mean "10.244.0.0/16"?'
        ),
    ),
    "no network": (
        "cluster: {network: {pod_cidr: pods}}",
        (
            'cluster.network.pod_cidr (line 4): "pods" is not an IPv4 network in CIDR notation with zero '
            'host bits; write it like "10.1.0.0/16"'
        ),
    ),
    "networks that overlap": (
        "cluster:\n  network: {service_cidr: 10.244.128.0/20}",
        (
            'cluster.network.service_cidr (line 5): "10.244.128.0/20" overlaps pod_cidr "10.244.0.0/16"; '
            "choose ranges that do not overlap"
        ),
    ),
    "network that AKS keeps": (
        "cluster: {network: {service_cidr: 172.30.4.0/22}}",
        (
            'cluster.network.service_cidr (line 4): "172.30.4.0/22" overlaps 172.30.0.0/16, which AKS '
            "reserves; choose another range"
        ),
    ),
    "service range too large": (
        "cluster: {network: {service_cidr: 16.0.0.0/8}}",
        (
            'cluster.network.service_cidr (line 4): "16.0.0.0/8" is larger than /12 or smaller than /28; '
            'use a range such as "10.0.0.0/16"'
        ),
    ),
    "DNS outside of the services": (
        "cluster: {network: {dns_service_ip: 10.1.0.10}}",
        (
            'cluster.network.dns_service_ip (line 4): "10.1.0.10" is not a free address of service_cidr '
            '"10.0.0.0/16" (first two and last are reserved); use "10.0.0.10"'
        ),
    ),
    "DNS on the API's address": (
        "cluster: {network: {dns_service_ip: 10.0.0.1}}",
        (
            'cluster.network.dns_service_ip (line 4): "10.0.0.1" is not a free address of service_cidr '
            '"10.0.0.0/16" (first two and last are reserved); use "10.0.0.10"'
        ),
    ),
    "pod range too small": (
        "cluster: {network: {pod_cidr: 10.244.0.0/22}}",
        (
            'cluster.network (line 4): pod_cidr "10.244.0.0/22" is too small: each of 5 nodes needs a '
            '/24; use a larger range such as "10.1.0.0/16", or lower node_pool.max_count'
        ),
    ),
    # Registry
    "image without a registry": (
        "registry: {source: apache/airflow}",
        (
            'registry.source (line 4): "apache/airflow" is not an image with registry host, repository '
            'and tag; write it like "docker.io/apache/airflow:3.3.2"'
        ),
    ),
    "image by something that is no digest": (
        "registry: {source: docker.io/apache/airflow:3.3.2@sha256:abc}",
        ('registry.source (line 4): "sha256:abc" is not a digest; write "sha256:" and 64 hexadecimal digits'),
    ),
    "registry's name": (
        "registry: {name: air-flow}",
        (
            'registry.name (line 4): "air-flow" is not a valid name for a container registry: use '
            'letters and digits only; for example, "airflowdevacr"'
        ),
    ),
    # PostgreSQL
    "PostgreSQL of another form": (
        'postgresql: {version: "17.2"}',
        'postgresql.version (line 4): "17.2" is not a major version of PostgreSQL; write it like "17"',
    ),
    "PostgreSQL on the wrong series": (
        "postgresql: {sku: Standard_F4s_v2}",
        (
            'postgresql.sku (line 4): "Standard_F4s_v2" is not a PostgreSQL size (series B, D and E); '
            'use, for example, "Standard_D2ds_v5"'
        ),
    ),
    "tier that is not the sku's": (
        "postgresql: {sku: Standard_B2s, tier: GeneralPurpose}",
        (
            'postgresql.tier (line 4): "GeneralPurpose" is not the tier of Standard_B2s ("Burstable"); '
            "remove tier, the SKU determines it"
        ),
    ),
    "high availability on Burstable": (
        "postgresql: {sku: Standard_B2s, high_availability: SameZone}",
        (
            'postgresql.high_availability (line 4): "SameZone" is not available in the Burstable tier; '
            'use a sku such as "Standard_D2ds_v5", or "Disabled"'
        ),
    ),
    "disk that is not made": (
        "postgresql: {storage_gb: 100}",
        (
            "postgresql.storage_gb (line 4): 100 is not one of "
            "32, 64, 128, 256, 512, 1024, 2048, 4095, 4096, 8192, 16384 or 32767; use 128"
        ),
    ),
    "results of the metadata's owner": (
        "postgresql: {celery_role: airflow}",
        (
            'postgresql.celery_role (line 4): "airflow" is also the role of Airflow\'s metadata, which workers must '
            'not reach; use another name such as "airflow_celery"'
        ),
    ),
    "results in the metadata database": (
        "postgresql: {database: Airflow_Celery}",
        (
            'postgresql.celery_database (line 4): "airflow_celery" is also the database of Airflow\'s metadata, which '
            'workers must not reach; use another name such as "airflow_results"'
        ),
    ),
    "backups kept too short": (
        "postgresql: {backup_days: 6}",
        "postgresql.backup_days (line 4): 6 is too small; use 7 or more",
    ),
    "backups kept too long": (
        "postgresql: {backup_days: 36}",
        "postgresql.backup_days (line 4): 36 is too large; use 35 or less",
    ),
    "firewall rule's name": (
        'postgresql: {firewall: {"my home": {start: 10.0.0.1}}}',
        (
            'postgresql.firewall.my home (line 4): "my home" is not a valid name for a firewall rule: '
            'use letters, digits, hyphens, underscores and full stops, but not "operator" or "cluster", '
            'which step 3 uses; for example, "office"'
        ),
    ),
    "firewall rule that step 3 makes": (
        "postgresql: {firewall: {cluster-2: {start: 10.0.0.1}}}",
        (
            'postgresql.firewall.cluster-2 (line 4): "cluster-2" is not a valid name for a firewall '
            'rule: use letters, digits, hyphens, underscores and full stops, but not "operator" or '
            '"cluster", which step 3 uses; for example, "office"'
        ),
    ),
    "firewall rule backwards": (
        "postgresql: {firewall: {home: {start: 10.0.0.10, end: 10.0.0.9}}}",
        ('postgresql.firewall.home.end (line 4): "10.0.0.9" is lower than start "10.0.0.10"; swap the two'),
    ),
    "firewall rule without start": (
        "postgresql:\n  firewall:\n    home: {end: 10.0.0.9}",
        "postgresql.firewall.home.start (line 6): is missing; add it (the first allowed address)",
    ),
    "address": (
        "postgresql: {firewall: {home: {start: 10.0.0.256}}}",
        'postgresql.firewall.home.start (line 4): "10.0.0.256" is not an IPv4 address; write it like "203.0.113.7"',
    ),
    # Broker and vault
    "kind of broker": (
        "broker: {kind: rabbitmq}",
        "broker.kind (line 4): \"rabbitmq\" is not a kind of broker; use one of 'managed_redis', 'existing_cache'",
    ),
    "kind of broker that is a list": (
        "broker: {kind: [existing_cache]}",
        (
            "broker.kind (line 4): \"['existing_cache']\" is not a kind of broker; "
            "use one of 'managed_redis', 'existing_cache'"
        ),
    ),
    "broker too large for NoCluster": (
        "broker: {sku: Balanced_B50}",
        (
            "broker.sku (line 4): \"Balanced_B50\" is not one of 'Balanced_B0', 'Balanced_B1', 'Balanced_B3', "
            "'Balanced_B5', 'Balanced_B10', 'Balanced_B20', 'MemoryOptimized_M10', 'MemoryOptimized_M20', "
            "'ComputeOptimized_X3', 'ComputeOptimized_X5', 'ComputeOptimized_X10' or 'ComputeOptimized_X20'; "
            'did you mean "Balanced_B5"?'
        ),
    ),
    "existing cache without its name": (
        "broker:\n  kind: existing_cache\n  resource_group: shared",
        "broker.name (line 4): is missing; add it (the cache's name: az redis list --query [].name)",
    ),
    "vault's name": (
        "key_vault: {name: 1-vault}",
        (
            'key_vault.name (line 4): "1-vault" is not a valid name for a key vault: use letters, digits '
            'and single hyphens between them, a letter first; for example, "airflow-dev-kv"'
        ),
    ),
    "soft delete too long": (
        "key_vault: {soft_delete_days: 91}",
        "key_vault.soft_delete_days (line 4): 91 is too large; use 90 or less",
    ),
}


@pytest.mark.parametrize(("fragment", "sentence"), REFUSED.values(), ids=REFUSED)
def test_each_broken_rule_earns_one_sentence(tmp_path: Path, fragment: str, sentence: str) -> None:
    assert refusals(tmp_path, REQUIRED + fragment) == [sentence]


# An example in a sentence, and the key beside it that the example is of, if it is of another.
EXAMPLE = re.compile(
    r'(?:\ba (vm_size|sku)\b.{0,14})?\b(?:use|such as|like|(?<!operator" )or|for example,|thousandths,) "([^"]+)"'
)


@pytest.mark.parametrize(("fragment", "sentence"), REFUSED.values(), ids=REFUSED)
def test_the_examples_of_a_sentence_keep_its_rule(tmp_path: Path, fragment: str, sentence: str) -> None:
    place, _, text = sentence.partition(" (line ")
    keys: list[str | int] = [int(key) if key.isdigit() else key for key in place.split(".")]
    if "pod_cidr" in sentence and place == "cluster.network":
        keys.append("pod_cidr")
    for key, value in EXAMPLE.findall(text):
        content: Any = yaml.safe_load(REQUIRED + fragment)
        path = [*keys[:-1], key or keys[-1]]
        holder: Any = content
        for part in path[:-1]:
            holder = holder.setdefault(part, {})
        if "valid name for a firewall rule" in text or "call it" in text:  # the example is a name of a key
            rules = content["postgresql"]["firewall"]
            rules[value] = rules.popitem()[1]
        else:
            holder[path[-1]] = value
        load(tmp_path, yaml.safe_dump(content))


@pytest.mark.parametrize(
    "fragment",
    [
        "cluster: {node_pool: {vm_size: Standard_DS2_v2}}",  # before version 4 there is a local disk without a d
        "cluster: {node_pool: {vm_size: Standard_E8s_v3}}",
        "cluster: {node_pool: {vm_size: Standard_L8s_v3}}",  # the storage-optimized have one too
        "cluster: {node_pool: {vm_size: Standard_NC24ads_A100_v4}}",
        "cluster: {node_pool: {vm_size: Standard_D4s_v5, os_disk: Managed}}",
        "cluster: {node_pool: {vm_size: Standard_E4-2ds_v5, zones: []}}",
        "cluster: {node_pool: {max_count: 2}, network: {pod_cidr: 10.244.0.0/23}}",
        "cluster: {network: {service_cidr: 10.1.0.0/16, dns_service_ip: 10.1.255.254}}",
        "postgresql: {sku: Standard_B2s, tier: Burstable}",
        "postgresql: {sku: Standard_E4ds_v5, high_availability: ZoneRedundant, storage_gb: 32767}",
        "postgresql: {firewall: {azure-services: {start: 0.0.0.0}}}",
        "postgresql: {firewall: {everyone: {start: 0.0.0.0, end: 255.255.255.255}}}",
        "cloud: rehearsal\npostgresql: {firewall: {this-machine: {start: 127.0.0.1}}}",
        "cluster: {authorized_ip_ranges: [0.0.0.0/32]}",  # only the cluster's own outbound address
        "broker: {kind: managed_redis, sku: ComputeOptimized_X20, high_availability: false}",
        "registry: {source: 'mcr.example.com:5000/data/airflow:3.3.2-python3.12'}",
        f"registry: {{image: build, source: 'docker.io/apache/airflow:3.3.2@sha256:{'0' * 64}'}}",
        "proxy: http://proxy.example.com:3128",
    ],
)
def test_what_azure_accepts_is_accepted(tmp_path: Path, fragment: str) -> None:
    assert load(tmp_path, REQUIRED + fragment).name == "test"


def test_an_images_tag_is_what_stands_before_its_digest(tmp_path: Path) -> None:
    pinned = f"registry: {{source: 'docker.io/apache/airflow:3.3.2@sha256:{'0' * 64}'}}"
    assert load(tmp_path, REQUIRED + pinned).registry.tag == "3.3.2"


def test_a_rule_is_not_asked_about_a_value_that_is_wrong_already(tmp_path: Path) -> None:
    problems = refusals(tmp_path, REQUIRED + "cluster: {network: {service_cidr: x, dns_service_ip: 10.0.0.10}}")
    assert [problem.partition(" ")[0] for problem in problems] == ["cluster.network.service_cidr"]


def test_what_is_required_is_asked_for_all_at_once(tmp_path: Path) -> None:
    assert refusals(tmp_path, "") == [
        (
            "subscription_id (line 1): is missing; "
            "add it (the subscription that holds and pays for everything: az account show --query id)"
        ),
        (
            "tenant_id (line 1): is missing; "
            "add it (the Entra tenant of the subscription: az account show --query tenantId)"
        ),
        (
            "location (line 1): is missing; "
            "add it (the region, such as westeurope: az account list-locations --query [].name)"
        ),
    ]


def test_problems_are_told_in_the_order_of_the_file(tmp_path: Path) -> None:
    fragments = "location: mars\nkey_vault: {name: a}\npostgresql: {storage_gb: 1}\nclutser: {}\n"
    required = f"subscription_id: {SUBSCRIPTION}\ntenant_id: {TENANT}\n"
    lines = [problem.split(":")[0] for problem in refusals(tmp_path, required + fragments)]
    assert lines == [
        "location (line 3)",
        "key_vault.name (line 4)",
        "postgresql.storage_gb (line 5)",
        "clutser (line 6)",
    ]


def test_a_password_in_a_proxy_is_told_nowhere(tmp_path: Path) -> None:
    with pytest.raises(InvalidEnvironment) as refusal:
        load(tmp_path, REQUIRED + "proxy: http://me:hunter2@proxy.example.com:3128\nproxxy: http://me:hunter2@x:1\n")
    chain = (refusal.value, refusal.value.__cause__, refusal.value.__context__)
    assert not any("hunter2" in repr(error) + str(error) for error in chain)


@pytest.mark.parametrize("name", ["dev", "prod"])
def test_shipped_examples_ask_for_the_two_ids_and_nothing_else(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidEnvironment) as refusal:
        load_environment(name, SHIPPED)
    first, *problems = refusal.value.message.splitlines()
    assert first == f"{name}.yaml breaks 2 rules; nothing was created."
    assert problems[0].endswith("enter your subscription ID: az account show --query id")
    assert problems[1].endswith("enter your tenant ID: az account show --query tenantId")
    text = (SHIPPED / f"{name}.yaml").read_text(encoding="utf-8")
    filled = text.replace(PLACEHOLDER, SUBSCRIPTION, 1).replace(PLACEHOLDER, TENANT, 1)
    environment = load(tmp_path, filled, name)
    assert (environment.subscription_id, environment.tenant_id) == (SUBSCRIPTION, TENANT)
    assert not environment.is_local


@pytest.mark.parametrize("name", ["dev", "prod"])
def test_what_shipped_examples_show_in_comments_is_right_too(tmp_path: Path, name: str) -> None:
    (tmp_path / "company-root.pem").touch()
    text = (SHIPPED / f"{name}.yaml").read_text(encoding="utf-8")
    text = text.replace(PLACEHOLDER, SUBSCRIPTION, 1).replace(PLACEHOLDER, TENANT, 1)
    for key in ("proxy", "ca_bundle", "  firewall", "    office"):
        indent = " " * (len(key) - len(key.lstrip()))
        shown = f"# {key.lstrip()}:" if not indent else f"  # {indent[2:]}{key.lstrip()}:"
        text = text.replace(shown, f"{key}:")
    text = text.replace("/etc/ssl/certs/company-root.pem", "company-root.pem")
    environment = load(tmp_path, text, name)
    assert environment.proxy == "http://proxy.example.com:3128"
    assert environment.ca_bundle == tmp_path.resolve() / "company-root.pem"
    assert name == "prod" or environment.postgresql.firewall["office"].end == "203.0.113.20"


def test_local_is_the_rehearsal() -> None:
    environment = load_environment("local", SHIPPED)
    assert environment.is_local
    assert environment.subscription_id == "11111111-1111-4111-8111-111111111111"
    assert environment.tenant_id == "22222222-2222-4222-8222-222222222222"
    assert environment.location == "westeurope"
    assert (environment.access, environment.postgresql.firewall) == ("through_cluster", {})


def test_three_keys_are_enough(tmp_path: Path) -> None:
    environment = load(tmp_path, REQUIRED)
    assert environment.resource_group == "airflow-test"
    assert environment.tags == {"environment": "test", "managed-by": "airflowaks"}
    assert environment.entra.admin_group == "airflow-test-admins"
    assert environment.cluster.name == "airflow-test"
    assert environment.registry.tag == "3.3.2"
    assert environment.postgresql.tier == "GeneralPurpose"
    assert isinstance(environment.broker, ManagedRedis)
    suffix = environment.key_vault.name.rpartition("-")[2]
    assert environment.registry.name == f"airflowtestacr{suffix}"
    assert environment.postgresql.name == f"airflow-test-pg-{suffix}"
    assert environment.broker.name == f"airflow-test-redis-{suffix}"


def test_names_can_be_chosen_and_blank_keys_mean_the_default(tmp_path: Path) -> None:
    chosen = load(tmp_path, REQUIRED + "key_vault: {name: my-vault}\npostgresql:\nregistry: {name: , sku: }\nproxy:\n")
    default = load(tmp_path, REQUIRED)
    assert chosen.key_vault.name == "my-vault"
    assert chosen.model_copy(update={"key_vault": default.key_vault}) == default


def test_values_are_brought_to_the_form_that_azure_uses(tmp_path: Path) -> None:
    environment = load(
        tmp_path,
        f"subscription_id: {SUBSCRIPTION}\ntenant_id: ABCDEF00-0000-4000-8000-00000000000A\nlocation: East US\n"
        "postgresql: {version: 16}\ncluster: {kubernetes_version: '1.34.2', authorized_ip_ranges: [203.0.113.7]}\n",
    )
    assert environment.tenant_id == "abcdef00-0000-4000-8000-00000000000a"
    assert environment.location == "eastus"
    assert environment.postgresql.version == "16"
    assert environment.cluster.kubernetes_version == "1.34.2"
    assert environment.cluster.authorized_ip_ranges == ("203.0.113.7/32",)
    assert environment.cluster.node_pool.zones == ("1", "2", "3")


def test_an_existing_cache_as_broker(tmp_path: Path) -> None:
    environment = load(tmp_path, REQUIRED + "broker: {kind: existing_cache, resource_group: shared, name: cache}")
    assert environment.broker == ExistingCache(resource_group="shared", name="cache")


def test_what_was_read_does_not_change(tmp_path: Path) -> None:
    environment = load(tmp_path, REQUIRED)
    with pytest.raises(ValidationError, match="frozen"):
        environment.cluster.node_pool.max_count = 50


def test_the_fingerprint_follows_what_is_deployed_not_how_it_is_reached(tmp_path: Path) -> None:
    plain = load(tmp_path, REQUIRED).fingerprint
    assert plain == load(tmp_path, "# a comment\n" + REQUIRED + 'postgresql: {version: "17"}').fingerprint
    assert plain == load(tmp_path, REQUIRED + "proxy: http://proxy.example.com:3128").fingerprint
    assert plain != load(tmp_path, REQUIRED + "postgresql: {storage_gb: 128}").fingerprint
    assert len(plain) == 12


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", "test.yaml cannot be read: line 1, column 6: expected ',' or ']', but got '<stream end>'"),
        ("a: b: c", "test.yaml cannot be read: line 1, column 5: mapping values are not allowed here"),
        ("a: 1\n---\nb: 2", "test.yaml cannot be read: line 2, column 1: but found another document"),
        (
            "a: !!python/object:os.system x",
            "test.yaml cannot be read: line 1, column 4: the tag !!python/object:os.system is not allowed; remove it",
        ),
        ("a: 2026-99-99", "test.yaml cannot be read: month must be in 1..12"),
        ("- a", "test.yaml is not a mapping of keys."),
        ("text", "test.yaml is not a mapping of keys."),
    ],
)
def test_files_that_are_not_yaml(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InvalidEnvironment) as refusal:
        load(tmp_path, text)
    assert refusal.value.message.startswith(message)


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "test.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidEnvironment, match="cannot be read"):
        load_environment("test", tmp_path)


def test_aliases_even_circular_ones_do_no_harm(tmp_path: Path) -> None:
    shared = load(tmp_path, REQUIRED + "tags: &tags {a: b}\n").tags
    assert shared == {"a": "b"}
    assert refusals(tmp_path, REQUIRED + "clutser: &loop {again: *loop}") == [
        'clutser (line 4): no such key; did you mean "cluster"?'
    ]


def test_an_environment_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidEnvironment) as refusal:
        load_environment("prd", SHIPPED)
    assert refusal.value.message == f'There is no environment "prd" in {SHIPPED}; it has dev, local, prod.'
    assert refusal.value.action == 'Did you mean "prod"?'
    with pytest.raises(InvalidEnvironment, match="it has no environments") as refusal:
        load_environment("../secret", tmp_path)
    assert "../secret" in refusal.value.message


def test_a_file_name_that_cannot_name_an_environment(tmp_path: Path) -> None:
    with pytest.raises(InvalidEnvironment, match='"Test 1" is not a valid name for an environment: use lower-case'):
        load(tmp_path, REQUIRED, "Test 1")


@pytest.mark.parametrize("folder", ["", "notebooks", "notebooks/deeper"])
def test_files_are_found_from_below(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    environments = tmp_path / "manifests" / "environments"
    environments.mkdir(parents=True)
    load(environments, REQUIRED, "here")
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(tmp_path / folder)
    assert load_environment("here").name == "here"


def test_files_are_found_beside_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_environment("local").is_local


def test_without_a_checkout_there_is_nothing_to_load(tmp_path: Path) -> None:
    shutil.copytree(SHIPPED.parent.parent / "airflowaks", tmp_path / "airflowaks")
    program = "import airflowaks.config.environment as e; e.load_environment('local')"
    ran = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=False, capture_output=True, text=True)
    assert ran.returncode == 1
    assert f"There is no folder {Path('manifests', 'environments')} in {tmp_path}" in ran.stderr


@settings(deadline=None)  # the first example pays for building the model
@given(
    pods=st.ip_addresses(v=4), pod_prefix=st.integers(8, 24), services=st.ip_addresses(v=4), prefix=st.integers(8, 30)
)
@example(ipaddress.IPv4Address("10.244.0.0"), 16, ipaddress.IPv4Address("10.244.128.0"), 20)
@example(ipaddress.IPv4Address("10.244.128.0"), 20, ipaddress.IPv4Address("10.244.0.0"), 16)
@example(ipaddress.IPv4Address("10.244.0.0"), 16, ipaddress.IPv4Address("10.245.0.0"), 28)
@example(ipaddress.IPv4Address("10.244.0.0"), 16, ipaddress.IPv4Address("10.239.255.0"), 24)
def test_networks_are_accepted_just_when_no_rule_is_broken(
    pods: ipaddress.IPv4Address, pod_prefix: int, services: ipaddress.IPv4Address, prefix: int
) -> None:
    pod_network = ipaddress.IPv4Network((pods, pod_prefix), strict=False)
    service_network = ipaddress.IPv4Network((services, prefix), strict=False)
    reserved = ["169.254.0.0/16", "172.30.0.0/16", "172.31.0.0/16", "192.0.2.0/24", "10.224.0.0/12"]
    reserved += ["0.0.0.0/8", "127.0.0.0/8", "168.63.129.16/32", "224.0.0.0/4", "240.0.0.0/4"]
    right = (
        pod_prefix <= 21  # five nodes, the default's upper bound, at a /24 each
        and 12 <= prefix <= 28
        and not pod_network.overlaps(service_network)
        and not any(
            network.overlaps(ipaddress.IPv4Network(taken))
            for network in (pod_network, service_network)
            for taken in reserved
        )
    )
    network = {"pod_cidr": str(pod_network), "service_cidr": str(service_network)}
    given = {"name": "test", "subscription_id": SUBSCRIPTION, "tenant_id": TENANT, "location": "westeurope"}
    try:
        environment = Environment.model_validate({**given, "cluster": {"network": network}})
    except ValidationError:
        assert not right
    else:
        assert right
        assert ipaddress.IPv4Address(environment.cluster.network.dns_service_ip) in service_network


def test_importing_costs_pydantic_and_nothing_else() -> None:
    listing = "import sys, airflowaks.config.environment; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", listing], check=True, capture_output=True, text=True).stdout.split()
    assert "pydantic" in loaded
    assert not {"yaml", "azure", "rich", "requests"} & set(loaded)

"""Dangers of the `cloud` stack, as claims over everything it declares."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pulumi
import pytest
from pulumi_gcp import compute

from infra.host.names import ALERTS, IAP_RANGE, Names
from infra.settings import Settings, SettingsError, for_cloud, validated
from stacks import cloud
from stacks.cloud import backup
from stacks.home import PROJECT
from tests import google
from tests.cloud.conftest import DECLARED, NAMES
from tests.docs.reading import document

from .registry import CLOUD, INSTANCE, Made, Registry, bare, deployed_cloud, differing, run

BUCKET = "gcp:storage/bucket:Bucket"
DISK = "gcp:compute/disk:Disk"
FIREWALL = "gcp:compute/firewall:Firewall"
OBJECT = "gcp:storage/bucketObject:BucketObject"
POLICY = "gcp:monitoring/alertPolicy:AlertPolicy"
SECRET = "gcp:secretmanager/secret:Secret"
SERVICE = "gcp:projects/service:Service"
SNAPSHOTS = "gcp:compute/resourcePolicy:ResourcePolicy"
UPTIME = "gcp:monitoring/uptimeCheckConfig:UptimeCheckConfig"
ACCOUNT = "telemetry-cloud@my-project.iam.gserviceaccount.com"
ANNA = "user:anna@example.org"
EVERYBODY = "0.0.0.0/0"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
PROTECTED = {"address", "data", "backups", "configuration", "keys", "edge", "client-certificates",
             "client-ca", "lock", "members-1"}  # fmt: skip
FULL: dict[str, Any] = {
    "cloud": {
        "administrators": [ANNA, "group:ops@example.org"],
        "ssh": True,
        "alertEmail": "ops@example.org",
        "dnsZone": "example-org",
        "labels": {"cost-centre": "book"},
    },
    "edge": {"domain": "telemetry.example.org", "allowedRanges": [EVERYBODY]},
    "identity": {"lists": 3},
}
VARIANTS: dict[str, Any] = {
    "least": {},
    "full": FULL,
    "arm": {
        "cloud": {"machineType": "c4a-standard-2", "dataDiskType": "hyperdisk-balanced"},
    },
    "unlocked": {"cloud": {"backupLockDays": 0, "deletionProtection": False}},
    "certificates": {
        "cloud": {"alertEmail": "ops@example.org"},
        "edge": {"allowedRanges": [EVERYBODY], "clientCertificates": True},
    },
}


@pytest.fixture(scope="module")
def least() -> Registry:
    """With nothing but what must be named."""
    return deployed_cloud()


@pytest.fixture(scope="module")
def full() -> Registry:
    """With everything that can be had."""
    return deployed_cloud(**FULL)


def of_google(registry: Registry) -> list[Made]:
    return [each for each in registry.made if each.kind.startswith("gcp:")]


def machine(registry: Registry) -> dict[str, Any]:
    found: dict[str, Any] = registry.plain(INSTANCE)["machine"]
    return found


def way_in(registry: Registry) -> dict[str, tuple[list[str], tuple[str, ...]]]:
    """Ports and ranges of every rule that lets somebody in."""
    return {
        name: (
            rule["sourceRanges"],
            tuple(port for each in rule["allows"] for port in each["ports"]),
        )
        for name, rule in registry.plain(FIREWALL).items()
        if rule["direction"] == "INGRESS" and "allows" in rule
    }


def bindings(registry: Registry) -> set[tuple[str, str, str]]:
    """(who, role, on what) of everything that is granted."""
    found = set()
    for each in of_google(registry):
        inputs = bare(each.inputs)
        if "role" in inputs:
            [what] = [inputs[key] for key in ("secretId", "bucket", "instance", "instanceName",
                      "serviceAccountId", "project") if key in inputs]  # fmt: skip
            found.add((inputs["member"], inputs["role"].removeprefix("roles/"), what))
    return found


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_property_is_one_that_the_plugin_knows(variant: str) -> None:
    """By name and type, and none that is required is missing."""
    made = deployed_cloud(**VARIANTS[variant]).made
    checked = [each for each in made if not each.kind.startswith("telemetry:")]
    wrong = {
        each.name: found
        for each in checked
        if (found := google.failures(each.kind, bare(each.inputs)))
    }
    assert wrong == {}
    assert len(checked) > 30


@pytest.mark.parametrize(
    ("kind", "values", "said"),
    [
        (DISK, {"sise": 10}, "no property 'sise'"),
        (DISK, {"size": "10"}, "no int"),
        (DISK, {"labels": {"a": 1}}, "no str"),
        (INSTANCE, {"machineType": "x", "networkInterfaces": []}, "requires it"),
        (
            INSTANCE,
            {
                "bootDisk": {"initializeParams": {"imge": "x"}},
                "machineType": "x",
                "networkInterfaces": [{"accessConfigs": [{"natIp": ["x"]}]}],
            },
            "no property 'imge'",
        ),
    ],
)
def test_the_check_of_properties_finds_what_is_wrong(
    kind: str, values: dict[str, Any], said: str
) -> None:
    """Guards the guard."""
    assert said in " ".join(reason for _, reason in google.failures(kind, values))


def test_everything_is_made_by_one_provider_below_one_component(full: Registry) -> None:
    kinds = {each.name: each.kind for each in full.made if each.kind.startswith("telemetry:")}
    assert kinds["endpoint"] == "telemetry:cloud:Endpoint"
    for each in of_google(full):
        assert each.provider == "google", each.name
        assert each.parent in kinds, each.name
    [provider] = full.plain(google.PROVIDER).values()
    assert provider["project"] == "my-project"
    assert (provider["region"], provider["zone"]) == ("europe-west1", "europe-west1-b")


def test_everything_waits_for_the_services_of_the_project(full: Registry) -> None:
    services = set(full.of(SERVICE))
    for each in of_google(full):
        if each.kind != SERVICE:
            assert each.after >= services, each.name
    for service in full.plain(SERVICE).values():
        assert service["disableOnDestroy"] is False, "something else may use it"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, {"web-in": (["203.0.113.0/24"], ("443",))}),
        (
            {"cloud": {"administrators": [ANNA]}},
            {
                "web-in": (["203.0.113.0/24"], ("443",)),
                "administrators-in": ([IAP_RANGE], ("8123",)),
            },
        ),
        (
            {"cloud": {"ssh": True}},
            {"web-in": (["203.0.113.0/24"], ("443",)), "ssh-in": ([IAP_RANGE], ("22",))},
        ),
        (
            {"edge": {"domain": "t.example.org", "allowedRanges": [EVERYBODY]}},
            {"web-in": ([EVERYBODY], ("443", "80"))},
        ),
        (
            {"edge": {"domain": "t.example.org", "certificate": "own"}},
            {"web-in": (["203.0.113.0/24"], ("443",))},
        ),
    ],
    ids=["least", "administrators", "ssh", "acme", "own certificate"],
)
def test_no_port_is_open_but_those_named(values: dict[str, Any], expected: dict[str, Any]) -> None:
    assert way_in(deployed_cloud(**values)) == expected


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_no_rule_allows_is_refused_and_logged(variant: str) -> None:
    rules = deployed_cloud(**VARIANTS[variant]).plain(FIREWALL)
    last = [rules[name]["priority"] for name in ("deny-in", "deny-out")]
    for name, direction, ranges in (
        ("deny-in", "INGRESS", "sourceRanges"),
        ("deny-out", "EGRESS", "destinationRanges"),
    ):
        rule = rules.pop(name)
        assert rule["direction"] == direction
        assert rule[ranges] == [EVERYBODY]
        assert rule["denies"] == [{"protocol": "all"}]
        assert rule["logConfig"] == {"metadata": "INCLUDE_ALL_METADATA"}
        assert "targetServiceAccounts" not in rule, "it is for everything in the network"
    assert min(last) > max(rule["priority"] for rule in rules.values())
    for name, rule in rules.items():
        assert {each["protocol"] for each in rule["allows"]} == {"tcp"}, name
        assert rule["targetServiceAccounts"] == [ACCOUNT], f"{name} is for more than the machine"
        assert not rule.get("disabled"), name
    out = {name: rule["allows"] for name, rule in rules.items() if rule["direction"] == "EGRESS"}
    assert out == {"https-out": [{"protocol": "tcp", "ports": ["443"]}]}


@pytest.mark.parametrize(
    ("values", "ports"),
    [
        ({"scale": {"store": "managed", "url": "https://store.example.org:8443"}}, ["443", "8443"]),
        ({"scale": {"store": "managed", "url": "https://store.example.org"}}, ["443"]),
        (
            {
                "identity": {
                    "oidcIssuer": "https://login.example.org:9443/team",
                    "oidcAudience": "telemetry",
                }
            },
            ["443", "9443"],
        ),
    ],
)
def test_a_store_and_an_issuer_elsewhere_are_reached(
    values: dict[str, Any], ports: list[str]
) -> None:
    rule = deployed_cloud(**values).plain(FIREWALL)["https-out"]
    assert rule["allows"] == [{"protocol": "tcp", "ports": ports}]


def test_what_comes_through_the_tunnel_is_logged(full: Registry) -> None:
    rules = full.plain(FIREWALL)
    for name in ("administrators-in", "ssh-in"):
        assert rules[name]["logConfig"] == {"metadata": "INCLUDE_ALL_METADATA"}


def test_the_network_is_its_own_and_reaches_google_without_the_internet(least: Registry) -> None:
    [network] = least.plain("gcp:compute/network:Network").values()
    [subnetwork] = least.plain("gcp:compute/subnetwork:Subnetwork").values()
    assert network["autoCreateSubnetworks"] is False
    assert subnetwork["privateIpGoogleAccess"] is True
    assert len(machine(least)["networkInterfaces"]) == 1


def test_metadata_is_what_is_named_and_closes_the_other_doors(full: Registry) -> None:
    found = machine(full)["metadata"]
    assert {key: found[key] for key in found if key != "user-data"} == {
        "enable-oslogin": "TRUE",
        "block-project-ssh-keys": "TRUE",
        "serial-port-enable": "FALSE",
        "google-logging-enabled": "true",
        "google-monitoring-enabled": "true",
        "cos-update-strategy": "update_enabled",
    }
    assert found["user-data"].startswith("#cloud-config")


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_secret_passes_through_pulumi(variant: str) -> None:
    """Secrets are declared, and what is in them is written by `telemetry` alone."""
    made = deployed_cloud(**VARIANTS[variant])
    assert not [each.name for each in made.made if "SecretVersion" in each.kind]
    assert not [each.name for each in made.made if "serviceaccount/key" in each.kind.lower()]
    allowed = {"secretId", "replication", "versionDestroyTtl", "deletionProtection", "labels"}
    for name, secret in made.plain(SECRET).items():
        assert set(secret) == allowed, name
    whole = json.dumps([bare(each.inputs) for each in made.made])
    assert not re.search(r"PRIVATE KEY|BEGIN CERTIFICATE|\$2[aby]\$|p1:[0-9a-f]", whole)
    assert "metadataStartupScript" not in machine(made)


def test_every_secret_that_telemetry_uses_is_declared_whatever_the_settings() -> None:
    declared = {each["secretId"] for each in deployed_cloud().plain(SECRET).values()}
    assert {NAMES.secret(each) for each in DECLARED} - declared == {NAMES.secret("members-2")}
    found = deployed_cloud(identity={"lists": 2}, **VARIANTS["certificates"]).plain(SECRET)
    assert {each["secretId"] for each in found.values()} == {
        NAMES.secret(each) for each in DECLARED
    }


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_machine_is_shielded_and_is_nobody_elses_account(variant: str) -> None:
    found = machine(deployed_cloud(**VARIANTS[variant]))
    assert found["shieldedInstanceConfig"] == {
        "enableSecureBoot": True,
        "enableVtpm": True,
        "enableIntegrityMonitoring": True,
    }
    assert found["serviceAccount"] == {"email": ACCOUNT, "scopes": [SCOPE]}
    assert found["canIpForward"] is False
    assert found["scheduling"]["preemptible"] is False


def test_data_is_on_a_disk_of_its_own_that_nothing_takes(least: Registry) -> None:
    disk = least.of(DISK)["data"]
    assert disk.protect
    assert bare(disk.inputs)["deletionPolicy"] == "PREVENT"
    [attached] = machine(least)["attachedDisks"]
    assert attached["deviceName"] == "telemetry-data"
    assert attached["source"].endswith("telemetry-cloud-data")
    boot = machine(least)["bootDisk"]
    assert boot["autoDelete"] is True
    assert "source" not in boot
    assert least.of(INSTANCE)["machine"].delete_before_replace


@pytest.mark.parametrize("protection", [True, False])
def test_what_must_last_is_protected_twice(protection: bool) -> None:
    """By Pulumi always; by the provider and Google as the setting says."""
    made = deployed_cloud(cloud={"deletionProtection": protection})
    machines = {"machine"} if protection else set()
    assert {each.name for each in made.made if each.protect} == PROTECTED | machines
    for each in of_google(made):
        inputs = bare(each.inputs)
        if each.protect and each.kind not in (SECRET, INSTANCE):
            assert inputs["deletionPolicy"] == ("PREVENT" if protection else "DELETE"), each.name
        elif each.kind in (SECRET, INSTANCE):
            assert inputs["deletionProtection"] is protection, each.name
        else:
            assert "deletionPolicy" not in inputs, f"{each.name} could not be turned off"


def test_snapshots_are_daily_and_lapse_within_the_days_of_a_purge(least: Registry) -> None:
    [policy] = least.plain(SNAPSHOTS).values()
    schedule = policy["snapshotSchedulePolicy"]
    daily = schedule["schedule"]["dailySchedule"]
    assert daily["daysInCycle"] == 1
    assert daily["startTime"] in [f"{hour:02}:00" for hour in range(0, 24, 4)], "Google refuses it"
    assert schedule["retentionPolicy"] == {
        "maxRetentionDays": 14,
        "onSourceDiskDelete": "KEEP_AUTO_SNAPSHOTS",
    }
    assert schedule["snapshotProperties"]["storageLocations"] == "europe-west1"
    kind = "gcp:compute/diskResourcePolicyAttachment:DiskResourcePolicyAttachment"
    [attachment] = least.plain(kind).values()
    assert attachment["disk"] == "telemetry-cloud-data"
    assert attachment["name"] == policy["name"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_buckets_are_nobodys_but_who_is_granted_them(variant: str) -> None:
    found = deployed_cloud(**VARIANTS[variant]).plain(BUCKET)
    assert set(found) == {"backups", "configuration"}
    for name, bucket in found.items():
        assert bucket["uniformBucketLevelAccess"] is True, name
        assert bucket["publicAccessPrevention"] == "enforced", name
        assert bucket["forceDestroy"] is False, name
        assert bucket["location"] == "EUROPE-WEST1", name


def test_backups_cannot_be_deleted_at_first(least: Registry) -> None:
    bucket = least.plain(BUCKET)["backups"]
    assert bucket["retentionPolicy"] == {"retentionPeriod": str(7 * 86_400), "isLocked": True}
    # Cloud Storage refuses both at once.
    assert bucket["versioning"] == {"enabled": False}
    # Soft deletion would add its days to those of a purge.
    assert bucket["softDeletePolicy"] == {"retentionDurationSeconds": 0}


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_bucket_deletes_what_is_in_use(variant: str) -> None:
    """A backup shares objects with older ones: by their age they would go from under it."""
    for name, bucket in deployed_cloud(**VARIANTS[variant]).plain(BUCKET).items():
        deleting = [
            rule["condition"]
            for rule in bucket["lifecycleRules"]
            if rule["action"]["type"] != "AbortIncompleteMultipartUpload"
        ]
        days = {"backups": 7, "configuration": 30}[name]
        assert deleting == [{"daysSinceNoncurrentTime": days, "withState": "ARCHIVED"}], name


def test_an_unlocked_backup_bucket_keeps_versions(least: Registry) -> None:
    bucket = deployed_cloud(cloud={"backupLockDays": 0}).plain(BUCKET)["backups"]
    assert "retentionPolicy" not in bucket
    assert bucket["versioning"] == {"enabled": True}
    assert least.plain(BUCKET)["configuration"]["versioning"] == {"enabled": True}
    assert backup.NONCURRENT_DAYS + 21 <= 30, "what was purged would outlive its days"


MACHINES = "serviceAccount:" + ACCOUNT
SECRETS = {
    f"telemetry-cloud-{each}" for each in ("keys", "edge", "client-certificates", "members-1")
}
"""Which the machine reads."""
CLIENT_AUTHORITY = "telemetry-cloud-client-ca"
LEAST = {
    (MACHINES, "logging.logWriter", "my-project"),
    (MACHINES, "monitoring.metricWriter", "my-project"),
    (MACHINES, "storage.objectViewer", "my-project-telemetry-cloud-configuration"),
    *((MACHINES, "secretmanager.secretAccessor", each) for each in SECRETS),
}
ANNAS = {
    (ANNA, "storage.objectAdmin", "my-project-telemetry-cloud-backups"),
    (ANNA, "iap.tunnelResourceAccessor", "telemetry-cloud"),
    (ANNA, "compute.viewer", "telemetry-cloud"),
    *((ANNA, "secretmanager.secretAccessor", each) for each in {*SECRETS, CLIENT_AUTHORITY}),
    *((ANNA, "secretmanager.secretVersionManager", each) for each in {*SECRETS, CLIENT_AUTHORITY}),
    (ANNA, "secretmanager.admin", "telemetry-cloud-lock"),
}
ANNAS_SSH = {
    (ANNA, "compute.osAdminLogin", "telemetry-cloud"),
    (ANNA, "iam.serviceAccountUser", "projects/my-project/serviceAccounts/telemetry-cloud"),
}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, LEAST),
        ({"administrators": [ANNA]}, LEAST | ANNAS),
        ({"administrators": [ANNA], "ssh": True}, LEAST | ANNAS | ANNAS_SSH),
        ({"ssh": True}, LEAST),
    ],
    ids=["least", "administrator", "administrator with ssh", "ssh for nobody"],
)
def test_nobody_may_do_more_than_this(
    values: dict[str, Any], expected: set[tuple[str, str, str]]
) -> None:
    made = deployed_cloud(cloud=values)
    assert bindings(made) == expected
    # A policy or a binding would take away what others were granted.
    assert not [
        each.name
        for each in made.made
        if re.search(r"Iam(Policy|Binding)|IAM(Policy|Binding)", each.kind)
    ]


def test_what_is_granted_on_the_machine_is_granted_anew_with_it(full: Registry) -> None:
    of_machine = [
        each
        for each in of_google(full)
        if {"instance", "instanceName"} & set(each.inputs) and "role" in each.inputs
    ]
    assert len(of_machine) == 6
    assert {each.replace_with for each in of_machine} == {("machine",)}


@pytest.mark.parametrize("variant", VARIANTS)
def test_everything_that_takes_labels_has_them(variant: str) -> None:
    made = deployed_cloud(**VARIANTS[variant])
    wanted = {"app": "telemetry", "stack": "cloud"}
    seen = 0
    for each in of_google(made):
        inputs = bare(each.inputs)
        # A channel's `labels` are its address.
        key = next((key for key in ("userLabels", "labels") if google.takes(each.kind, key)), "")
        if key:
            seen += 1
            assert wanted.items() <= inputs[key].items(), each.name
    assert seen >= 8
    assert wanted.items() <= machine(made)["bootDisk"]["initializeParams"]["labels"].items()


def test_a_teams_label_is_there_and_cannot_take_ours() -> None:
    made = deployed_cloud(cloud={"labels": {"team": "book", "app": "else"}})
    assert made.plain(DISK)["data"]["labels"] == {
        "team": "book",
        "app": "telemetry",
        "stack": "cloud",
    }


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"retention": {"eventsDays": 30}}, {"bundle": {"content"}}),
        ({"images": {"collector": "otel/collector:1.2.3"}}, {"bundle": {"content"}}),
        ({"sampling": {"ratio": 0.5}}, {"bundle": {"content"}}),
        ({"cloud": {"machineType": "e2-standard-4"}}, {"machine": {"machineType"}}),
        ({"cloud": {"bootDiskGib": 30}}, {"machine": {"bootDisk"}}),
        ({"cloud": {"dataDiskGib": 200}}, {"data": {"size"}}),
        ({"cloud": {"snapshotDays": 7}}, {"snapshots": {"snapshotSchedulePolicy"}}),
        ({"cloud": {"image": "projects/p/global/images/i"}}, {"machine": {"bootDisk"}}),
        ({"cloud": {"ssh": True}}, {"ssh-in": {"made"}, "service-oslogin": {"made"}}),
        ({"cloud": {"backupLockDays": 14}}, {"backups": {"retentionPolicy"}}),
        (
            {"edge": {"allowedRanges": [EVERYBODY]}},
            {"bundle": {"content"}, "web-in": {"sourceRanges"}},
        ),
        (
            {"identity": {"lists": 2}},
            {
                "bundle": {"content"},
                "members-2": {"made"},
                "machine-secretmanager.secretAccessor-members-2": {"made"},
            },
        ),
    ],
    ids=lambda each: next(iter(next(iter(each.values())))) if isinstance(each, dict) else None,
)
def test_a_change_touches_what_it_is_about(
    least: Registry, values: dict[str, Any], expected: Mapping[str, set[str]]
) -> None:
    """The bundle may or may not hold what a change is about; the machine must not, unless it is
    about the machine."""
    found = differing(least, deployed_cloud(**values))
    assert {name: keys for name, keys in found.items() if name != "bundle"} == {
        name: keys for name, keys in expected.items() if name != "bundle"
    }
    assert found.get("bundle", {"content"}) == {"content"}
    if len(expected) == 1 and "bundle" in expected:
        assert found == expected


def test_an_administrator_adds_and_changes_nothing(least: Registry) -> None:
    found = differing(least, deployed_cloud(cloud={"administrators": [ANNA]}))
    found.pop("bundle", None)
    assert {frozenset(keys) for keys in found.values()} == {frozenset({"made"})}
    assert {name for name in found if not name.startswith(ANNA)} == {"administrators-in"}


def test_alerts_add_and_change_nothing(least: Registry) -> None:
    found = differing(least, deployed_cloud(cloud={"alertEmail": "ops@example.org"}))
    found.pop("bundle", None)
    assert {frozenset(keys) for keys in found.values()} == {frozenset({"made"})}
    assert set(found) == {"mail", "machine-absent", *(f"said-{what}" for what in ALERTS)}


def test_a_domain_adds_a_record_where_there_is_a_zone() -> None:
    values = {"domain": "t.example.org", "allowedRanges": [EVERYBODY]}
    without = deployed_cloud(edge=values)
    found = differing(without, deployed_cloud(edge=values, cloud={"dnsZone": "zone"}))
    found.pop("bundle", None)
    assert found == {"record": {"made"}, "service-dns": {"made"}}
    [record] = deployed_cloud(**FULL).plain("gcp:dns/recordSet:RecordSet").values()
    assert record["name"] == "telemetry.example.org."
    assert (record["type"], record["rrdatas"]) == ("A", [google.ADDRESS])


def test_a_new_bundle_is_put_over_the_old_one_which_is_not_deleted(least: Registry) -> None:
    """Both have the same name: deleting the old one would delete the new."""
    bundle = least.of(OBJECT)["bundle"]
    assert bundle.retain_on_delete
    assert not bundle.delete_before_replace
    assert bare(bundle.inputs)["name"] == "bundle.tar.gz.b64"


@pytest.mark.parametrize("variant", VARIANTS)
def test_nothing_is_replaced_or_left_that_the_plugin_would_not(variant: str) -> None:
    """But for the family of ARM images, which the plugin does not know again, and for the marks of
    who changes secrets."""
    made = deployed_cloud(**VARIANTS[variant])
    ignored = {(SECRET, "lock"): ("annotations",)}
    if variant == "arm":
        ignored[INSTANCE, "machine"] = ("bootDisk.initializeParams.image",)
    for each in made.made:
        assert each.ignore_changes == ignored.get((each.kind, each.name), ()), each.name
        assert each.replace_on_changes == (), each.name
    exact = {**VARIANTS["arm"]["cloud"], "image": "projects/p/global/images/i"}
    assert deployed_cloud(cloud=exact).of(INSTANCE)["machine"].ignore_changes == ()


def test_what_cannot_be_described_anew_is_not_described(full: Registry) -> None:
    """Another description is another disk, address or network."""
    for kind in (DISK, INSTANCE, "gcp:compute/address:Address", "gcp:compute/network:Network"):
        for name, inputs in full.plain(kind).items():
            assert "description" not in inputs, name


def test_the_endpoint_is_asked_from_outside_where_google_may_ask() -> None:
    mail = {"alertEmail": "ops@example.org"}
    assert not deployed_cloud(cloud=mail).of(UPTIME), "its checkers would be shut out"
    own = deployed_cloud(cloud=mail, edge={"allowedRanges": [EVERYBODY]})
    [check] = own.plain(UPTIME).values()
    assert check["httpCheck"] == {
        "path": "/healthz",
        "port": 443,
        "requestMethod": "GET",
        "useSsl": True,
        "validateSsl": False,
    }
    assert check["monitoredResource"]["labels"]["host"] == google.ADDRESS
    [check] = deployed_cloud(**FULL).plain(UPTIME).values()
    assert check["httpCheck"]["validateSsl"] is True
    assert check["monitoredResource"]["labels"]["host"] == "telemetry.example.org"
    [check] = deployed_cloud(**VARIANTS["certificates"]).plain(UPTIME).values()
    assert check["tcpCheck"] == {"port": 443}
    assert "httpCheck" not in check, "it has no certificate to show"


def test_every_alert_reaches_somebody_and_knows_the_words_of_the_machine(full: Registry) -> None:
    policies = full.plain(POLICY)
    names = Names(stack="cloud", project="my-project")
    for what in ALERTS:
        [condition] = policies[f"said-{what}"]["conditions"]
        assert f'"{names.alert(what)}"' in condition["conditionMatchedLog"]["filter"]
        # Required by a policy on a log.
        assert "notificationRateLimit" in policies[f"said-{what}"]["alertStrategy"]
    for name, policy in policies.items():
        assert policy["notificationChannels"] == ["projects/my-project/notificationChannels/1"]
        assert "docs/CLOUD.md" in policy["documentation"]["content"], name
    with pytest.raises(KeyError):
        names.alert("nothing")


def test_two_stacks_in_one_project_share_no_name() -> None:
    """But for the services of the project, which are switched on once."""

    def names(stack: str) -> set[str]:
        return {
            bare(each.inputs)[key]
            for each in of_google(deployed_cloud(stack=stack, **FULL))
            for key in ("name", "secretId", "accountId", "displayName")
            if key in each.inputs and each.kind != "gcp:dns/recordSet:RecordSet"
        } - {"bundle.tar.gz.b64"}

    mine, theirs = names("cloud"), names("cloud-test")
    assert len(mine) > 20
    assert not mine & theirs


@pytest.mark.parametrize("stack", ["cloud-Test", "cloud_test", "cloud-", "cloud-" + "x" * 20])
def test_a_name_that_google_would_not_take_is_refused(stack: str) -> None:
    def program() -> None:
        with pytest.raises(pulumi.RunError, match="cloud-test"):
            cloud.deploy(for_cloud(validated([CLOUD])), stack)

    assert run(program, stack="cloud").made == []


def test_a_bucket_of_too_long_a_name_is_refused() -> None:
    settings = for_cloud(validated([CLOUD, {"cloud": {"project": "p" * 30}}]))

    def program() -> None:
        with pytest.raises(pulumi.RunError, match="shorter name"):
            cloud.deploy(settings, "cloud-testing")

    assert run(program, stack="cloud").made == []
    assert deployed_cloud(cloud={"project": "p" * 30}).made


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_preview_declares_the_same(variant: str) -> None:
    made = deployed_cloud(**VARIANTS[variant])
    seen = deployed_cloud(preview=True, **VARIANTS[variant])
    assert {each.name for each in seen.made} == {each.name for each in made.made}


def test_outputs_are_where_it_answers_what_it_costs_and_what_stays(least: Registry) -> None:
    plain = {name: value for name, value in least.outputs.items() if isinstance(value, str)}
    assert set(least.outputs) - set(plain) == {"endpoint", "address"}
    assert "e2-standard-2" in plain["monthlyCost"]
    for kept in ("data disk", "address", "secrets", "buckets", "deletionProtection"):
        assert kept in plain["keeps"]
    assert "docs/CLOUD.md" in plain["next"]
    assert deployed_cloud(**FULL).outputs["endpoint"] == "https://telemetry.example.org"


def test_the_arm_machine_gets_an_arm_image_and_disks_that_it_takes() -> None:
    found = machine(deployed_cloud(**VARIANTS["arm"]))["bootDisk"]["initializeParams"]
    assert found["image"].endswith("/family/cos-arm64-stable")
    assert found["type"] == "hyperdisk-balanced"
    usual = machine(deployed_cloud())["bootDisk"]["initializeParams"]
    assert usual["image"].endswith("/family/cos-stable")
    with pytest.raises(SettingsError, match="hyperdisk-balanced"):
        for_cloud(validated([CLOUD, {"cloud": {"machineType": "c4a-standard-2"}}]))


def rows(title: str) -> list[list[str]]:
    """Of the table below a heading of docs/CLOUD.md, cell by cell."""
    [part] = re.findall(
        rf"^## {title}\n(.*?)(?=^## |\Z)", document("docs/CLOUD.md").text, re.M | re.S
    )
    lines = [line for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def words(cells: Iterable[str]) -> set[str]:
    """What stands in backticks in them."""
    return {word for cell in cells for word in re.findall(r"`([^`]+)`", cell)}


def kinds(made: Iterable[Made]) -> set[str]:
    """As the document writes them: `compute.Disk`."""
    return {re.sub(r"gcp:(\w+)/\w+:", r"\1.", each.kind) for each in made}


def test_the_document_names_every_resource_and_what_stays() -> None:
    values = {**FULL, "cloud": {**FULL["cloud"], "deletionProtection": False}}
    made = of_google(deployed_cloud(**values))
    found = rows("What it makes")
    assert words(row[1] for row in found) == kinds(made)
    stays = words(row[1] for row in found if row[3].startswith("**stay"))
    assert stays == kinds(each for each in made if each.protect)


def test_the_document_names_every_role_and_no_other(full: Registry) -> None:
    found = rows("Who may do what")
    told = {
        (row[0] == "the machine", role)
        for row in found
        for role in re.findall(r"`([a-zA-Z.]+)`", row[1])
    }
    assert told == {(who == MACHINES, role) for who, role, _ in bindings(full)}


def test_the_document_names_every_open_port_and_every_alert(full: Registry) -> None:
    told = {row[1] for row in rows("What is open") if row[0] == "in"} - {"anything else"}
    assert told == {port for _, ports in way_in(full).values() for port in ports}
    assert {row[0].strip("`") for row in rows("Alerts")} == set(full.of(POLICY))


def test_a_missing_project_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"cloud\.project"):
        for_cloud(Settings())


def test_arguments_are_typed() -> None:
    """A misspelt key in a plain mapping goes through silently; a typed argument is refused."""
    for file in sorted((PROJECT / "stacks/cloud").glob("*.py")):
        text = file.read_text()
        assert ".apply(" not in text, f"{file.name} computes on what is known only after `up`"
    with pytest.raises(TypeError):
        compute.DiskArgs(sise=1)  # type: ignore[call-arg]


def test_every_part_is_declared_by_the_component() -> None:
    """A file that nobody uses would be a part that nobody gets."""
    component = (PROJECT / "stacks/cloud/component.py").read_text()
    parts = {path.stem for path in Path(PROJECT / "stacks/cloud").glob("*.py")}
    for part in parts - {"__init__", "component", "deploy"}:
        assert f"stacks.cloud.{part} import" in component, part

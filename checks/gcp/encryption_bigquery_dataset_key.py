"""Every BigQuery dataset encrypts new tables under a key of the customer by default.

Why: Google encrypts each table anyway; who holds the key decides who can make them unreadable, and sees its use.
Remedy: run bq update --default_kms_key KEY DATASET, then copy the tables that are there onto themselves with the key.

Cost: one call for 1000 datasets of the organization.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.check import (
    Check,
    Family,
    absent_means,
    bad,
    field,
    good,
    not_applicable,
    not_satisfied,
    outside,
    satisfied,
    text,
)
from collector.clouds.gcp import Organization
from collector.model import Verdict

GOOGLE = (
    "BigQuery, Customer-managed keys: tables are encrypted with Google-managed keys unless the dataset or the table "
    "names one (Dataset.defaultEncryptionConfiguration.kmsKeyName)"
)
OWN = "BigQuery API, Dataset.linkedDatasetSource: for all dataset types other than LINKED it is not set"


@dataclass(frozen=True)
class Dataset:
    linked: bool = False  # shows the tables of another dataset and holds none
    key: str = ""  # in Cloud KMS; "" for one of Google's


def population(gcp: Organization) -> Iterable[Mapping[str, Any]]:
    return gcp.assets("bigquery.googleapis.com/Dataset")


def observe(gcp: Organization, dataset: Mapping[str, Any]) -> Dataset:
    data = field(dataset, "resource.data")
    if absent_means(data, "linkedDatasetSource", None, because=OWN) is not None:
        return Dataset(linked=True)
    key = absent_means(data, "defaultEncryptionConfiguration.kmsKeyName", "", because=GOOGLE)
    return Dataset(key=text(key) if key else "")


def evaluate(dataset: Dataset) -> Verdict:
    if dataset.linked:
        return not_applicable("is linked to a dataset of a publisher, who keeps the tables")
    if dataset.key:
        return satisfied(f"encrypts new tables under {dataset.key}")
    return not_satisfied("encrypts new tables under a key that Google manages")


CHECK = Check(
    id="gcp-bigquery-dataset-key",
    family=Family.ENCRYPTION,
    criteria=("CC6.1",),
    permissions=("cloudasset.assets.listResource",),
    per="project",
    see=(
        "cis-gcp-3.0:7.3",
        "powerpipe:bigquery_dataset_encrypted_with_cmk",
        "prowler:bigquery_dataset_cmk_encryption",
    ),
    population=population,
    name=lambda dataset: str(dataset["name"]),
    observe=observe,
    evaluate=evaluate,
    examples=(
        good(Dataset(key="projects/acme-data/locations/us/keyRings/main/cryptoKeys/warehouse")),
        bad(Dataset()),
        outside(Dataset(linked=True)),
    ),
)

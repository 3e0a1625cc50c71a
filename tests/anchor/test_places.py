"""Opening the configured places: every kind by its id, nothing loaded that is not named, and no place asked yet."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from collector import config
from collector.anchor.places import open_places
from collector.config_places import Anchors
from collector.demo.tsa import SimulatedTsa
from collector.errors import ConfigError
from collector.ledger.cosignature import WitnessKey
from tests.anchor.conftest import KEY, ORIGIN, Clock, checkpoint, no_proof

ROOT = Path(__file__).parents[2]
BASE = f"""\
[collector]
origin = "{ORIGIN}"
[[aws]]
account = "123456789012"
"""
WITNESS = str(WitnessKey("witness.example.org", KEY.public))
ALL = {
    "tsa": '[anchors.tsa.public]\nurl = "http://127.0.0.1:9/tsr"\nroots = "tsa.pem"\n',
    "s3": '[anchors.s3.vault]\nbucket = "vault"\nregion = "eu-central-1"\n',
    "azure-blob": '[anchors.azure-blob.vault]\ncontainer = "https://vault.blob.core.windows.net/checkpoints"\n'
    'tenant = "11111111-2222-3333-4444-555555555555"\n',
    "gcs": '[anchors.gcs.vault]\nbucket = "vault"\n',
    "witness": '[anchors.witness.parent]\nurl = "https://witness.example.org"\nvkey = "{vkey}"\n',
    "file": '[anchors.file.tape]\nfolder = "tape"\n',
    "email": '[anchors.email.auditor]\nchannel = "mail"\n'
    '[alerts.email.mail]\nhost = "localhost"\nport = 25\ntls = "none"\n'
    'from = "a@example.com"\nto = ["b@example.org"]\n',
}


def settings(folder: Path, text: str) -> config.Settings:
    (folder / "collector.toml").write_text(BASE + text)
    return config.load(folder / "collector.toml", {})


def test_every_kind_by_its_id(tmp_path: Path, clock: Clock) -> None:
    tsa = SimulatedTsa(clock)
    tsa.close()
    (tmp_path / "tsa.pem").write_bytes(tsa.root_pem)
    found = settings(tmp_path, "".join(ALL.values()).replace("{vkey}", WITNESS))
    places = open_places(found, {})
    assert tuple(places) == found.anchors.ids()
    assert {id.partition("/")[0] for id in places} == set(ALL)
    assert all(place.id == id for id, place in places.items())


def test_there_is_no_kind_that_cannot_be_opened() -> None:
    assert {field.alias or name for name, field in Anchors.model_fields.items()} == set(ALL)


def test_no_places_is_no_places(tmp_path: Path) -> None:
    assert open_places(settings(tmp_path, ""), {}) == {}


def test_places_know_whose_they_are(tmp_path: Path) -> None:
    (tmp_path / "tape").mkdir()
    place = open_places(settings(tmp_path, ALL["file"]), {})["file/tape"]
    other, head = checkpoint(593, origin="evidence.example.com/other")
    place.put(other, head, no_proof)
    assert place.latest() is None
    place.put(*checkpoint(592), no_proof)
    assert place.latest() == checkpoint(592)[1]


def test_messages_carry_the_time_that_was_handed_in(tmp_path: Path) -> None:
    found = settings(tmp_path, ALL["email"])
    place = open_places(found, {}, clock=lambda: datetime(2026, 3, 1, tzinfo=UTC))["email/auditor"]
    message = place.message(*checkpoint())  # type: ignore[attr-defined]
    assert message["Date"] == "Sun, 01 Mar 2026 00:00:00 +0000"
    assert message["Message-ID"].strip().endswith("@evidence.example.com>")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (ALL["tsa"], "tsa.pem: the authority's roots cannot be read"),
        (
            ALL["email"].replace('tls = "none"', 'username = "x"\npassword_env = "NOT_SET"'),
            "the environment variable NOT_SET",
        ),
        (ALL["witness"].replace("{vkey}", "nonsense"), "vkey"),
    ],
)
def test_what_cannot_be_opened_says_what_to_mend(tmp_path: Path, text: str, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        open_places(settings(tmp_path, text), {})


@pytest.mark.parametrize("kind", ["file", "email"])
def test_nothing_is_loaded_that_is_not_named(tmp_path: Path, kind: str) -> None:
    settings(tmp_path, ALL[kind])
    program = (
        "import sys; from pathlib import Path; from collector import config; "
        "from collector.anchor.places import open_places; "
        "print(*open_places(config.load(Path('collector.toml'), {}), {})); "
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True
    )
    ids, loaded = done.stdout.splitlines()
    assert ids == {"file": "file/tape", "email": "email/auditor"}[kind]
    assert {"boto3", "botocore", "azure", "google", "requests", "rfc3161_client"}.isdisjoint(loaded.split())

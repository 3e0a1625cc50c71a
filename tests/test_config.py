"""The configuration file: what it accepts, and that it says in one sentence what it does not."""

import os
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from collector import canonical, config
from collector.config import load
from collector.errors import ConfigError
from collector.tomlfile import Table, duration, duration_text, table_in

MINIMAL = '[collector]\norigin = "evidence.example.com/production"\n'
WEBHOOK = '[alerts.webhook.pager]\nurl = "https://hooks.example.com/T0/xoxsecretpath?token=abc"\nsecret_env = "PAGER"\n'
EMAIL = """
[alerts.email.team]
host = "smtp.example.com"
port = 587
from = "collector@example.com"
to = ["platform@example.com"]
username = "collector"
password_env = "SMTP_PASSWORD"
"""


@pytest.fixture
def write(tmp_path):
    def write(text: str) -> Path:
        path = tmp_path / "collector.toml"
        path.write_text(text)
        return path

    return write


def refusal(path: Path, environ=None) -> str:
    with pytest.raises(ConfigError) as caught:
        load(path, environ or {})
    return str(caught.value)


def test_the_smallest_file_has_documented_defaults_beside_it(write, tmp_path):
    settings = load(write(MINIMAL), {})
    assert settings.collector.origin == "evidence.example.com/production"
    assert settings.collector.data == tmp_path / "data"
    assert settings.collector.key == tmp_path / "data" / "log.key"
    assert settings.collector.controls == tmp_path / "controls.toml"
    assert settings.collector.database == f"sqlite:///{tmp_path}/data/ledger.db"
    assert (settings.schedule.grace, settings.schedule.heartbeat, settings.schedule.checkpoint) == (900, 3600, 3600)
    assert settings.schedule.run_seconds_max == 1800
    assert settings.web.listen == "127.0.0.1:8321"
    assert settings.aws == ()


def test_key_and_database_follow_the_data_folder(write, tmp_path):
    settings = load(write(MINIMAL + 'data = "/var/lib/collector"\n'), {})
    assert settings.collector.key == Path("/var/lib/collector/log.key")
    assert settings.collector.database == "sqlite:////var/lib/collector/ledger.db"
    settings = load(write(MINIMAL + 'database = "sqlite:///own.db"\n'), {})
    assert settings.collector.database == f"sqlite:///{tmp_path}/own.db"
    settings = load(write(MINIMAL + 'database = "sqlite:////abs/own.db"\n'), {})
    assert settings.collector.database == "sqlite:////abs/own.db"


def test_a_full_file_is_read(write):
    settings = load(
        write(
            MINIMAL
            + """
[[aws]]
account = "123456789012"
role_arn = "arn:aws:iam::123456789012:role/audit/reader"
external_id = "x"
regions = ["eu-west-1", "us-gov-west-1"]
[[aws]]
account = "210987654321"
profile = "second"
[checks]
folders = ["own"]
entry_points = ["acme"]
[schedule]
grace = "20m"
[web]
listen = ""
[log]
format = "json"
level = "debug"
[[route]]
match = { family = "mfa", scope = "aws/123456789012", cause = "blind" }
channels = ["team"]
[[route]]
channels = []
[windows.first-half]
start = 2026-01-01
end = 2026-07-01T12:00:00
zone = "America/New_York"
criteria = ["CC6.1"]
scopes = ["aws/123456789012"]
"""
            + EMAIL
            + WEBHOOK
        ),
        {},
    )
    assert [account.account for account in settings.aws] == ["123456789012", "210987654321"]
    assert settings.aws[0].regions == ("eu-west-1", "us-gov-west-1")
    assert settings.schedule.grace == 1200
    assert settings.alerts.names() == ("pager", "team")
    assert settings.route[0].match.cause == "blind"
    window = settings.windows["first-half"]
    assert window.since == datetime(2026, 1, 1, 5, tzinfo=UTC)  # midnight in New York, in winter
    assert window.until == datetime(2026, 7, 1, 16, tzinfo=UTC)  # noon there, in summer


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[shedule]\n", "the file has no key 'shedule'; did you mean 'schedule'?"),
        ('[schedule]\ngrase = "1m"\n', "[schedule] has no key 'grase'; did you mean 'grace'?"),
        (
            "[schedule]\nzzz = 1\n",
            (
                "has no key 'zzz'; it may be check_seconds_max, checkpoint, grace, heartbeat, heartbeat_url_env, "
                "run_seconds_max"
            ),
        ),
        ('[[aws]]\naccount = "123456789012"\n[[aws]]\nacount = "1"\n', "[[aws]] number 2 has no key 'acount'"),
        ("[schedule]\ngrace = 15\n", "[schedule] grace: must be a duration"),
        ('[schedule]\ngrace = "1h30m"\n', "[schedule] grace: must be a duration"),
        ('[schedule]\nrun_seconds_max = "1800"\n', "[schedule] run_seconds_max: must be a whole number"),
        ("[schedule]\nrun_seconds_max = 0\n", "[schedule] run_seconds_max: must be greater than or equal to 1"),
        ('[log]\nformat = "xml"\n', "[log] format: must be 'console' or 'json'"),
        ('[web]\nlisten = "8321"\n', '[web] listen: must be "host:port"'),
        ('[web]\nlisten = "h:70000"\n', '[web] listen: must be "host:port"'),
        ("[[aws]]\naccount = 123456789012\n", "[[aws]] number 1 account: must be a text in quotes"),
        ('[[aws]]\naccount = "12345"\n', "[[aws]] number 1 account: must be the 12 digits"),
        ("[[aws]]\n", "[[aws]] number 1 needs 'account': The 12 digits"),
        (
            '[[aws]]\naccount = "123456789012"\nrole_arn = "arn:aws:iam::999999999999:role/r"\n',
            "[[aws]] number 1: role_arn is a role of another account",
        ),
        ('[[aws]]\naccount = "123456789012"\nexternal_id = "x"\n', "[[aws]] number 1: external_id does nothing"),
        (
            '[[aws]]\naccount = "123456789012"\n[[aws]]\naccount = "123456789012"\n',
            "[[aws]] names account 123456789012 twice",
        ),
        (
            '[[aws]]\naccount = "123456789012"\nregions = ["eu-west-1", "Paris"]\n',
            '[[aws]] number 1 regions (item 2): must be a region such as "eu-west-1"',
        ),
        ('[[route]]\nchannels = ["pagr"]\n' + WEBHOOK, "the channel 'pagr'; did you mean 'pager'?"),
        ('[[route]]\nmatch = { famly = "mfa" }\nchannels = []\n', "[[route]] number 1, match has no key 'famly'"),
        (WEBHOOK + 'secret_file = "s"\n', "[alerts.webhook.pager]: needs exactly one of secret_env and secret_file"),
        (
            '[alerts.webhook.pager]\nurl = "https://a.example/"\n',
            "[alerts.webhook.pager]: needs exactly one of secret_env",
        ),
        (
            WEBHOOK.replace("https://", "https://user:hunter2@"),
            "[alerts.webhook.pager] url: must hold no user and no password",
        ),
        (WEBHOOK.replace("https:", "file:"), "[alerts.webhook.pager] url: must be a URL that begins with https://"),
        (WEBHOOK.replace("pager", "Pager Duty").replace(".Pager Duty", '."Pager Duty"'), "a name is made of"),
        (WEBHOOK + EMAIL.replace("team", "pager"), "[alerts]: 'pager' is a webhook and an e-mail channel"),
        (EMAIL + 'tls = "none"\n', "[alerts.email.team]: a password is not sent in the clear"),
        (EMAIL.replace('password_env = "SMTP_PASSWORD"', ""), "username goes with exactly one of"),
        (EMAIL.replace("platform@example.com", "a@example.com>\\nBcc: b@example.com"), "to (item 1): must be one bare"),
        (EMAIL.replace('["platform@example.com"]', "[]"), "[alerts.email.team] to: must not be empty"),
        (
            "[windows.a]\nstart = 2026-07-01\nend = 2026-01-01\ncriteria = ['CC6.1']\n",
            "[windows.a]: end is not after start",
        ),
        (
            "[windows.a]\nstart = 2026-01-01\nend = 2026-07-01\nzone = 'Europe/Berln'\ncriteria = ['CC6.1']\n",
            "[windows.a] zone: 'Europe/Berln' is no IANA time zone",
        ),
        (
            "[windows.a]\nstart = '2026-01-01'\nend = 2026-07-01\ncriteria = ['CC6.1']\n",
            "[windows.a] start: must be a TOML date or time without quotes",
        ),
        (
            "[windows.a]\nstart = 2026-01-01\nend = 2026-07-01\ncriteria = ['CC61']\n",
            "[windows.a] criteria: 'CC61' is no Trust Services Criterion; did you mean 'CC6.1'?",
        ),
        (
            "[windows.a]\nstart = 2026-01-01\nend = 2026-07-01\ncriteria = ['CC6.1', 'CC6.1']\n",
            "[windows.a] criteria: names CC6.1 twice",
        ),
        ("[[schedule]]\n", "[schedule]: must be a table"),
        ("[aws]\n", "[aws]: must be a list"),
        ('[[aws]]\naccount = "123456789012"\nregions = "eu-west-1"\n', "[[aws]] number 1 regions: must be a list"),
        ("[[broken\n", "is not TOML: Expected ']]'"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence_that_begins_with_the_file(write, text, sentence):
    path = write(
        MINIMAL.replace("[collector]", "[collector]") + text if "schedule = 3" not in text else "schedule == 3"
    )
    said = refusal(path)
    assert said.startswith(f"{path}: ")
    assert sentence in said
    assert "\n" not in said
    assert "hunter2" not in said


@pytest.mark.parametrize("origin", ["", "nohost", "Host/Tenant", "a b/c", "host/", "/tenant", "host/a+b"])
def test_an_origin_is_a_host_and_a_tenant(write, origin):
    assert "[collector] origin: must be host/tenant" in refusal(write(f'[collector]\norigin = "{origin}"\n'))


def test_a_section_that_is_no_table_and_a_file_that_is_not_there_are_refused(write, tmp_path):
    said = refusal(write("schedule = 3\n" + MINIMAL), {"COLLECTOR_SCHEDULE__GRACE": "1m"})
    assert "[schedule]: must be a table" in said
    said = refusal(tmp_path / "other.toml")
    assert "there is no such file; write one with `collector init`" in said
    assert "the file needs 'collector'" in refusal(write(""))


def test_more_than_one_fault_is_counted(write):
    assert refusal(write(MINIMAL + "[web]\na = 1\nb = 2\nc = 3\n")).endswith("(2 more like these)")


# --- the environment ---


def test_the_environment_wins_over_the_file(write):
    environ = {
        "COLLECTOR_SCHEDULE__GRACE": "30m",
        "COLLECTOR_SCHEDULE__RUN_SECONDS_MAX": "60",
        "COLLECTOR_WEB__LISTEN": "",
        "COLLECTOR_COLLECTOR__DATABASE": "postgresql+psycopg://u:p@db/evidence",
        "COLLECTOR_SERVICE_HOST": "10.0.0.1",  # what Kubernetes sets for a service of that name
        "HOME": "/root",
    }
    settings = load(write(MINIMAL + '[schedule]\ngrace = "1m"\n[web]\nlisten = "0.0.0.0:1"\n'), environ)
    assert settings.schedule.grace == 1800
    assert settings.schedule.run_seconds_max == 60
    assert settings.web.listen == ""
    assert settings.collector.database == "postgresql+psycopg://u:p@db/evidence"


def test_an_unknown_override_is_refused_and_a_wrong_one_is_named(write):
    said = refusal(write(MINIMAL), {"COLLECTOR_SCHEDULE__GRASE": "1m"})
    assert "COLLECTOR_SCHEDULE__GRASE" in said
    assert "did you mean 'COLLECTOR_SCHEDULE__GRACE'?" in said
    said = refusal(write(MINIMAL), {"COLLECTOR_SCHEDULE__RUN_SECONDS_MAX": "soon"})
    assert said.startswith("environment variable COLLECTOR_SCHEDULE__RUN_SECONDS_MAX: [schedule] run_seconds_max: must")


def test_every_override_that_is_documented_does_override(write):
    values = {
        "GRACE": "7m",
        "HEARTBEAT": "7m",
        "CHECKPOINT": "7m",
        "RUN_SECONDS_MAX": "7",
        "CHECK_SECONDS_MAX": "7",
        "LISTEN": "h:7",
    }
    values |= {
        "SIGNER": "awskms:///alias/log",
        "LINK": "https://seven.example/{alert}",
        "CHANGED_BY": "true",
        "PAYLOADS": "7m",
        "FORMAT": "json",
        "HEARTBEAT_URL_ENV": "SEVEN_URL",
        "NTP": "time.seven.example",
        "LEVEL": "error",
        "ORIGIN": "seven.example/t",
        "DATABASE": "sqlite:////seven.db",
    }
    values |= dict.fromkeys(("DATA", "KEY", "CONTROLS"), "/seven")
    before = load(write(MINIMAL), {})
    for name, (section, key, _) in config.overridable().items():
        after = load(write(MINIMAL), {name: values[name.split("__")[1]]})
        assert getattr(getattr(after, section), key) != getattr(getattr(before, section), key), name


# --- secrets ---


def test_secrets_come_from_the_environment_or_a_file_and_are_never_in_the_record(write, tmp_path):
    (tmp_path / "smtp").write_text("s3cr3t-of-smtp\n")
    settings = load(
        write(
            MINIMAL
            + 'database = "postgresql+psycopg://zoe:dbpass@db.internal/evidence?sslpassword=other"\n'
            + '[[aws]]\naccount = "123456789012"\nrole_arn = "arn:aws:iam::123456789012:role/r"\n'
            + 'external_id = "extern"\n'
            + WEBHOOK
            + EMAIL.replace('password_env = "SMTP_PASSWORD"', 'password_file = "smtp"')
        ),
        {},
    )
    assert settings.alerts.webhook["pager"].secret({"PAGER": "0123456789abcdef"}) == b"0123456789abcdef"
    assert settings.alerts.email["team"].password({}) == "s3cr3t-of-smtp"
    with pytest.raises(ConfigError, match="PAGER, which holds a secret, is not set"):
        settings.alerts.webhook["pager"].secret({})
    with pytest.raises(ConfigError, match="fewer than 16 bytes"):
        settings.alerts.webhook["pager"].secret({"PAGER": "short"})
    (tmp_path / "smtp").write_text("\n")
    with pytest.raises(ConfigError, match="empty"):
        settings.alerts.email["team"].password({})
    (tmp_path / "smtp").unlink()
    with pytest.raises(ConfigError, match="cannot be read: FileNotFoundError"):
        settings.alerts.email["team"].password({})
    written = canonical.record(settings.record()).decode()
    for secret in ("dbpass", "zoe", "other", "extern", "xoxsecretpath", "token=abc", "s3cr3t", "PAGER", str(tmp_path)):
        assert secret not in written.replace("external_id", "")
    assert settings.record()["alerts"]["webhook"]["pager"] == {"host": "https://hooks.example.com", "timeout": "10s"}
    assert settings.record()["aws"][0]["external_id"] is True
    assert settings.record()["collector"] == {"origin": "evidence.example.com/production", "database": "postgresql"}


def test_the_record_is_the_same_wherever_the_file_lies(tmp_path):
    records = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        path = tmp_path / name / "collector.toml"
        path.write_text(
            MINIMAL + '[checks]\nfolders = ["own"]\n[windows.w]\nstart = 2026-01-01\nend = 2027-01-01\n'
            'criteria = ["CC6.1"]\n'
        )
        records.append(canonical.record(load(path, {}).record()))
    assert records[0] == records[1]
    assert b'"start":"2026-01-01"' in records[0]
    assert b'"grace":"15m"' in records[0]


# --- durations ---


@pytest.mark.parametrize(("text", "seconds"), [("1s", 1), ("15m", 900), ("1h", 3600), ("6h", 21600), ("1d", 86400)])
def test_durations_are_read_and_written(text, seconds):
    assert duration(text) == seconds
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    "value", ["", "1", "h", "0h", "01h", "-1h", "1.5h", "1H", " 1h", "1h ", "1w", "1h30m", 60, None]
)
def test_other_durations_are_refused(value):
    with pytest.raises(ValueError, match="must be a duration"):
        duration(value)


# --- the documentation and the starter ---


def models(model: type[Table]) -> set[type[Table]]:
    found = {model}
    for field in model.model_fields.values():
        if (inner := table_in(field.annotation)) is not None:
            found |= models(inner)
    return found


def test_every_key_is_described_and_stands_in_the_reference():
    page = config.reference()
    for model in models(config.Settings):
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{name}"
            if table_in(field.annotation) is None:
                row = next(line for line in page.splitlines() if line.startswith(f"| `{field.alias or name}` |"))
                assert row.count("|") == 5
                assert field.description in page
    for name in config.overridable():
        assert f"`{name}`" in page
    assert "PydanticUndefined" not in page


def test_the_starter_loads_and_what_it_comments_out_loads_too(tmp_path):
    starter = Path(config.__file__).parent / "starter" / "collector.toml"
    settings = load(starter, {})
    assert len(settings.aws) == 1
    text = starter.read_text()
    shown = re.sub(r"(?m)^# (\[|[a-z_]+ = )", r"\1", text)
    assert shown != text
    path = tmp_path / "collector.toml"
    path.write_text(shown)
    settings = load(path, {})
    assert settings.alerts.names() == ("pager", "team")
    assert len(settings.route) == 2
    assert list(settings.windows) == ["2026-h1"]
    assert os.environ.get("PAGER_SECRET") is None

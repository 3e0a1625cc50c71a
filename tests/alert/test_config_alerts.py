"""The ``[alerts...]`` tables: what is refused, where secrets come from, and that none is ever recorded or repeated."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from collector import canonical, config
from collector.alert.channels import open_channels
from collector.config import Settings
from collector.config_alerts import KINDS, Confirm, Steady
from collector.errors import ConfigError

TOPIC = "arn:aws:sns:eu-west-1:123456789012:alerts"
ALL = f"""
[alerts.webhook.hook]
url = "https://hook.example.com/SECRETPATH"
secret_env = "HOOK"
[alerts.email.mail]
host = "localhost"
port = 25
from = "a@example.com"
to = ["b@example.com"]
[alerts.pagerduty.pager]
routing_key_env = "ROUTING"
hook_secret_file = "hooks"
[alerts.slack.chat]
url_env = "SLACK"
[alerts.teams.team]
url_file = "teams-url"
[alerts.alertmanager.prom]
url = "http://alertmanager:9093/SECRETPATH"
username = "SECRETUSER"
password_env = "PROM"
[alerts.sns.topic]
topic = "{TOPIC}"
[alerts.apprise.other]
url_file = "apprise-url"
"""
ENVIRON = {
    "HOOK": "SECRETHOOK0123456789",
    "ROUTING": "SECRETROUTING0123456789abcdefABC",
    "SLACK": "https://hooks.slack.com/services/T0/B0/SECRETSLACK",
    "PROM": "SECRETPROM",
}
FILES = {
    "hooks": "SECRETHOOKS-old-0123456789\nSECRETHOOKS-new-0123456789\n",
    "teams-url": "https://prod-1.westeurope.logic.azure.com:443/workflows/SECRET/triggers/manual/paths/invoke?sig=SECRETTEAMS\n",
    "apprise-url": "json://user:SECRETAPPRISE@localhost/x\n",
}

Load = Callable[[str], Settings]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)

    def read(text: str) -> Settings:
        path = tmp_path / "collector.toml"
        path.write_text(f'[collector]\norigin = "evidence.example.com/test"\n{text}')
        return config.load(path, {})

    return read


def refusal(act: Callable[[], object]) -> str:
    with pytest.raises(ConfigError) as caught:
        act()
    assert "SECRET" not in "".join(traceback.format_exception(caught.value)).replace("SECRETS", "")
    return str(caught.value)


def test_every_kind_is_opened_by_its_name(load: Load) -> None:
    settings = load(ALL)
    channels = open_channels(settings, ENVIRON)
    names = ("hook", "mail", "pager", "chat", "team", "prom", "topic", "other")
    assert tuple(channels) == settings.alerts.names() == names
    kinds = [type(channel).__name__.lower() for channel in channels.values()]
    assert kinds == list(KINDS)
    assert settings.alerts.pagerduty["pager"].hook_secrets({}) == tuple(
        secret.encode() for secret in FILES["hooks"].split()
    )
    assert settings.alerts.pagerduty["pager"].url == "https://events.pagerduty.com/v2/enqueue"


def test_no_secret_is_recorded(load: Load) -> None:
    record = load(ALL).record()["alerts"]
    assert "SECRET" not in canonical.record({"alerts": record}).decode()
    assert not [name for name in (*ENVIRON, *FILES) if f'"{name}"' in canonical.record({"a": record}).decode()]
    assert record["pagerduty"]["pager"] == {"host": "https://events.pagerduty.com", "hook": True, "timeout": "10s"}
    assert record["slack"]["chat"] == record["teams"]["team"] == record["apprise"]["other"] == {"timeout": "10s"}
    assert record["alertmanager"]["prom"] == {"host": "http://alertmanager:9093", "hold": "366d", "timeout": "10s"}
    assert record["sns"]["topic"]["topic"] == TOPIC


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("webhook", "email")])
def test_a_name_stands_for_one_channel_across_all_kinds(load: Load, kind: str) -> None:
    block = next(part for part in ALL.split("[alerts.") if part.startswith(f"{kind}."))
    head, _, rest = block.partition("]")
    text = f"{ALL}[alerts.{head.partition('.')[0]}.hook]{rest}"
    assert f"'hook' is a webhook and {KINDS[kind]} channel; rename one" in refusal(lambda: load(text))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[alerts.pagerduty.p]\n", "[alerts.pagerduty.p]: needs exactly one of routing_key_env and routing_key_file"),
        (
            '[alerts.pagerduty.p]\nrouting_key_env = "A"\nrouting_key_file = "b"\n',
            "needs exactly one of routing_key_env and routing_key_file",
        ),
        (
            '[alerts.pagerduty.p]\nrouting_key_env = "A"\nhook_secret_env = "A"\nhook_secret_file = "b"\n',
            "needs at most one of hook_secret_env and hook_secret_file",
        ),
        ('[alerts.pagerduty.p]\nrouting_key = "SECRET"\n', "has no key 'routing_key'; did you mean 'routing_key_"),
        ('[alerts.slack.s]\nurl = "https://SECRET"\n', "has no key 'url'; did you mean 'url_"),
        ("[alerts.slack.s]\n", "needs exactly one of url_env and url_file"),
        ("[alerts.teams.s]\n", "needs exactly one of url_env and url_file"),
        ("[alerts.apprise.s]\n", "needs exactly one of url_env and url_file"),
        ('[alerts.alertmanager.a]\nurl = "http://a"\nusername = "u"\n', "username goes with one of"),
        ('[alerts.alertmanager.a]\nurl = "http://a"\npassword_env = "P"\n', "username goes with one of"),
        (
            '[alerts.alertmanager.a]\nurl = "http://a"\nusername = "u"\npassword_env = "P"\ntoken_env = "T"\n',
            "not with both",
        ),
        ('[alerts.alertmanager.a]\nurl = "http://u:SECRET@a"\n', "must hold no user and no password"),
        ('[alerts.alertmanager.a]\nurl = "http://a/?x=SECRET"\n', "url ends with a path"),
        ('[alerts.sns.t]\ntopic = "alerts"\n', 'must be "arn:aws:sns:REGION:ACCOUNT:NAME"'),
    ],
)
def test_what_is_wrong_in_the_file_is_said(load: Load, text: str, sentence: str) -> None:
    assert sentence in refusal(lambda: load(text))


@pytest.mark.parametrize(
    ("text", "value", "sentence"),
    [
        ('[alerts.pagerduty.p]\nrouting_key_env = "V"\n', "SECRET", "V: an integration key of PagerDuty has 32"),
        ('[alerts.pagerduty.p]\nrouting_key_env = "V"\n', "SECRET\n" + "a" * 32, "V: an integration key"),
        ('[alerts.slack.s]\nurl_env = "V"\n', "hooks.slack.com/SECRET", "V: must be a URL that begins with https://"),
        ('[alerts.slack.s]\nurl_env = "V"\n', "https://x/SECRET\nhttps://y", "V: must be a URL"),
        ('[alerts.slack.s]\nurl_env = "V"\n', "https://SECRET:SECRET@x/", "V: must hold no user and no password"),
        ('[alerts.teams.t]\nurl_env = "V"\n', "https://acme.webhook.office.com/webhookb2/SECRET", "were retired"),
        ('[alerts.teams.t]\nurl_env = "V"\n', "https://outlook.office.com/webhook/SECRET", "were retired"),
        ('[alerts.apprise.a]\nurl_env = "V"\n', "json://SECRET\njson://b", "V: must hold one URL of Apprise"),
        ('[alerts.apprise.a]\nurl_env = "V"\n', "SECRET", "V: must hold one URL of Apprise"),
        ('[alerts.apprise.a]\nurl_env = "V"\n', "nosuch://SECRET", "Apprise does not know such a URL"),
        (
            '[alerts.alertmanager.a]\nurl = "http://a"\ntoken_env = "V"\n',
            "SECRET\r\nX: y",
            "V: the token is not one word",
        ),
        ('[alerts.slack.s]\nurl_env = "V"\n', "", "V, which holds a secret, is not set"),
    ],
)
def test_a_secret_that_is_none_is_refused_without_a_word_of_it(
    load: Load, text: str, value: str, sentence: str
) -> None:
    settings = load(text)
    assert sentence in refusal(lambda: open_channels(settings, {"V": value}))


def test_a_hook_needs_a_secret_of_some_length(load: Load) -> None:
    pager = load('[alerts.pagerduty.p]\nrouting_key_env = "A"\nhook_secret_env = "V"\n').alerts.pagerduty["p"]
    for value in ("short", "SECRETHOOKS-old-0123456789 short"):
        assert "V: a secret of the webhook is too short" in refusal(
            lambda value=value: pager.hook_secrets({"V": value})
        )
    assert load('[alerts.pagerduty.p]\nrouting_key_env = "A"\n').alerts.pagerduty["p"].hook_secrets({}) == ()


def test_alertmanager_is_logged_in_to(load: Load) -> None:
    manager = load(ALL).alerts.alertmanager["prom"]
    assert manager.authorization(ENVIRON) == "Basic U0VDUkVUVVNFUjpTRUNSRVRQUk9N"
    token = load('[alerts.alertmanager.a]\nurl = "http://a"\ntoken_env = "V"\n').alerts.alertmanager["a"]
    assert token.authorization({"V": "abc\n"}) == "Bearer abc"
    assert load('[alerts.alertmanager.a]\nurl = "http://a"\n').alerts.alertmanager["a"].authorization({}) == ""


def test_what_the_documentation_shows_can_be_used(load: Load) -> None:
    page = (Path(__file__).parents[2] / "docs/reference/alerts.md").read_text()
    shown = [block for block in re.findall(r"```toml\n(.*?)```", page, re.DOTALL) if "[alerts." in block]
    assert len(shown) == len(KINDS) + 1  # and what it takes until the collector tells of itself
    settings = load("\n".join(shown))
    assert (settings.alerts.confirm, settings.alerts.steady) == (Confirm(), Steady()), "the defaults are shown"
    assert sorted(KINDS) == sorted(kind for kind in KINDS if getattr(settings.alerts, kind))
    load(re.sub(r"(?m)^# ", "", "\n".join(shown)))  # with what stands there as a comment

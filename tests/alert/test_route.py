"""Who is told of a drift, and what stands in the alert."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

import checks
from collector import canonical, config, registry
from collector import controls as control_file
from collector.alert.message import head, summary, text
from collector.alert.route import alert_fields, dedup_key, escalation, refuse_unknown
from collector.check import section_of, title_of
from collector.errors import ConfigError
from collector.ledger.entry import Draft, Kind
from collector.window.drift import Cause, Drift, Event

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
CHECK = "aws-ec2-patch-compliance"
HOST = "arn:aws:ec2:eu-west-1:123456789012:instance/i-1"
FAILED = Drift(
    Cause.FAILED, Event.TRIGGER, CHECK, "aws/123456789012/eu-west-1", HOST, "lacks 2 critical patches", START, 3, 9
)
BLIND = replace(FAILED, cause=Cause.BLIND, reason="could not be read: ssm:DescribeInstancePatchStates: AccessDenied")
MISSED = Drift(Cause.MISSED, Event.TRIGGER, "", "aws/123456789012", "", "nobody looked", START, None, 12)

SETTINGS = """
[collector]
origin = "evidence.example.com/test"
[alerts.webhook.pager]
url = "https://pager.example/"
secret_env = "S"
[alerts.webhook.chat]
url = "https://chat.example/"
secret_env = "S"
[alerts.email.team]
host = "smtp.example.com"
port = 25
from = "a@example.com"
to = ["b@example.com"]
"""
CONTROLS = """
[controls.PATCH-1]
title = "Servers are patched."
owner = "platform"
criteria = ["CC7.1"]
checks = ["aws-ec2-patch-compliance"]
"""
SECOND = CONTROLS.replace("PATCH-1", "VULN-9").replace("platform", "security")


@pytest.fixture(scope="module")
def shelf():
    return registry.load([checks])


@pytest.fixture
def alert(tmp_path, shelf):
    def alert(drift, routes="", controls=CONTROLS, opened=None, **more):
        (tmp_path / "collector.toml").write_text(SETTINGS + routes)
        (tmp_path / "controls.toml").write_text(controls)
        settings = config.load(tmp_path / "collector.toml", {})
        known = control_file.load(tmp_path / "controls.toml", shelf)
        refuse_unknown(known, settings, shelf)
        return alert_fields(drift, known, settings, shelf, opened, **more)

    return alert


def route(match, *channels):
    return f"[[route]]\nmatch = {{ {match} }}\nchannels = {list(channels)}\n"


def body(fields):
    return canonical.parse(Draft(Kind.ALERT, START, fields).body(17))


# --- what stands in it ---


def test_an_alert_names_control_check_subject_scope_times_evidence_reason_remedy_and_key(alert, shelf):
    found = alert(FAILED)
    check = shelf[CHECK].check
    assert found == {
        "key": dedup_key("failed", CHECK, FAILED.scope, HOST),
        "event": "trigger",
        "cause": "failed",
        "severity": "high",
        "check": CHECK,
        "scope": "aws/123456789012/eu-west-1",
        "subject": HOST,
        "control": "PATCH-1",
        "owner": "platform",
        "family": "patching",
        "title": title_of(check),
        "reason": "lacks 2 critical patches",
        "remedy": section_of(check, "Remedy"),
        "since": "2026-03-01T12:00:00.000000Z",
        "last_good": 3,
        "first_bad": 9,
        "channels": ["pager", "chat", "team"],
    }
    assert found["remedy"]
    assert body(found)["seq"] == 17


def test_the_key_is_the_same_from_trigger_to_resolve_and_differs_for_everything_else():
    key = dedup_key("failed", CHECK, "aws/1", "a")
    assert re.fullmatch(r"[0-9a-f]{32}", key)
    others = {
        dedup_key("blind", CHECK, "aws/1", "a"),
        dedup_key("failed", "aws-root-mfa", "aws/1", "a"),
        dedup_key("failed", CHECK, "aws/2", "a"),
        dedup_key("failed", CHECK, "aws/1", "b"),
    }
    assert key not in others
    assert len(others) == 4


def test_trigger_and_resolve_share_the_key(alert):
    assert alert(FAILED)["key"] == alert(replace(FAILED, event=Event.RESOLVE))["key"]
    assert alert(FAILED)["key"] != alert(BLIND)["key"]


def test_blind_is_worded_unlike_failed_and_mended_otherwise(alert, shelf):
    failed, blind = body(alert(FAILED)), body(alert(BLIND))
    assert (head(failed), head(blind)) == ("Failed", "Cannot be seen")
    assert "does not hold" in text(failed)
    assert "does not hold" not in text(blind)
    assert "Nobody can say at present whether the control holds" in text(blind)
    assert blind["remedy"] != failed["remedy"]
    assert all(permission in blind["remedy"] for permission in shelf[CHECK].check.permissions)


def test_the_heads_of_all_causes_and_events_differ(alert):
    heads = {head(alert(replace(drift, event=event))) for drift in (FAILED, BLIND, MISSED) for event in Event}
    assert len(heads) == 7  # an update is one for all


def test_a_missed_account_has_no_check_and_says_where_to_look(alert):
    found = body(alert(MISSED))
    assert (found["check"], found["control"], found["owner"], found["family"]) == ("", "", "", "")
    assert "/readyz" in found["remedy"]
    assert "Nobody looked: aws/123456789012 nobody looked" in text(found)
    assert "Check:      Every planned observation" in text(found)


def test_a_check_of_two_controls_makes_one_alert_that_names_both(alert):
    found = alert(FAILED, controls=CONTROLS + SECOND)
    assert found["control"] == "PATCH-1, VULN-9"
    assert found["owner"] == "platform, security"


def test_a_check_that_is_gone_still_resolves(alert):
    found = body(alert(replace(FAILED, check="aws-gone-check", event=Event.RESOLVE)))
    assert (found["title"], found["remedy"], found["control"]) == ("aws-gone-check", "", "")
    assert "No longer failed" in summary(found)


def test_an_endless_reason_still_fits_into_an_entry(alert):
    found = alert(replace(FAILED, reason="x" * 100_000))
    assert len(found["reason"]) == 2_000
    assert body(found)["reason"].endswith("…")


def test_the_message_is_plain_lines_whatever_a_name_holds(alert):
    found = body(alert(replace(FAILED, subject="arn:bad\r\nBcc: x@example.com\x1b[31m", reason="is\u2028bad")))
    for words in (summary(found), text(found)):
        assert "\r" not in words
        assert "\x1b" not in words
        assert "\u2028" not in words
    assert "\n" not in summary(found)
    assert not any(line.startswith("Bcc:") for line in text(found).splitlines())
    assert len(summary(body(alert(replace(FAILED, subject="s" * 3000))))) == 200


def test_a_message_names_the_evidence_and_a_resolve_has_no_remedy(alert):
    words = text(body(alert(FAILED)))
    assert "Last good:  entry 3 of the ledger" in words
    assert "First bad:  entry 9 of the ledger" in words
    assert "Remedy:     " in words
    over = text(body(alert(replace(FAILED, event=Event.RESOLVE, last_good=20))))
    assert "Good again: entry 20 of the ledger" in over
    assert "Remedy:" not in over
    assert "Last good" not in text(body(alert(replace(FAILED, last_good=None))))


# --- who is told ---


def test_without_routes_every_channel_is_told(alert):
    assert alert(FAILED)["channels"] == ["pager", "chat", "team"]


@pytest.mark.parametrize(
    ("match", "matches"),
    [
        ('family = "patching"', True),
        ('family = "mfa"', False),
        ('owner = "platform"', True),
        ('control = "PATCH-1"', True),
        ('scope = "aws/123456789012"', True),
        ('scope = "aws/123456789012/eu-west-1"', True),
        ('scope = "aws/123456789012/eu-west-2"', False),
        ('scope = "aws/12345678901"', False),
        ('cause = "failed"', True),
        ('cause = "blind"', False),
        ('family = "patching", cause = "blind"', False),
        ("", True),
    ],
)
def test_a_route_matches_when_all_its_keys_do(alert, match, matches):
    expected = ["chat"] if matches else ["pager", "chat", "team"]
    assert alert(FAILED, route(match, "chat"))["channels"] == expected


def test_the_first_route_that_matches_wins(alert):
    routes = route('cause = "blind"', "team") + route('owner = "platform"', "chat") + route("", "pager")
    assert alert(FAILED, routes)["channels"] == ["chat"]
    assert alert(BLIND, routes)["channels"] == ["team"]
    assert alert(MISSED, routes)["channels"] == ["pager"]
    assert alert(FAILED, route(""))["channels"] == []


def test_a_control_may_name_its_channels_itself(alert):
    own = CONTROLS + 'channels = ["team"]\n'
    assert alert(FAILED, route("", "pager"), own)["channels"] == ["team"]


def test_each_control_of_a_check_is_routed_and_nobody_is_told_twice(alert):
    routes = route('owner = "platform"', "chat") + route('owner = "security"', "pager", "chat")
    assert alert(FAILED, routes, CONTROLS + SECOND)["channels"] == ["chat", "pager"]


def test_who_was_told_that_it_began_is_told_that_it_is_over(alert):
    opened = body(alert(FAILED, route("", "team")))
    over = alert(replace(FAILED, event=Event.RESOLVE), route("", "pager"), opened=opened)
    assert over["channels"] == ["team"]
    again = alert(FAILED, route("", "pager"), opened=opened)
    assert again["channels"] == ["pager"]


def severe(severity, controls=CONTROLS):
    return f'{controls}severity = "{severity}"\n'


def test_an_alert_is_as_bad_as_the_worst_of_its_controls_and_high_without_any(alert):
    assert alert(FAILED, controls=severe("low") + severe("medium", SECOND))["severity"] == "medium"
    assert alert(BLIND, controls=severe("critical") + severe("low", SECOND))["severity"] == "critical"
    assert alert(MISSED, controls=severe("low"))["severity"] == "high"


def test_each_control_is_routed_by_its_own_severity(alert):
    routes = route('severity = "critical"', "pager") + route('severity = "low"', "chat")
    assert alert(FAILED, routes, severe("low") + severe("critical", SECOND))["channels"] == ["chat", "pager"]
    assert alert(MISSED, routes + route('severity = "high"', "team"))["channels"] == ["team"]


NIGHT = datetime(2026, 3, 28, 23, 30, tzinfo=UTC)  # 00:30 in Berlin, where clocks go forward in this night


def quiet(more=""):
    return route("", "pager", "chat") + f'quiet = "22:00-07:00"\nzone = "Europe/Berlin"\n{more}'


@pytest.mark.parametrize(
    ("severity", "more", "waits"),
    [
        ("critical", "", False),
        ("high", "", True),
        ("low", "", True),
        ("high", 'quiet_severities = ["low"]\n', False),
        ("critical", 'quiet_severities = ["critical"]\n', True),
    ],
)
def test_quiet_hours_delay_what_they_are_for_to_their_end(alert, severity, more, waits):
    found = alert(FAILED, quiet(more), severe(severity), now=NIGHT)
    until = {"pager": "2026-03-29T05:00:00.000000Z", "chat": "2026-03-29T05:00:00.000000Z"}
    assert found.get("quiet") == (until if waits else None)
    assert found["channels"] == ["pager", "chat"]
    assert "quiet" not in alert(FAILED, quiet(more), severe(severity), now=NIGHT.replace(hour=12))


def test_a_channel_that_one_route_tells_at_once_does_not_wait(alert):
    routes = route('owner = "platform"', "pager", "chat") + 'quiet = "22:00-07:00"\n' + route("", "pager")
    found = alert(FAILED, routes, CONTROLS + SECOND, now=NIGHT)
    assert list(found["quiet"]) == ["chat"]
    assert "quiet" not in alert(FAILED, routes, CONTROLS + 'channels = ["chat"]\n', now=NIGHT)


def test_escalation_is_that_of_the_most_impatient_route(alert, tmp_path, shelf):
    routes = (
        route('owner = "platform"', "pager")
        + 'escalate_after = "2h"\nescalate_to = ["chat"]\n'
        + route('owner = "security"', "pager")
        + 'escalate_after = "1h"\nescalate_to = ["team"]\n'
    )
    data = body(alert(FAILED, routes, CONTROLS + SECOND))
    known = control_file.load(tmp_path / "controls.toml", shelf)
    settings = config.load(tmp_path / "collector.toml", {})
    assert escalation(data, known, settings) == (timedelta(hours=1), ("team",))
    assert escalation(body(alert(MISSED, routes, CONTROLS + SECOND)), known, settings) is None


def test_the_link_names_the_entry_and_the_key_and_stays_the_same(alert):
    link = '[alerts]\nlink = "https://wiki.example/{alert}/{key}"\n'
    found = alert(FAILED, link, seq=17)
    assert found["link"] == f"https://wiki.example/17/{found['key']}"
    over = alert(replace(FAILED, event=Event.RESOLVE), link, opened=body(found), seq=99)
    assert over["link"] == found["link"]


@pytest.mark.parametrize("link", ["https://wiki.example/", "https://wiki.example/{seq}/{key}", "wiki/{alert}"])
def test_a_link_that_leads_nowhere_is_refused(alert, link):
    with pytest.raises(ConfigError, match="link"):
        alert(FAILED, f'[alerts]\nlink = "{link}"\n')


@pytest.mark.parametrize(
    ("routes", "controls", "sentence"),
    [
        (route('owner = "platfrm"', "chat"), CONTROLS, "matches no owner 'platfrm'; did you mean 'platform'?"),
        (route('control = "PATCH-2"', "chat"), CONTROLS, "matches no control 'PATCH-2'; did you mean 'PATCH-1'?"),
        (route('family = "patchin"', "chat"), CONTROLS, "matches no family 'patchin'; did you mean 'patching'?"),
        ("", CONTROLS + 'channels = ["pagr"]\n', "[controls.PATCH-1] names the channel 'pagr'; did you mean 'pager'?"),
    ],
)
def test_a_route_that_would_never_match_is_refused(alert, routes, controls, sentence):
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        alert(FAILED, routes, controls)

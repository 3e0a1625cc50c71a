"""The control file: what binds checks to criteria and owners, and how a wrong one is refused."""

import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

import checks
from collector import canonical, controls, registry
from collector.check import Check, Family, LimitedCheck, Stage, bad, good, not_satisfied, satisfied
from collector.controls import load
from collector.errors import ConfigError


@dataclass(frozen=True)
class Facts:
    days: int


@dataclass(frozen=True)
class Limits:
    days_max: int = 30
    days_min: int = 1


@dataclass(frozen=True)
class Held:
    check: object


def plain(id: str, stage: Stage = Stage.STABLE) -> Held:
    return Held(
        Check(
            id=id,
            family=Family.MFA,
            criteria=("CC6.1",),
            permissions=("iam:ListUsers",),
            per="account",
            stage=stage,
            population=lambda cloud: [],
            name=str,
            observe=lambda cloud, subject: Facts(0),
            evaluate=lambda facts: satisfied("is fine") if facts.days else not_satisfied("is not"),
            examples=(good(Facts(1)), bad(Facts(0))),
        )
    )


def limited(id: str) -> Held:
    return Held(
        LimitedCheck(
            id=id,
            family=Family.PATCHING,
            criteria=("CC7.1",),
            permissions=("ssm:ListInventory",),
            per="region",
            limits=Limits(),
            population=lambda cloud: [],
            name=str,
            observe=lambda cloud, subject: Facts(0),
            evaluate=lambda facts, limits: (
                satisfied("is fine") if facts.days <= limits.days_max else not_satisfied("is not")
            ),
            examples=(good(Facts(1)), bad(Facts(31))),
        )
    )


class Shelf(dict):
    """A registry of made-up checks."""

    def __iter__(self):
        return iter(self.values())


SHELF = Shelf(
    (held.check.id, held)
    for held in (plain("aws-root-mfa"), plain("aws-old-mfa", Stage.RETIRED), limited("aws-patch-age"))
)

FIRST = """
[controls.MFA-1]
title = "Root signs in with MFA."
owner = "security"
criteria = ["CC6.1"]
checks = ["aws-root-mfa"]
"""
PATCH = """
[controls.PATCH-1]
title = "Servers are patched."
owner = "platform"
criteria = ["CC7.1"]
checks = ["aws-patch-age"]
cadence = "1d"
limits = { aws-patch-age = { days_max = 14 } }
channels = ["pager"]
"""


@pytest.fixture
def write(tmp_path):
    def write(text: str) -> Path:
        path = tmp_path / "controls.toml"
        path.write_text(text)
        return path

    return write


def refusal(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load(path, SHELF)
    return str(caught.value)


def test_controls_are_read_in_the_order_of_the_file(write):
    found = load(write(PATCH + FIRST), SHELF)
    assert [control.id for control in found] == ["PATCH-1", "MFA-1"]
    assert len(found) == 2
    assert "MFA-1" in found
    assert found["MFA-1"].owner == "security"
    assert found["MFA-1"].cadence_s == 3600
    assert found["MFA-1"].channels is None
    assert found["PATCH-1"].channels == ("pager",)
    assert found.enabled == ("aws-patch-age", "aws-root-mfa")
    assert [control.id for control in found.controls_of("aws-root-mfa")] == ["MFA-1"]
    assert found.controls_of("aws-elsewhere") == ()
    assert found.limits_of("aws-patch-age") == Limits(days_max=14)
    assert found.limits_of("aws-root-mfa") is None
    with pytest.raises(KeyError):
        found.cadence_of("aws-elsewhere")


def test_a_check_of_two_controls_runs_as_often_as_the_more_demanding_says(write):
    slow = FIRST.replace("MFA-1", "MFA-2") + 'cadence = "6h"\n'
    fast = FIRST.replace("MFA-1", "MFA-3") + 'cadence = "15m"\n'
    assert load(write(slow), SHELF).cadence_of("aws-root-mfa") == 6 * 3600
    assert load(write(slow + FIRST), SHELF).cadence_of("aws-root-mfa") == 3600
    both = load(write(slow + FIRST + fast), SHELF)
    assert both.cadence_of("aws-root-mfa") == 900
    assert [control.id for control in both.controls_of("aws-root-mfa")] == ["MFA-2", "MFA-1", "MFA-3"]


def test_a_check_has_one_set_of_limits_whatever_the_order_of_its_controls(write):
    silent = PATCH.replace("PATCH-1", "PATCH-2").replace("limits = { aws-patch-age = { days_max = 14 } }\n", "")
    other = PATCH.replace("PATCH-1", "PATCH-3").replace("14", "20")
    same = PATCH.replace("PATCH-1", "PATCH-4")
    for text in (PATCH + silent, silent + PATCH, PATCH + same):
        assert load(write(text), SHELF).limits_of("aws-patch-age") == Limits(days_max=14)
    assert load(write(silent), SHELF).limits_of("aws-patch-age") == Limits()
    said = refusal(write(PATCH + other))
    assert "[controls.PATCH-3] sets other limits for aws-patch-age than [controls.PATCH-1]; make them agree" in said


def test_a_control_without_checks_is_allowed(write):
    found = load(write(FIRST.replace('"aws-root-mfa"', "")), SHELF)
    assert found["MFA-1"].checks == ()
    assert found.enabled == ()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            FIRST.replace("aws-root-mfa", "aws-rot-mfa"),
            "names the check 'aws-rot-mfa', which is not there; did you mean 'aws-root-mfa'?",
        ),
        (
            FIRST.replace("aws-root-mfa", "zzz"),
            "which is not there; it may be aws-old-mfa, aws-patch-age, aws-root-mfa",
        ),
        (FIRST.replace("aws-root-mfa", "aws-old-mfa"), "names the check 'aws-old-mfa', which is retired; remove it"),
        (FIRST.replace("CC6.1", "CC6.11"), "[controls.MFA-1] criteria: 'CC6.11' is no Trust Services Criterion"),
        (FIRST.replace('["CC6.1"]', "[]"), "[controls.MFA-1] criteria: must not be empty"),
        (FIRST.replace('["aws-root-mfa"]', '["aws-root-mfa", "aws-root-mfa"]'), "checks: names aws-root-mfa twice"),
        (
            FIRST.replace("owner", "ownr"),
            "[controls.MFA-1] has no key 'ownr'; did you mean 'owner'? (1 more like this)",
        ),
        (FIRST + 'ownr = "x"\n', "[controls.MFA-1] has no key 'ownr'; did you mean 'owner'?"),
        (FIRST.replace('owner = "security"\n', ""), "[controls.MFA-1] needs 'owner': Who answers for it"),
        (FIRST.replace("security", ""), "[controls.MFA-1] owner: must be one line of text"),
        (FIRST + 'cadence = "1m"\n', "[controls.MFA-1] cadence: must be from 5m to 31d"),
        (FIRST + "cadence = 3600\n", "[controls.MFA-1] cadence: must be a duration"),
        (PATCH.replace("days_max", "days_mx"), "aws-patch-age has no limit 'days_mx'; it has days_max, days_min"),
        (PATCH.replace("14", "-1"), "limit days_max must be a whole number from 0, not -1"),
        (PATCH.replace("14", "true"), "[controls.PATCH-1.limits.aws-patch-age] days_max: must be a whole number"),
        (PATCH.replace("14", "1.5"), "[controls.PATCH-1.limits.aws-patch-age] days_max: must be a whole number"),
        (
            PATCH.replace("limits = { aws-patch-age", "limits = { aws-patch-agee"),
            "limits 'aws-patch-agee', which is none of its checks; did you mean 'aws-patch-age'?",
        ),
        (FIRST + "limits = { aws-root-mfa = { days = 1 } }\n", "aws-root-mfa has no limits; remove days"),
        (FIRST + FIRST, "is not TOML"),
        (FIRST.replace("MFA-1", '"M FA"'), "[controls.M FA]: a control's id is made of letters"),
        ("", "the file needs 'controls'"),
        ("[controls]\n", "[controls]: must not be empty"),
        ("[control.MFA-1]\n", "the file has no key 'control'; did you mean 'controls'?"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence_that_begins_with_the_file(write, text, sentence):
    path = write(text)
    said = refusal(path)
    assert said.startswith(f"{path}: ")
    assert sentence in said
    assert "\n" not in said


def test_the_record_holds_the_limits_in_force_and_is_canonical(write):
    silent = PATCH.replace("PATCH-1", "PATCH-2").replace("limits = { aws-patch-age = { days_max = 14 } }\n", "")
    record = load(write(silent + PATCH + FIRST), SHELF).record()
    assert canonical.parse(canonical.record(record)) == record
    assert record["PATCH-2"]["limits"] == {"aws-patch-age": {"days_max": 14, "days_min": 1}}
    assert record["MFA-1"] == {
        "title": "Root signs in with MFA.",
        "owner": "security",
        "criteria": ["CC6.1"],
        "checks": ["aws-root-mfa"],
        "cadence_s": 3600,
        "limits": {},
        "channels": None,
        "severity": "high",
        "confirm": 1,
        "steady": 1,
        "by_hand": "",
    }


def test_a_check_of_two_controls_is_confirmed_as_the_hasty_one_asks_and_over_as_the_patient_one_does(write):
    rows = "severity = {!r}\nconfirm = {}\nsteady = {}\n"
    second = FIRST.replace("MFA-1", "MFA-2")
    loaded = load(write(FIRST + rows.format("low", 3, 1) + second + rows.format("critical", 2, 4)), SHELF)
    assert loaded.rows_of("aws-root-mfa") == (2, 4)
    assert [control.severity for control in loaded] == ["low", "critical"]
    assert loaded.rows_of("aws-patch-age") == (1, 1)


@pytest.mark.parametrize("line", ["confirm = 0", "steady = 25", 'severity = "worst"', "confirm = true"])
def test_rows_and_severities_have_limits(write, line):
    with pytest.raises(ConfigError, match=line.partition(" ")[0]):
        load(write(f"{FIRST}{line}\n"), SHELF)


def test_every_key_stands_in_the_reference():
    page = controls.reference()
    for name, field in controls.ControlTable.model_fields.items():
        assert f"| `{name}` |" in page
        assert field.description in page


def test_the_starter_binds_every_check_that_ships_to_a_control():
    shipped = registry.load([checks])
    starter = load(Path(controls.__file__).parent / "starter" / "controls.toml", shipped)
    running = {item.check.id for item in shipped if item.check.stage is not Stage.RETIRED}
    assert set(starter.enabled) == running
    assert any(not control.checks for control in starter)
    for check in starter.enabled:
        suggested = set(shipped[check].check.criteria)
        bound = {criterion for control in starter.controls_of(check) for criterion in control.criteria}
        assert suggested & bound, f"{check} suggests {suggested}, the starter binds it to {bound}"


STARTER = Path(controls.__file__).parent / "starter" / "controls.toml"
SERVED = {  # what infrastructure can speak of, and what the collector itself is evidence of
    *("CC4.1", "CC4.2", "CC6.1", "CC6.2", "CC6.3", "CC6.4", "CC6.5", "CC6.6", "CC6.7", "CC6.8"),
    *("CC7.1", "CC7.2", "CC7.3", "CC7.4", "CC7.5", "CC8.1", "A1.2", "C1.1"),
}


def test_the_starter_serves_every_criterion_that_it_is_for():
    starter = load(STARTER, registry.load([checks]))
    assert 40 <= len(starter) <= 49
    assert {criterion for control in starter for criterion in control.criteria} >= SERVED


def test_the_starter_says_of_a_control_without_checks_what_to_collect_and_of_the_others_nothing():
    for control in load(STARTER, registry.load([checks])):
        assert bool(control.by_hand) == (not control.checks), control.id
        assert control.title.endswith("."), control.id


def test_no_two_controls_of_the_starter_bind_one_check():
    starter = load(STARTER, registry.load([checks]))
    assert [check for check in starter.enabled if len(starter.controls_of(check)) != 1] == []


@pytest.mark.parametrize("cloud", ["aws", "azure", "gcp"])
def test_the_starter_of_one_cloud_has_its_checks_alone_and_every_control_evidenced_by_hand(tmp_path, cloud):
    shipped = registry.load([checks])
    whole = load(STARTER, shipped)
    file = tmp_path / "controls.toml"
    file.write_text(controls.starter((cloud,)))
    found = load(file, shipped)
    assert set(found.enabled) == {id for id in whole.enabled if id.startswith(f"{cloud}-")}
    assert {c.id for c in found if not c.checks} == {c.id for c in whole if not c.checks}
    assert all(found[c.id].cadence_s == c.cadence_s for c in whole if c.id in found)


def test_the_window_of_the_demo_is_about_every_control_of_the_starter():
    from collector.demo.play import configuration

    day = datetime(2026, 1, 1, tzinfo=UTC)
    text = configuration("123456789012", "test.local/demo", "http://127.0.0.1:1/", (day, day), "127.0.0.1:0")
    (window,) = tomllib.loads(text)["windows"].values()
    for control in load(STARTER, registry.load([checks])):
        assert set(control.criteria) & set(window["criteria"]), control.id

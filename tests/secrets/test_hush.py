"""What is remembered as a secret, in which codings it is known again, and what is left alone."""

from __future__ import annotations

import base64
import json
import urllib.parse
from collections.abc import Iterator

import pytest

from collector import hush
from collector.errors import Denied

WORD = 'Zq7:Xv/9 ü+"&kP3=='


@pytest.fixture(autouse=True)
def nothing_held() -> Iterator[None]:
    hush.forget()
    yield
    hush.forget()


@pytest.mark.parametrize(
    "written",
    [
        WORD,
        json.dumps(WORD),
        json.dumps(WORD, ensure_ascii=False),
        urllib.parse.quote(WORD, safe=""),
        urllib.parse.quote_plus(WORD),
        WORD.encode().hex(),
        *(base64.b64encode(b"x" * n + WORD.encode() + b"tail").decode() for n in range(3)),
        *(base64.urlsafe_b64encode(b"x" * n + WORD.encode()).decode() for n in range(3)),
    ],
)
def test_a_secret_is_known_again_however_it_is_written(written: str) -> None:
    words = f"the server said {written}, and no more"
    assert hush.without(words) == words
    hush.hold(WORD)
    said = hush.without(words)
    assert "[redacted]" in said
    assert written not in said
    assert said.startswith("the server said ")
    assert said.endswith(", and no more")
    assert "[redacted]" in str(Denied(words))


@pytest.mark.parametrize("word", ["", "password", "postgres", "evidence-collector", "12345678901", "a1", "x" * 20_000])
def test_a_word_that_may_stand_in_any_text_is_not_remembered(word: str) -> None:
    hush.hold(word)
    words = f"has a console password and no MFA: postgres, evidence-collector 12345678901 a1 {word}"
    assert hush.without(words) == words


def test_a_short_secret_is_kept_out_of_words_and_not_looked_for_in_answers() -> None:
    """A bucket called acme2024-logs must keep its name, whatever the password of the database is."""
    hush.hold("acme2024")
    assert hush.without("no acme2024 here") == "no [redacted] here"
    assert not hush.shown(b'{"Name":"acme2024-logs"}')
    hush.hold("acme2024-and-something-longer")
    body = {"Name": "acme2024-logs", "Note": ["is acme2024-and-something-longer"]}
    assert hush.shown(json.dumps(body).encode())
    assert hush.cleared(body) == {"Name": "acme2024-logs", "Note": ["is [redacted]"]}


def test_of_a_url_each_part_that_is_a_secret_is_known() -> None:
    hush.hold("https://ada:pass-word-1@hooks.example/services/T0/B0/abcdef0123?sig=0123456789abcdefX")
    words = "POST /services/T0/B0/abcdef0123?sig=0123456789abcdefX for pass-word-1 with 0123456789abcdefX"
    assert hush.without(words) == "POST [redacted] for [redacted] with [redacted]"
    hush.hold_url("postgresql://app:p@s5w0rd-x:y/z@db/ledger")
    assert hush.without('could not translate host name "s5w0rd-x"') == 'could not translate host name "[redacted]"'


def test_tokens_pass_and_what_is_configured_stays() -> None:
    hush.hold("configured-secret-1")
    for number in range(2 * hush.PASSING_MAX):
        hush.hold(f"token-number-{number}", passing=True)
    last = f"token-number-{2 * hush.PASSING_MAX - 1}"
    assert hush.without(f"configured-secret-1 {last} token-number-0") == "[redacted] [redacted] token-number-0"


def test_words_are_cleaned_before_they_are_cut() -> None:
    hush.hold("0123456789abcdef-secret")
    assert hush.cut("it was 0123456789abcdef-secret", 20) == "it was [redacted]"


def test_only_variables_that_are_named_like_secrets_are_held() -> None:
    hush.hold_environment(
        {
            "AWS_SECRET_ACCESS_KEY": "of-aws-0123456",
            "PGPASSWORD": "of-pg-0123456",
            "GPG_KEY": "of-gpg-0123456",
            "PATH": "/usr/bin-0123456",
            "HTTPS_PROXY": "http://ada:of-proxy-0123456@proxy.example:3128",
        }
    )
    words = "of-aws-0123456 of-pg-0123456 of-gpg-0123456 /usr/bin-0123456 of-proxy-0123456"
    assert hush.without(words) == "[redacted] [redacted] of-gpg-0123456 /usr/bin-0123456 [redacted]"

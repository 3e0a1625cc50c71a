"""The program's own log: one line for each event, in either format, without secrets."""

import io
import json
import logging
import warnings

import pytest
import structlog

from collector import logs


@pytest.fixture
def log():
    """Sets the log up on a stream and puts everything back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in logs.TALKATIVE}
    stream = io.StringIO()

    def log(format="json", level="info"):
        logs.setup(format, level, stream)
        return lambda: stream.getvalue()

    yield log
    structlog.reset_defaults()
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)


def test_json_is_one_object_a_line_for_us_and_for_libraries(log):
    written = log()
    structlog.get_logger("collector.daemon").info("sealed", account="aws/123456789012", runs=3, name="Zoë")
    logging.getLogger("uvicorn.error").warning("port %s", 8321)
    first, second = map(json.loads, written().splitlines())
    assert first["event"] == "sealed"
    assert first["runs"] == 3
    assert first["level"] == "info"
    assert first["logger"] == "collector.daemon"
    assert first["timestamp"].endswith("Z")
    assert second["event"] == "port 8321"
    assert second["level"] == "warning"


def test_the_level_holds_and_setting_up_again_does_not_write_twice(log):
    written = log(level="warning")
    written = log(level="warning")
    structlog.get_logger("x").info("quiet")
    structlog.get_logger("x").warning("loud")
    assert "quiet" not in written()
    assert written().count("loud") == 1


def test_libraries_that_would_write_signatures_stay_quiet_at_debug(log):
    written = log(level="debug")
    logging.getLogger("botocore.auth").debug("Signature: abc")
    logging.getLogger("urllib3.connectionpool").debug("GET /?token=abc")
    logging.getLogger("collector.x").debug("ours")
    assert "abc" not in written()
    assert "ours" in written()


@pytest.mark.parametrize("format", ["json", "console"])
def test_secrets_do_not_reach_the_log(log, format):
    written = log(format)
    logger = structlog.get_logger("x")
    logger.info(
        "opened", password="hunter2", nested={"aws_secret_access_key": "abcdef", "list": ["AKIAABCDEFGHIJKLMNOP"]}
    )
    logger.info("postgresql+psycopg://ann:hunter2@db/evidence refused")
    try:
        raise RuntimeError("cannot connect to postgresql://ann:hunter2@db/evidence")
    except RuntimeError:
        logger.exception("trouble")
    logging.getLogger("lib").error("Authorization: AWS4-HMAC-SHA256 Signature=%s", "ab" * 32)
    text = written()
    for secret in ("hunter2", "abcdef", "AKIAABCDEFGHIJKLMNOP", "ab" * 32):
        assert secret not in text
    assert "[redacted]" in text
    assert "RuntimeError" in text
    assert "postgresql" in text


def test_exceptions_are_one_json_line(log):
    written = log()
    try:
        raise ValueError("broken")
    except ValueError:
        structlog.get_logger("x").exception("trouble")
    (line,) = written().splitlines()
    assert "ValueError: broken" in json.loads(line)["exception"]


def test_warnings_of_libraries_are_logged(log):
    written = log()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)  # or it changes nothing: an earlier test may have left it on
        logging.captureWarnings(True)
        warnings.warn("old thing", UserWarning, stacklevel=1)
    assert "old thing" in written()


def test_the_console_is_for_people(log):
    written = log("console")
    structlog.get_logger("x").info("started", origin="evidence.example.com/test")
    assert "started" in written()
    assert "evidence.example.com/test" in written()
    assert "\x1b" not in written()  # no colours where no terminal is

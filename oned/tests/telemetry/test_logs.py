import io
import json
import logging

import pytest
import structlog

from oned.telemetry import logs


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def restored():
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    structlog.reset_defaults()
    logs.identify(dict)
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(stream):
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_off_a_terminal():
    stream = io.StringIO()
    logs.setup(2, stream)
    structlog.get_logger().info("became leader", term=3, server=0)
    (line,) = lines(stream)
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "became leader", "level": "info", "term": 3, "server": 0}


def test_every_record_says_whose_it_is():
    stream = io.StringIO()
    logs.setup(2, stream)
    term = 3
    logs.identify(lambda: {"server": "one", "term": term})
    structlog.get_logger().info("serving")
    term = 4
    logging.getLogger("aiohttp").warning("a library's")
    structlog.get_logger().info("handed over", term=5)
    assert [(each["server"], each["term"]) for each in lines(stream)] == [
        ("one", 3),
        ("one", 4),
        ("one", 5),
    ]


def test_readable_on_a_terminal():
    stream = Terminal()
    logs.setup(2, stream)
    structlog.get_logger().info("became leader", term=3)
    assert "became leader" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


@pytest.mark.parametrize(
    ("level", "seen"),
    [
        (0, ["error"]),
        (1, ["warning", "error"]),
        (2, ["info", "warning", "error"]),
        (3, ["debug", "info", "warning", "error"]),
        (5, ["debug", "info", "warning", "error"]),
    ],
)
def test_levels_are_those_of_opennebula(level, seen):
    stream = io.StringIO()
    logs.setup(level, stream)
    log = structlog.get_logger()
    for method in ("debug", "info", "warning", "error"):
        getattr(log, method)("x")
    assert [line["level"] for line in lines(stream)] == seen


@pytest.mark.parametrize("level", [-1, 6])
def test_unknown_level_is_refused(level):
    with pytest.raises(ValueError, match="0 to 5"):
        logs.setup(level, io.StringIO())


def test_libraries_speak_in_the_same_form_and_less():
    stream = io.StringIO()
    logs.setup(3, stream)
    logging.getLogger("aiohttp.server").info("chatter")
    logging.getLogger("aiohttp.server").warning("trouble %d", 7)
    (line,) = lines(stream)
    assert (line["event"], line["logger"], line["level"]) == (
        "trouble 7",
        "aiohttp.server",
        "warning",
    )


def test_second_setup_replaces_the_first():
    first, second = io.StringIO(), io.StringIO()
    log = structlog.get_logger()
    logs.setup(2, first)
    log.info("a")
    logs.setup(2, second)
    log.info("b")
    logging.getLogger("x").warning("c")
    assert [line["event"] for line in lines(first)] == ["a"]
    assert [line["event"] for line in lines(second)] == ["b", "c"]


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_secrets_do_not_come_out(stream):
    logs.setup(2, stream)
    hidden = "opennebula-secret"
    log = structlog.get_logger()
    log.info("call", password=hidden, session=f"oneadmin:{hidden}", user="oneadmin")
    try:
        int("bad")
    except ValueError:
        local = hidden  # noqa: F841 - a traceback must not show local variables
        log.exception("failed")
    assert hidden not in stream.getvalue().replace("local = hidden", "")
    assert "ValueError" in stream.getvalue()


def test_unprintable_values_do_not_raise():
    stream = io.StringIO()
    logs.setup(2, stream)
    structlog.get_logger().info("odd", value=object(), text="\udcff", data=b"\xff")
    assert len(lines(stream)) == 1

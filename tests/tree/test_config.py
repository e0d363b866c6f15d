# SPDX-License-Identifier: GPL-2.0-only
"""The configuration: what it takes for set, and which lines it leaves active."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvm_ref.misuse import Misuse
from kvm_ref.tree.blank import uncommented
from kvm_ref.tree.config import Config, active, integer

CONFIG = Config(
    {"CONFIG_A": True, "CONFIG_B": False, "MODULE": True, "CONFIG_M": True, "CONFIG_M_MODULE": True}
)


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("1", True),
        ("0x10 == 020", True),
        ("0x10UL == 16", True),
        ("defined(CONFIG_A)", True),
        ("defined CONFIG_B || defined ( MODULE )", True),
        ("!defined(CONFIG_A) && CONFIG_B", False),
        ("IS_ENABLED(CONFIG_M) && IS_MODULE(CONFIG_M) && !IS_BUILTIN(CONFIG_M)", True),
        ("IS_BUILTIN(CONFIG_A) && IS_REACHABLE(CONFIG_A)", True),
        ("IS_MODULE(CONFIG_A)", False),
        ("__GNUC__ > 4", False),
        ("__has_attribute(x(y)) || __has_include(<a.h>)", False),
        ("LATER(1, 2) + 1", True),
        ("LATER(1) || LATER()", False),
        ("(1 + 2) * 3 - 9", False),
        ("-1 < 0 && +1 > 0 && ~0 <= -1 && 1 >= 1 && 2 != 3", True),
        ("(5 & 4) | (1 ^ 1) && (1 << 2) >> 1", True),
        ("7 / 2 == 3 && 7 % 2", True),
        ("1 / NOTHING || 1 % NOTHING", False),
        ("1 ? 0 : 1", False),
        ("0 ? 0 : 0 ? 0 : 1", True),
        ("defined(CONFIG_A) && \\\n defined(MODULE)", True),
        ("1 << -1 == 0", False),
    ],
)
def test_a_condition_is_decided_as_in_c(text: str, holds: bool) -> None:
    assert CONFIG.condition(text) is holds


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "#if : the end is not expected there"),
        ("1 +", "#if 1 +: the end is not expected there"),
        ("1 1", "#if 1 1: '1' is not expected there"),
        ("defined", "#if defined: the end is not expected there"),
        ("defined 1", "#if defined 1: '1' is not expected there"),
        ("(1", "#if (1: the end is not expected there"),
        ("(1 2", "#if (1 2: '2' is not expected there"),
        ("FOO(1", "#if FOO(1: the end is not expected there"),
        ("1 ? 2", "#if 1 ? 2: the end is not expected there"),
        ("'a'", """#if 'a': "'" is not expected there"""),
        ("(" * 9999, "nested too deeply"),
    ],
)
def test_what_is_no_condition_is_refused_in_one_line(text: str, says: str) -> None:
    with pytest.raises(Misuse) as refused:
        CONFIG.condition(text)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_was_guessed_is_told() -> None:
    """An option counts as asked for only where its value matters."""
    config = Config({"CONFIG_A": False}, default=True)
    assert config.condition("CONFIG_A && defined(CONFIG_B) || CONFIG_C ? CONFIG_D : defined CONFIG_E")
    assert not config.condition("DEBUG || MODULE || CONFIG_D_MODULE || IS_ENABLED(CONFIG_A)")
    assert config.guessed == {"CONFIG_C", "CONFIG_D"}


def test_a_config_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / ".config"
    path.write_text(
        "# Linux\n#\n\nCONFIG_A=y\nCONFIG_M=m\nCONFIG_N=n\n# CONFIG_B is not set\nCONFIG_LEVELS=4\n"
        'CONFIG_BASE=0x10\nCONFIG_LESS=-1\nCONFIG_TEXT="y"\n'
    )
    config = Config.read(path)
    assert [name for name in config.values if config.get(name)] == [
        *(
            "CONFIG_A",
            "CONFIG_M",
            "CONFIG_M_MODULE",
            "CONFIG_LEVELS",
            "CONFIG_BASE",
            "CONFIG_LESS",
            "CONFIG_TEXT",
        )
    ]
    assert not config.get("CONFIG_ABSENT")
    assert config.condition("CONFIG_LEVELS == 4 && CONFIG_BASE == 16 && CONFIG_LESS < 0 && CONFIG_A == 1")
    config.set("CONFIG_LEVELS=n")
    assert not config.condition("CONFIG_LEVELS")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (
            b"CONFIG_A=y\nCONFIG_B\n",
            ".config:2: 'CONFIG_B': expected CONFIG_NAME=VALUE or '# CONFIG_NAME is not set'",
        ),
        (b"#define A\n", ".config:1: "),
        (b"CONFIG_A=maybe\n", ".config:1: "),
        (b"\xff\xfe", "it is no text"),
    ],
)
def test_what_is_no_config_file_is_refused(tmp_path: Path, data: bytes, says: str) -> None:
    path = tmp_path / ".config"
    path.write_bytes(data)
    with pytest.raises(Misuse) as refused:
        Config.read(path)
    assert says in str(refused.value)
    with pytest.raises(Misuse, match="No such file"):
        Config.read(tmp_path / "absent")


def test_settings_come_from_the_command_line() -> None:
    config = Config({})
    config.set("CONFIG_A=y")
    config.set(" CONFIG_B=n ")
    assert config.values == {"CONFIG_A": True, "CONFIG_B": False}
    for text in ("CONFIG_A", "CONFIG_A=m", "A=y", ""):
        with pytest.raises(Misuse, match="expected CONFIG_NAME=y or CONFIG_NAME=n"):
            config.set(text)


def test_an_integer_is_read_as_in_c() -> None:
    assert [integer(text) for text in ("0", "017", "0x1fUL", "42u", "09", "x", "")] == [
        0,
        15,
        31,
        42,
        None,
        None,
        None,
    ]


def lines(text: str, config: Config = CONFIG) -> list[str]:
    """Return the active lines that are not empty, after a check that nothing moved."""
    raw = text.encode()
    out = active(uncommented(raw), config, "a.c").text
    assert len(out) == len(raw)
    assert [n for n, byte in enumerate(out) if byte == 10] == [n for n, byte in enumerate(raw) if byte == 10]
    return [line.strip() for line in out.decode().splitlines() if line.strip()]


def test_one_branch_is_active() -> None:
    text = """
    #ifdef CONFIG_A
      a
    # ifdef CONFIG_B
      ab
    # elif defined(MODULE) && \\
           1
      amodule
    # else
      anot
    # endif
    #elif 1 +
      never looked at
    #else
      nota
    # if never looked at (
      deep
    # else
      down
    # endif
    #endif
    #ifndef CONFIG_B
      notb
    #elifdef CONFIG_A
      later
    #endif
    #if 0
      zero
    #elifndef CONFIG_B
      yes
    #endif
    """
    assert lines(text) == ["a", "amodule", "notb", "yes"]


def test_comments_and_directives_are_blank() -> None:
    text = """
    #include <a.h>
    #define A /* goes
       on */ 1
    #define B \\
       /* one */ \\
       /* two \\
       */ 2
    #pragma once
    #
    a /* b */ c // d
    "/* e */" '"' /* ' */
    """
    assert lines(text) == ["a         c", '"/* e */" \'"\'']


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a\n#endif\n", "a.c:2: #endif without #if"),
        ("#else\n", "a.c:1: #else without #if"),
        ("\n#ifdef A\n#if 0\n#endif\n", "a.c:2: #if without #endif: is the file cut off?"),
        ("\n\n#if (\n#endif\n", "a.c:3: #if (: the end is not expected there"),
        ("#ifdef \\\n 1\n#endif\n", "a.c:1: #ifdef 1: expected the name of a macro"),
    ],
)
def test_conditions_that_do_not_nest_are_refused(text: str, says: str) -> None:
    with pytest.raises(Misuse) as refused:
        lines(text)
    assert str(refused.value) == says

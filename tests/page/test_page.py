# SPDX-License-Identifier: GPL-2.0-only
"""The page as a file: whole, the same each time, and safe whatever the names in it hold."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from itertools import zip_longest
from pathlib import Path
from typing import Any

import attrs
import pytest
from command_line import Command, process
from page.rows import HOSTILE, hostile, row, watched

from kvm_ref.html.page import page
from kvm_ref.matrix import Matrix, run
from kvm_ref.scenario import Cpus, Scenario


class Reader(HTMLParser):
    """Reads a page as a browser does: its elements, and the text of each table's cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.texts: dict[str, list[str]] = {}
        self._inside = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self._inside, []).append(data)
        if self._inside in ("td", "th", "button", "span", "small") and self.rows and self.rows[-1]:
            self.rows[-1][-1] += data.strip("\n")

    def of(self, tag: str) -> list[dict[str, str | None]]:
        """Return the attributes of all elements of a name."""
        return [attributes for name, attributes in self.elements if name == tag]


def data_of(text: str) -> dict[str, Any]:
    """Return what the page's program reads."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


LOONGARCH = ("load", "unload")


def test_a_row_of_the_table() -> None:
    """misc_register() on loongarch: -EBUSY, err_register, the directory leaked, all else released or not yet there."""
    read = Reader(page(watched("loongarch", *LOONGARCH, cpus=2, enable_virt_at_load="1")))
    head, found = read.rows[0], next(cells for cells in read.rows if cells[0] == "misc_register")
    assert dict(zip(head, found, strict=True)) == {
        "fault on loongarch": "misc_register",
        "enable_virt_at_load": "1",
        "result": "-EBUSY",
        "labels": "err_register",
        "retry": "ok",
        "found": "leak b31e7c2",
        "percpu:percpu:kvm_context": "released",
        "kmalloc:kvm_world_switch": "released",
        "kmem_cache:kvm_vcpu": "released",
        "cpumask:cpumask \u00d72": "released",
        "debugfs:kvm": "leaked",
        "cpuhp_state:148": "released",
        "syscore:kvm_syscore": "released",
        "misc_minor:232": "not acquired",
        "device:/dev/kvm": "not acquired",
        "miscdevice:kvm": "not acquired",
    }


def test_what_was_run_stands_above() -> None:
    """Kernel, backend, CPUs, verbs, settings, and the line that ends the text of a matrix."""
    base = Scenario(
        "loongarch", LOONGARCH, cpus=Cpus.of((0, 1)), params={"enable_virt_at_load": "1"},
        commits={"b31e7c24b475": True},
    )  # fmt: skip
    done = run([base])
    texts = Reader(page(done)).texts
    assert texts["dd"][:5] == [
        "Linux 6.12.117",
        "loongarch",
        "0-1",
        "load unload",
        "enable_virt_at_load=1, with b31e7c24b475",
    ]
    count = len(done.rows)
    assert (
        f"{count - 1} of {count - 1} faults fired, {count} of {count} runs clean, 7 labels reached"
        in texts["p"]
    )
    assert "findings: none" in texts["p"]


def test_what_was_never_reached() -> None:
    """It is there if there is any."""
    done = watched("loongarch", *LOONGARCH, cpus=1)
    assert f"never reached: {len(done.unreached)}" in Reader(page(done)).texts["summary"]
    assert "never reached" not in page(attrs.evolve(done, unreached=()))


def test_a_matrix_without_rows() -> None:
    """There is a page of it, too."""
    read = Reader(page(Matrix((), {}, ())))
    assert read.rows == []
    assert "0 of 0 faults fired, 0 of 0 runs clean, 0 labels reached" in read.texts["p"]


def test_rows_of_two_backends_in_turn() -> None:
    """Rows of one backend stand together, each with its own findings, wherever they came from."""
    first, second = (watched(name, *LOONGARCH, cpus=1) for name in ("loongarch", "riscv"))
    pairs = [one for two in zip_longest(second.rows, first.rows) for one in two if one]
    text = page(Matrix(tuple(pairs), {}, ()))
    data = data_of(text)
    backends = [entry[0] for entry in data["rows"]]
    assert backends == sorted(backends, reverse=True)
    ids = [attributes["id"] for attributes in Reader(text).of("tr") if "id" in attributes]
    assert ids == [f"r{n}" for n in range(len(pairs))]
    bad = [entry for entry in data["rows"] if entry[1] == "misc_register"]
    assert [data["findings"][entry[5][0][0]][2] for entry in bad] == ["debugfs:kvm", "debugfs:kvm"]
    assert all(entry[5][0][1] == 1 for entry in bad)


def test_what_is_found_without_a_fault_too_is_marked() -> None:
    """mips leaves a register of guests at every unload: no fault is to blame for it."""
    done = watched("mips", *LOONGARCH, cpus=1)
    data = data_of(page(done))
    entry = next(entry for entry in data["rows"] if entry[1] == "misc_register")
    marks = {data["findings"][n][0]: own for n, own in entry[5]}
    assert marks["leak"] == 1
    assert marks.get("hardware_state", 0) == 0
    assert 'class="always">hardware_state' in page(done)


def test_the_command_that_shows_it_again() -> None:
    """A row with a finding has the finding's command, any other that of its scenario."""
    done = watched("loongarch", *LOONGARCH, cpus=1)
    data = data_of(page(done))
    commands = {entry[1]: data["strings"][entry[7]] for entry in data["rows"]}
    start = "kvm-ref run --backend loongarch --cpus 1 "
    assert commands["kvm_init"] == start + "--fail kvm_init load unload"
    assert commands["misc_register"].startswith(start + "--fail misc_register load unload load unload")
    assert commands["misc_register"] == row(done, "misc_register").findings[0].command


def test_names_and_messages_are_text_whatever_they_hold() -> None:
    """Markup, quotes, script ends and lone surrogates in any name make no element and no attribute."""
    text = page(hostile())
    assert text.isascii()
    read = Reader(text)
    plain = Reader(page(Matrix(tuple(attrs.evolve(row, seen=None) for row in hostile().rows[:1]), {}, ())))
    assert len(read.of("script")) == len(plain.of("script")) == 2
    assert read.of("img") == []
    assert text.count("</script") == 2
    known = {"class", "id", "title", "scope", "type", "data-n"}
    assert all(set(attributes) <= known for tag in ("tr", "td", "th", "section", "button", "span")
               for attributes in read.of(tag) if "aria-labelledby" not in attributes)  # fmt: skip
    shown = HOSTILE.replace("\ud800", "\ufffd")
    assert [cells[0] for cells in read.rows[1:]] == ["no fault", shown, shown]
    data = data_of(text)
    assert data["rows"][1][1] == shown
    assert data["findings"][0] == [shown] * 6
    assert shown in data["strings"]


def test_json_of_names_is_json_whatever_they_hold() -> None:
    """The matrix's JSON gives back what was put in."""
    again = json.loads(json.dumps(hostile().to_json()))
    assert again["runs"][1]["fault"] == HOSTILE
    assert again["runs"][1]["findings"][0]["message"] == HOSTILE
    assert again["labels"] == {HOSTILE: 1}


def test_nothing_is_fetched() -> None:
    """No element names another resource, and the policy allows the page's own style and program only."""
    text = page(watched("loongarch", *LOONGARCH, cpus=1))
    read = Reader(text)
    assert not {"href", "src", "action", "srcset"} & {
        a for _, attributes in read.elements for a in attributes
    }
    assert "url(" not in text
    assert "@import" not in text
    policy = next(a["content"] for a in read.of("meta") if a.get("http-equiv") == "Content-Security-Policy")
    inside = {tag: re.search(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL) for tag in ("style", "script")}
    hashes = {
        tag: base64.b64encode(hashlib.sha256(found[1].encode()).digest()).decode()
        for tag, found in inside.items()
        if found
    }
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{hashes['style']}'; script-src 'sha256-{hashes['script']}'"
    )


def test_the_same_bytes_each_time(tmp_path: Path) -> None:
    """Neither the order of hashing nor the number of processes makes a difference."""
    args = ("matrix", "--backend", "mips", "--backend", "loongarch", "--cpus", "2", "--format", "html", "-o")
    files = [tmp_path / name for name in ("one", "two", "three")]
    for seed, file, more in zip("123", files, ((), (), ("--jobs", "2")), strict=True):
        assert process(*args, str(file), *more, PYTHONHASHSEED=seed).status == 1
    assert len({file.read_bytes() for file in files}) == 1


def test_the_whole_matrix_is_a_file_that_one_can_send(kvm_ref: Command, tmp_path: Path) -> None:
    """All backends, all faults, all unwinds: less than 6 MB."""
    file = tmp_path / "matrix.html"
    assert kvm_ref("matrix", "--format", "html", "-o", str(file)).out == ""
    assert len(data_of(file.read_text())["rows"]) > 2000
    assert file.stat().st_size < 6_000_000


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_backend_from_elsewhere(tmp_path: Path, jobs: str) -> None:
    """Its faults and resources are there as those of any other."""
    from test_foreign_backend import install

    install(tmp_path, forgets="pass")
    done = process(
        "matrix", "--backend", "toy", "--cpus", "2", "--jobs", jobs, "--format", "html", "load",
        PYTHONPATH=str(tmp_path),
    )  # fmt: skip
    read = Reader(done.out)
    column = read.rows[0].index("kmalloc:toy_buffer")
    found = {cells[0]: cells[column] for cells in read.rows[1:]}
    assert (done.status, done.err) == (1, "")
    assert found["no fault"] == "released"
    assert found["misc_register"] == "leaked"
    assert found["kzalloc"] == "not acquired"

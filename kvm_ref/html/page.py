# SPDX-License-Identifier: GPL-2.0-only
"""The page: a table for each backend, what was found in words, and the program that opens the unwinds.

The tables are there without the program; it filters them and shows the tree of a row.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from importlib.resources import files

import attrs

from kvm_ref.html.columns import Columns
from kvm_ref.html.data import payload, shown_params
from kvm_ref.html.fates import HELD, LEAKED, NOT_ACQUIRED, RELEASED
from kvm_ref.judges import Finding
from kvm_ref.linux.cpumask import format_list
from kvm_ref.matrix import Matrix, Row
from kvm_ref.report import added, explain, kinds, settings, totals
from kvm_ref.scenario import KERNEL
from kvm_ref.text import errno_name

_CLASSES = {RELEASED: "r", LEAKED: "l", HELD: "h", NOT_ACQUIRED: "n"}
_PART = re.compile(r"<!--\{(\w+)\}-->")


@attrs.frozen
class _Section:
    # The rows of one backend, where they begin on the page, their columns, and what their faults add.
    backend: str
    first: int
    rows: list[Row]
    own: list[list[Finding]]
    columns: Columns


def page(done: Matrix) -> str:
    """Return a matrix as one HTML page, in ASCII.

    Its rows show resources and unwinds if the matrix was run with `kvm_ref.html.seen.Watcher`.
    """
    own = added(done)
    sections = _sections(done, own)
    program, style = _read("matrix.js"), _read("matrix.css")
    rows = [row for section in sections for row in section.rows]
    parts = {
        "policy": f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(program)}'",
        "title": escape(f"KVM fault matrix: {', '.join(s.backend for s in sections) or 'no rows'}"),
        "style": style,
        "program": program,
        "ran": "".join(_ran(sections)),
        "total": escape(totals(done, own)),
        "found": "".join(_found(done)),
        "unreached": "".join(_unreached(done)),
        "backends": _options(s.backend for s in sections),
        "params": _options(f"{n}={v}" for row in rows for n, v in shown_params(row).items()),
        "results": _options(errno_name(row.result) for row in rows),
        "labels": _options(sorted({label for row in rows for label in row.gotos})),
        "judges": _options(sorted({f.judge for row in rows for f in row.findings})),
        "tables": "".join(line for section in sections for line in _table(section)),
        "data": payload(
            rows,
            [some for section in sections for some in section.own],
            [section.columns.names for section in sections for _ in section.rows],
        ),
    }
    whole = _PART.sub(lambda part: parts[part[1]], _read("matrix.html"))
    return whole.encode("ascii", "xmlcharrefreplace").decode("ascii")


def _sections(done: Matrix, own: Sequence[list[Finding]]) -> list[_Section]:
    of_one: dict[str, list[tuple[Row, list[Finding]]]] = {}
    for row, some in zip(done.rows, own, strict=True):
        of_one.setdefault(row.scenario.backend, []).append((row, some))
    out: list[_Section] = []
    first = 0
    for backend, pairs in of_one.items():
        rows = [row for row, _ in pairs]
        out.append(_Section(backend, first, rows, [some for _, some in pairs], Columns(rows)))
        first += len(rows)
    return out


def _read(name: str) -> str:
    return files("kvm_ref.html").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    # The browser runs this text only, whatever else may stand on the page.
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _options(values: Iterable[str]) -> str:
    return "".join(f"<option>{escape(value)}</option>" for value in dict.fromkeys(values))


def _ran(sections: Sequence[_Section]) -> Iterator[str]:
    # What was run. The scenarios differ by backend and by parameters that were not given; a scenario
    # in which another hypervisor is the fault has one verb more.
    yield _term("kernel", f"Linux {KERNEL}")
    yield _term("backends", ", ".join(section.backend for section in sections))
    scenarios = [row.scenario for section in sections for row in section.rows if not row.fault]
    cpus = dict.fromkeys(scenario.cpus for scenario in scenarios)
    yield _term("CPUs", "; ".join(format_list(some.online) for some in cpus))
    yield _term("verbs", "; ".join(dict.fromkeys(" ".join(scenario.verbs) for scenario in scenarios)))
    given = dict.fromkeys(filter(None, map(settings, scenarios)))
    if given:
        yield _term("settings", "; ".join(given))


def _term(name: str, text: str) -> str:
    return f"<div><dt>{escape(name)}</dt><dd>{escape(text)}</dd></div>"


def _found(done: Matrix) -> Iterator[str]:
    alike = kinds(done)
    if not alike:
        yield "<p>findings: none</p>"
        return
    runs = sum(bool(row.findings) for row in done.rows)
    yield f"<details><summary>findings: {len(alike)} kinds in {runs} of {len(done.rows)} runs</summary><ol>"
    for some in alike:
        row, first = some[0]
        labels = dict.fromkeys(f.label for _, f in some if f.label)
        always = ", without a fault too" if any(not r.fault for r, _ in some) else ""
        head = f"{row.scenario.backend}, in {len({id(r) for r, _ in some})} runs{always}; the first:"
        text = "\n".join(explain(attrs.evolve(first, label=", ".join(labels))))
        yield f"<li>{escape(head)}<pre>{escape(text)}</pre></li>"
    yield "</ol></details>"


def _unreached(done: Matrix) -> Iterator[str]:
    if done.unreached:
        names = "\n".join(done.unreached)
        yield f"<details><summary>never reached: {len(done.unreached)}</summary><pre>{escape(names)}</pre></details>"


def _table(section: _Section) -> Iterator[str]:
    columns = section.columns
    params = list(dict.fromkeys(name for row in section.rows for name in row.params))
    yield '<section class="backend"><table>'
    yield f"<caption>{escape(section.backend)} <span>{len(section.rows)} runs</span></caption>"
    yield '<colgroup><col class="fault">' + '<col class="param">' * len(params)
    yield '<col class="result"><col class="labels"><col class="retry"><col class="found">'
    yield '<col class="fate">' * len(columns.names) + "</colgroup>"
    yield f'<thead><tr><th scope="col">fault on {escape(section.backend)}</th>'
    yield "".join(_upright(name, "") for name in params)
    for name in ("result", "labels", "retry", "found"):
        yield f'<th scope="col" class="{name}">{name}</th>'
    for name in columns.names:
        kind, _, which = name.partition(":")
        many = f"{which} \N{MULTIPLICATION SIGN}{columns.most[name]}" if columns.most[name] > 1 else which
        yield _upright(many, kind)
    yield "</tr></thead><tbody>\n"
    for number, (row, some) in enumerate(zip(section.rows, section.own, strict=True), section.first):
        yield "".join(_row(number, row, some, params, columns))
    yield "</tbody></table></section>\n"


def _upright(name: str, kind: str) -> str:
    above = f"<small>{escape(kind)}:</small>" if kind else ""
    full = escape(f"{kind}:{name}" if kind else name)
    return f'<th scope="col" class="up" title="{full}"><span>{above}{escape(name)}</span></th>'


def _row(
    number: int, row: Row, own: Sequence[Finding], params: Sequence[str], columns: Columns
) -> Iterator[str]:
    yield f'<tr id="r{number}"><th scope="row"><button type="button">{escape(row.fault or "no fault")}</button>'
    given = shown_params(row)
    for name in params:
        yield f"<td>{escape(given.get(name, ''))}"
    yield f'<td class="result">{escape(errno_name(row.result))}'
    labels = list(dict.fromkeys(row.gotos))
    full = f' title="{escape(" → ".join(labels))}"' if labels else ""
    yield f'<td class="labels"{full}>{escape(" → ".join(label.rpartition(":")[2] for label in labels))}'
    bad = [errno_name(result) for result in row.retry if result != 0]
    gave = escape(", ".join(bad) or ("ok" if row.retry else ""))
    yield f'<td class="retry" title="{gave}">{gave}'
    yield f'<td class="found">{_chips(row, own)}'
    for cell in columns.cells(row):
        count = f' data-n="{cell.count}"' if cell.count else ""
        yield f"<td class={_CLASSES[cell.fate]}{count}>{cell.words}"
    yield "</tr>\n"


def _chips(row: Row, own: Sequence[Finding]) -> str:
    mine = {id(f) for f in own}
    chips: dict[tuple[str, str], bool] = {}
    for finding in row.findings:
        chip = (finding.judge, finding.commit[:7])
        chips[chip] = chips.get(chip, False) or id(finding) in mine
    words = []
    for chip, new in chips.items():
        always = "" if new else ' class="always"'
        words.append(f"<span{always}>{escape(' '.join(filter(None, chip)))}</span>")
    if row.idle:
        words.append("<span>never fired</span>")
    return " ".join(words)

# SPDX-License-Identifier: GPL-2.0-only
"""The page in a real Chromium without a window: filters, keyboard, colours, paper, many rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from command_line import process
from page.chromium import address, browser
from page.rows import HOSTILE, hostile, many, watched

from kvm_ref.html.page import page

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ARGS = (
    "matrix",
    "--backend",
    "loongarch",
    "--backend",
    "mips",
    "--backend",
    "x86-svm",
    "--cpus",
    "2",
    "load",
    "unload",
)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser for all tests."""
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """Return a page that the command wrote, and the runs of the same matrix as JSON."""
    file = tmp_path_factory.mktemp("page") / "matrix.html"
    assert process(*ARGS, "--format", "html", "-o", str(file)).err == ""
    return file, process(*ARGS, "--format", "json").json["runs"]


@contextmanager
def opened(chromium: Browser, file: Path, **options: Any) -> Iterator[Page]:
    """Open a page; whatever it says on the console, or asks the network for, is an error."""
    context = chromium.new_context(viewport={"width": 1400, "height": 900}, **options)
    context.set_default_timeout(60_000)
    shown = context.new_page()
    said: list[str] = []
    shown.on("console", lambda message: said.append(message.text))
    shown.on("pageerror", lambda error: said.append(str(error)))
    shown.on("request", lambda request: said.append(request.url))
    shown.goto(address(file))
    yield shown
    assert said == [address(file)]
    context.close()


def count(shown: Page) -> int:
    """Return how many rows are in sight, and check that the page says so."""
    shown.wait_for_selector("#tables[aria-busy=false]", state="attached")
    seen = shown.locator("tbody tr:not([hidden])").count()
    assert shown.inner_text("#count").startswith(f"{seen} of ")
    return seen


def test_filters(chromium: Browser, matrix: tuple[Path, list[dict[str, Any]]]) -> None:
    """Each filter leaves the rows that the matrix's JSON says, and so do several at once."""
    file, runs = matrix

    def having(**wanted: Any) -> int:
        return sum(all(check(run) for check in wanted.values()) for run in runs)

    with opened(chromium, file) as shown:
        assert count(shown) == len(runs)
        for name, choice, check in (
            ("backend", "loongarch", lambda run: run["backend"] == "loongarch"),
            ("param", "enable_virt_at_load=0", lambda run: run["params"]["enable_virt_at_load"] is False),
            ("result", "-EBUSY", lambda run: run["result"] == -16),
            ("label", "kvm_init:err_virt", lambda run: "kvm_init:err_virt" in run["gotos"]),
            ("label", "-", lambda run: not run["gotos"]),
            ("finding", "leak", lambda run: any(f["judge"] == "leak" for f in run["findings"])),
            ("finding", "-", lambda run: not run["findings"]),
        ):
            shown.select_option(f"[name={name}]", choice)
            assert 0 < count(shown) == having(check=check) < len(runs), (name, choice)
            shown.select_option(f"[name={name}]", "")
        shown.fill("[name=text]", "MISC_reg  err_register")
        shown.select_option("[name=backend]", "loongarch")
        # misc_register(), and what fails in it: that goes through its own label, out, first.
        assert count(shown) == 6
        assert shown.inner_text("caption:visible") == "loongarch 6 runs"
        shown.fill("[name=text]", "no such thing")
        assert count(shown) == 0
        shown.click("button[type=reset]")
        shown.wait_for_selector("tbody tr[hidden]", state="detached")
        assert count(shown) == len(runs)
        # What is found without a fault too is no fault's.
        shown.select_option("[name=finding]", "+")
        assert 0 < count(shown) < having(check=lambda run: run["findings"])


def focused(shown: Page) -> str:
    """Return what the keyboard is at."""
    return str(
        shown.evaluate(
            "document.activeElement.getAttribute('aria-label') || document.activeElement.textContent"
        )
    )


def test_keyboard(chromium: Browser, matrix: tuple[Path, list[dict[str, Any]]]) -> None:
    """Tab comes to the table once; arrows go from row to row; Enter opens the unwind, Escape closes it."""
    with opened(chromium, matrix[0]) as shown:
        shown.focus("button[type=reset]")
        shown.keyboard.press("Tab")
        assert focused(shown) == "no fault"
        for key, at in (
            ("ArrowDown", "kvm_loongarch_init"), ("ArrowUp", "no fault"), ("ArrowUp", "no fault"),
            ("End", "foreign-on=1"), ("Home", "no fault"), ("PageDown", "kvm_online_cpu@0"),
        ):  # fmt: skip
            shown.keyboard.press(key)
            assert focused(shown) == at
        shown.fill("[name=text]", "misc_register")
        shown.focus("button[type=reset]")
        shown.keyboard.press("Tab")
        assert focused(shown) == "misc_register"
        assert shown.is_hidden("#panel")
        shown.keyboard.press("Enter")
        assert shown.is_visible("#panel")
        assert shown.inner_text("#panel-title") == "loongarch, enable_virt_at_load=1, misc_register: -EBUSY"
        # In the tree arrows go up, down, out and in; what is closed is not there.
        for key, at in (
            ("", "injected: misc_register fails -EBUSY, CPU 0, modprobe"),
            ("ArrowDown", "goto err_register;  -EBUSY, CPU 0, modprobe"),
            ("ArrowDown", "kvm_uninit_virtualization(), CPU 0, modprobe"),
            ("ArrowRight", "kvm_uninit_virtualization(), CPU 0, modprobe"),
            ("ArrowRight", "kvm_disable_virtualization(), CPU 0, modprobe"),
            ("ArrowLeft", "kvm_uninit_virtualization(), CPU 0, modprobe"),
            ("ArrowLeft", "kvm_uninit_virtualization(), CPU 0, modprobe"),
            ("ArrowDown", "free_cpumask_var(cpumask), releases cpumask:cpumask, CPU 0, modprobe"),
            ("ArrowLeft", "kvm_init() = -EBUSY, CPU 0, modprobe"),
            ("Home", "load: -EBUSY"),
            ("Enter", "load: -EBUSY"),
            ("ArrowDown", "unload: -ENOENT"),
            ("End", "unload: 0"),
            ("*", "unload: 0"),
            ("ArrowRight", "kvm_loongarch_exit(), CPU 0, rmmod"),
            ("ArrowUp", "unload: 0"),
        ):  # fmt: skip
            if key:
                shown.keyboard.press(key)
            assert focused(shown) == at
        shown.keyboard.press("Escape")
        assert shown.is_hidden("#panel")
        assert focused(shown) == "misc_register"


def test_a_click_opens_the_unwind(chromium: Browser, matrix: tuple[Path, list[dict[str, Any]]]) -> None:
    """The panel says what was found, what became of each resource, and how to run it again."""
    with opened(chromium, matrix[0]) as shown:
        shown.context.grant_permissions(["clipboard-read", "clipboard-write"])
        shown.select_option("[name=backend]", "x86-svm")
        shown.fill("[name=text]", "misc_register")
        shown.click("tbody tr:not([hidden]) >> nth=0 >> td.result")
        words = shown.inner_text("#words")
        assert "leak: debugfs:kvm is still held after load failed with -EBUSY" in words
        assert "kvm_init:err_register" in words
        assert "b31e7c24b475" in words
        assert "leaked: debugfs:kvm" in words
        shown.click("#words .copy")
        shown.wait_for_selector("text=copied")
        command = shown.evaluate("navigator.clipboard.readText()")
        assert command.startswith(
            "kvm-ref run --backend x86-svm --cpus 2 --param enable_virt_at_load=1 --fail misc_register"
        )
        # What failed is marked.
        assert set(shown.locator("#unwind .bad").all_inner_texts()) == {
            ": -EBUSY",
            " = -EBUSY",
            "  -EBUSY",
            ": -ENOENT",
        }
        # Each click on a node opens or closes it; "expand all" leaves nothing closed.
        before = shown.locator("[role=treeitem]:visible").count()
        shown.click(".node:has-text('kvm_irqfd_exit()') >> nth=0")
        assert shown.locator("[role=treeitem]:visible").count() > before
        shown.click(".node:has-text('kvm_irqfd_exit()') >> nth=0")
        assert shown.locator("[role=treeitem]:visible").count() == before
        shown.click("#expand")
        assert shown.locator("[aria-expanded=false]:visible").count() == 0
        shown.click("#close")
        assert shown.is_hidden("#panel")
        # So is a pointer that bears an error.
        shown.fill("[name=text]", "debugfs_create_dir")
        shown.click("tbody tr:not([hidden]) >> nth=0")
        # Who makes a file in it hands it on.
        assert shown.locator("#unwind .bad").all_inner_texts() == [" = ERR_PTR(-12)"] * 3


# How far the colour of each text is from what is behind it, by the formula of WCAG 2; the least first.
CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const known = new Map();
  const channels = (colour) => {
    if (!known.has(colour)) {
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = colour;
      canvas.fillRect(0, 0, 1, 1);
      known.set(colour, [...canvas.getImageData(0, 0, 1, 1).data]);
    }
    return known.get(colour);
  };
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, n) => sum + c * [0.2126, 0.7152, 0.0722][n], 0);
  const behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = getComputedStyle(e).backgroundColor;
      if (channels(colour)[3] === 255) return colour;
    }
    return "white";
  };
  const out = new Map();
  const look = (element, style, what) => {
    const [a, b] = [light(channels(style.color)), light(channels(behind(element)))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const name = what + " " + element.tagName + "." + element.className;
    out.set(name, Math.min(ratio, out.get(name) || ratio));
  };
  for (const element of document.querySelectorAll("body *")) {
    if (!element.checkVisibility() || element.closest("option, script")) continue;
    const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
    const style = getComputedStyle(element);
    if (own && style.fontSize !== "0px") look(element, style, "");
    const before = getComputedStyle(element, "::before");
    if (before.content !== "none" && before.content.trim() !== '"  "') look(element, before, "before");
  }
  return [...out].sort((x, y) => x[1] - y[1]);
}"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours(chromium: Browser, matrix: tuple[Path, list[dict[str, Any]]], theme: str) -> None:
    """The system's theme is followed, can be changed, and all that is written can be read in it."""
    other = {"light": "dark", "dark": "light"}[theme]
    backgrounds = []
    for system, chosen in ((theme, ""), (other, theme)):
        with opened(chromium, matrix[0], color_scheme=system) as shown:
            shown.select_option("#theme", chosen)
            shown.fill("[name=text]", "misc_register")
            shown.click("summary >> nth=0")
            shown.click("tbody tr:not([hidden]) >> nth=3")
            backgrounds.append(shown.evaluate("getComputedStyle(document.body).backgroundColor"))
            told = shown.evaluate(CONTRAST)
            assert len(told) > 25
            assert told[0][1] >= 4.5, told[:5]
    assert (
        backgrounds[0] == backgrounds[1] == {"light": "rgb(255, 255, 255)", "dark": "rgb(21, 24, 28)"}[theme]
    )


def test_a_cell_has_a_sign_besides_its_colour(
    chromium: Browser, matrix: tuple[Path, list[dict[str, Any]]]
) -> None:
    """Each fate has a sign of its own, and a word for those who cannot see it."""
    with opened(chromium, matrix[0]) as shown:
        signs = {
            fate: shown.evaluate(
                "(kind) => getComputedStyle(document.querySelector('.legend i.' + kind), '::before').content",
                kind,
            )
            for fate, kind in (("released", "r"), ("leaked", "l"), ("not acquired", "n"), ("held", "h"))
        }
        assert len(set(signs.values())) == 4
        assert "none" not in signs.values()
        shown.fill("[name=text]", "misc_register")
        row = shown.locator("tbody tr:not([hidden])").first
        assert row.get_by_role("cell", name="leaked", exact=True).count() == 1
        assert row.get_by_role("rowheader", name="misc_register").count() == 1


def place(shown: Page, what: str) -> dict[str, float]:
    """Return where something stands on the screen."""
    box = shown.locator(what).bounding_box()
    assert box
    return {"y": box["y"], "height": box["height"]}


@pytest.mark.parametrize(("width", "height"), [(360, 740), (640, 400)], ids=["telephone", "twice as large"])
def test_little_room(
    chromium: Browser, matrix: tuple[Path, list[dict[str, Any]]], width: int, height: int
) -> None:
    """On a small screen, or with all twice as large, rows and an unwind can be read: each has half of the screen."""
    with opened(chromium, matrix[0]) as shown:
        shown.set_viewport_size({"width": width, "height": height})
        shown.locator("#tables").evaluate("tables => tables.scrollIntoView()")
        table = place(shown, "#tables")
        assert min(table["y"] + table["height"], height) - max(table["y"], 0) >= height / 2
        shown.locator("tbody th button").nth(1).focus()
        shown.keyboard.press("Enter")
        panel = place(shown, "#panel")
        assert panel["height"] >= height / 2
        assert panel["y"] + panel["height"] <= height + 1
        # The row whose unwind it is stays in sight above it.
        row = place(shown, "tr[aria-current]")
        assert 0 <= row["y"] <= panel["y"] - row["height"]
        # Nothing makes the page wider than the screen.
        assert shown.evaluate("document.documentElement.scrollWidth") == width
        shown.keyboard.press("Escape")
        assert focused(shown) == "kvm_loongarch_init"


def test_paper(chromium: Browser, matrix: tuple[Path, list[dict[str, Any]]]) -> None:
    """In print there are no controls and no dark ground; every row is there, and nothing scrolls."""
    with opened(chromium, matrix[0], color_scheme="dark") as shown:
        shown.select_option("#theme", "dark")
        shown.click("tbody tr >> nth=5")
        shown.emulate_media(media="print")
        assert shown.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        for control in (
            "#filters select",
            "#filters input",
            "#filters button",
            "#theme",
            "#close",
            "#expand",
            ".copy",
        ):
            assert shown.locator(f"{control}:visible").count() == 0, control
        assert shown.locator("tbody tr:visible").count() == len(matrix[1])
        assert shown.is_visible("#unwind")
        for part in ("#tables", "#unwind", "#words"):
            inner = shown.evaluate(
                "(s) => { const e = document.querySelector(s); return e.scrollHeight - e.clientHeight }", part
            )
            assert inner == 0, part
        widest = shown.evaluate(
            "Math.max(...[...document.querySelectorAll('table')].map((t) => t.offsetWidth))"
        )
        # A4 across, 297 mm, without its margins of 10 mm, at 96 dots an inch.
        assert widest <= 277 / 25.4 * 96
        assert len(shown.pdf(prefer_css_page_size=True)) > 10_000


def test_without_its_program(chromium: Browser, matrix: tuple[Path, list[dict[str, Any]]]) -> None:
    """Without JavaScript the tables are there, and a note says what is not."""
    with opened(chromium, matrix[0], java_script_enabled=False) as shown:
        assert shown.locator("tbody tr:visible").count() == len(matrix[1])
        assert shown.locator("#filters:visible").count() == 0
        assert "With JavaScript" in shown.inner_text("noscript")


def test_hostile_names(chromium: Browser, tmp_path: Path) -> None:
    """Names that look like markup are shown as they are, in the table and in the panel, and do nothing."""
    file = tmp_path / "hostile.html"
    file.write_text(page(hostile()))
    said = HOSTILE.replace("\ud800", "\ufffd")
    with opened(chromium, file) as shown:
        shown.click("tbody tr >> nth=1")
        assert shown.text_content("tbody tr >> nth=1 >> button") == said
        assert said in (shown.text_content("#words .finding p") or "").replace("\ud800", "\ufffd")
        assert shown.locator("script").count() == 2
        assert shown.locator("img").count() == 0
        assert shown.evaluate("window.broken") is None
        shown.select_option("[name=backend]", said)
        shown.fill("[name=text]", "onerror=window.broken")
        shown.click("tbody tr:not([hidden]) >> nth=1")
        assert "The fault never fired" in shown.inner_text("#words")


def test_four_thousand_rows(chromium: Browser, tmp_path: Path) -> None:
    """The page of 4096 rows opens, filters, and shows the last of them."""
    file = tmp_path / "many.html"
    whole = many(watched("loongarch", "load", "unload"), 4096)
    file.write_text(page(whole))
    with opened(chromium, file) as shown:
        assert count(shown) == 4096
        shown.select_option("[name=finding]", "leak")
        leaks = [n for n, row in enumerate(whole.rows) if any(f.judge == "leak" for f in row.findings)]
        assert count(shown) == len(leaks)
        shown.focus("button[type=reset]")
        shown.keyboard.press("Tab")
        shown.keyboard.press("End")
        shown.keyboard.press("Enter")
        assert whole.rows[leaks[-1]].fault in shown.inner_text("#panel-title")
        assert (
            json.loads(shown.evaluate("JSON.stringify(document.querySelectorAll('tbody tr').length)")) == 4096
        )

# SPDX-License-Identifier: GPL-2.0-only
"""The documentation builds without a warning, and its pages hold what they promise."""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from configparser import ConfigParser
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from test_examples import EXAMPLES, PAGES
from tree import kernel_source

from kvm_ref import backend as backends
from kvm_ref.cli import parser
from kvm_ref.vocabulary import Vocabulary

TOP = Path(__file__).parent.parent
DOCS = TOP / "docs"
# Where a page may load something from, and how.
LOADING = {("script", "src"), ("img", "src"), ("iframe", "src"), ("link", "href"), ("object", "data")}

# The functions with labels, and some without, of the kernel's text, counted in 6.12.117: labels in source order.
LADDERS = """\
kvm_init: err_register err_virt err_vfio err_async_pf err_irqfd err_cpu_kick_mask
kvm_exit:
kvm_enable_virtualization: err_rebooting err_cpuhp
kvm_disable_virtualization:
kvm_create_vm: out_err out_err_no_debugfs out_no_coalesced_mmio out_err_no_mmu_notifier out_err_no_disable \
out_err_no_arch_destroy_vm out_err_no_irq_routing out_err_no_irq_srcu out_err_no_srcu
kvm_destroy_vm:
kvm_dev_ioctl_create_vm: put_kvm put_fd
kvm_create_vm_debugfs: out_err
kvm_x86_vendor_init: out_unwind_ops out_mmu_exit out_free_percpu out_free_x86_emulator_cache
kvm_arch_init_vm: out_uninit_mmu out_cleanup_page_track out
kvm_mmu_vendor_module_init: out_shrinker out
vmx_init: err_kvm_init err_l1d_flush
vmx_hardware_setup:
alloc_kvm_area:
nested_vmx_hardware_setup:
vmx_enable_virtualization_cpu:
kvm_cpu_vmxon: fault
svm_init: err_kvm_init
svm_hardware_setup: err
svm_cpu_init: free_save_area
svm_enable_virtualization_cpu:
kvm_arm_init: out_subs out_hyp out_err
init_hyp_mode: out_err
init_subsystems: out
kvm_hyp_init_protection:
kvm_vgic_hyp_init:
kvm_timer_hyp_init: out_free_ptimer_irq out_free_vtimer_irq
riscv_kvm_init:
kvm_riscv_aia_init:
aia_hgei_init:
kvm_loongarch_init:
kvm_loongarch_env_init:
kvm_mips_init:
kvm_mips_emulation_init:
kvm_vz_enable_virtualization_cpu:
kvm_s390_init:
__kvm_s390_init: err_gib err_pci err_flic err_debug_view err_kvm_uv
__cpuhp_setup_state_cpuslocked: out
__cpuhp_remove_state_cpuslocked: remove
_cpu_up: out
_cpu_down: out
syscore_suspend: err_out
misc_register: out
"""


class Page(HTMLParser):
    """What a built page holds: anchors, links, what it loads, texts of drawings, and rows of tables."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.drawings: list[list[str]] = []
        self.rows: list[list[str]] = []
        self._open: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self._open.append(tag)
        self.ids.add(given.get("id", ""))
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        self.loads += [given[name] for of, name in LOADING if of == tag and name in given]
        if tag == "svg":
            self.drawings.append([])
        elif tag == "tr":
            self.rows.append([])
        elif tag == "td":
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        while tag in self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if "svg" in self._open and data.strip():
            self.drawings[-1].append(data.strip())
        if "td" in self._open:
            self.rows[-1][-1] += data


def unmeasured() -> dict[str, str]:
    # What runs here is measured by tests of its own; coverage would make the build take minutes.
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_PROCESS_")}


def sphinx(source: Path, out: Path, **env: str) -> subprocess.CompletedProcess[str]:
    if importlib.util.find_spec("sphinx") is None:
        missing = "no Sphinx: pip install '.[docs]'"
        pytest.fail(missing, pytrace=False) if kernel_source.strict() else pytest.skip(missing)
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "sphinx",
            "-n",
            "-W",
            "--keep-going",
            "-d",
            out / "doctrees",
            source,
            out / "html",
        ],
        env={**unmeasured(), **env},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the documentation; return the folder of its pages."""
    out = tmp_path_factory.mktemp("docs")
    done = sphinx(DOCS, out)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return out / "html"


@pytest.fixture(scope="module")
def pages(built: Path) -> dict[Path, Page]:
    """Return all built pages by their paths."""
    return {path: Page(path) for path in sorted(built.glob("**/*.html"))}


def test_every_page_is_there(pages: dict[Path, Page], built: Path) -> None:
    """Each Markdown file of the folder is a page; Sphinx has warned of any that is in no toctree."""
    sources = [p.relative_to(DOCS) for p in DOCS.glob("**/*.md")]
    expected = {p.with_suffix(".html") for p in sources if not p.parts[0].startswith("example")}
    assert len(expected) >= 20
    assert expected <= {path.relative_to(built) for path in pages}


@pytest.mark.parametrize(
    "function", ["kvm_init", "kvm_enable_virtualization", "kvm_create_vm", "svm_init", "kvm_x86_vendor_init"]
)
def test_ladders_are_drawn(pages: dict[Path, Page], built: Path, function: str) -> None:
    """A drawing on the page of the way up has the labels of the C, from top to bottom."""
    labels = dict(line.split(":") for line in LADDERS.splitlines())[function].split()
    page = pages[built / "explanation/up-and-down.html"]
    found = [[re.sub(r":$", "", text) for text in drawing] for drawing in page.drawings]
    assert labels in [[text for text in drawing if text in labels] for drawing in found]


def test_the_support_table_has_the_ladders(pages: dict[Path, Page], built: Path) -> None:
    """Each of these functions is there with its labels, and all that its model does is in the C text."""
    kernel_source.kernel_tree()
    rows = {(row[0].split()[0], row[2]): row for row in pages[built / "reference/support.html"].rows if row}
    for line in LADDERS.splitlines():
        name, labels = line.split(":")
        row = rows[name, ", ".join(labels.split())]
        walked = re.fullmatch(r"C walked: (\d+) of (\d+)", row[4])
        assert walked, row
        assert int(walked[1]) == int(walked[2]) > 0, row


def test_the_support_table_has_every_function(pages: dict[Path, Page], built: Path) -> None:
    """A row for each function of each backend's vocabulary, and no more."""
    facts = {facts for name in backends.available() for facts in Vocabulary.of(backends.load(name)).values()}
    rows = [row for row in pages[built / "reference/support.html"].rows if row]
    assert Counter(row[0].split()[0] for row in rows) == Counter(one.name for one in facts)
    assert len(rows) > 500


def test_the_support_table_has_real_kernels(pages: dict[Path, Page], built: Path) -> None:
    """What a real kernel's trace has a call of is marked, and what no x86 kernel has is not."""
    rows = {row[0].split()[0]: row for row in pages[built / "reference/support.html"].rows if row}
    assert rows["kvm_enable_virtualization"][5].startswith("in ")
    assert rows["svm_enable_virtualization_cpu"][5].startswith("in ")
    # Inlined in the kernel that was traced (tests/data/README.md).
    assert rows["kvm_init_debug"][5] == ""
    assert rows["riscv_kvm_init"][5] == ""


def test_links_lead_somewhere(pages: dict[Path, Page]) -> None:
    """Each link within the documentation has its page, and the place in it."""
    dead = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            known = pages.get(target)
            # Furo's search page and the sources of modules are not among those that are checked for places.
            if not target.is_file() or (parts.fragment and known and parts.fragment not in known.ids):
                dead.append((path.name, link))
    assert dead == []
    assert sum(len(page.links) for page in pages.values()) > 500


def test_nothing_is_loaded_from_elsewhere(pages: dict[Path, Page], built: Path) -> None:
    """Pages and style sheets name no other host for what a browser loads by itself."""
    loads = [(path.name, load) for path, page in pages.items() for load in page.loads]
    assert len(loads) > 50
    assert [x for x in loads if re.match(r"(https?:)?//", x[1])] == []
    for sheet in built.glob("**/*.css"):
        text = sheet.read_text(encoding="utf-8")
        assert not re.search(r"""(url\(|@import)\s*["']?(https?:)?//""", text), sheet


def small(folder: Path) -> Path:
    # A documentation that consists of the support table.
    (folder / "conf.py").write_text(
        f"import sys\nsys.path[:0] = [{str(DOCS / 'extensions')!r}, {str(TOP / 'tests')!r}]\n"
        "extensions = ['myst_parser', 'support']\n"
    )
    (folder / "index.md").write_text("# Table\n\n```{support}\n```\n")
    return folder


@pytest.mark.parametrize("strict", ["", "1"])
def test_without_a_kernel_text(tmp_path: Path, strict: str) -> None:
    """A user is told how to get it, and the column says that it was not checked; in CI it is a failure."""
    source = tmp_path / "source"
    source.mkdir()
    nowhere = str(tmp_path / "nowhere")
    env = {"KVM_REF_KERNEL_SOURCE_6_12": nowhere, "CI": strict, "KVM_REF_NO_SKIP": ""}
    done = sphinx(small(source), tmp_path, **env)
    assert done.returncode == int(bool(strict))
    assert f"no text of Linux 6.12 in {nowhere}: run tools/kernel-source 6.12" in done.stdout + done.stderr
    rows = [row for row in Page(tmp_path / "html/index.html").rows if row]
    assert {row[4] for row in rows} == {"not checked here"}


FENCE = re.compile(r"^(?P<indent>[ >]*)(?:```+|:::+)(?P<kind>\S*)", re.MULTILINE)
# What the README says first is what CI runs: the tests, and the matrix from a clone.
SCRIPTS = {"./tools/kvm-ref matrix", "./tools/check"}
# Blocks that are no commands and no Python.
DATA = {"", "c", "diff", "ini", "json", "text", "toml", "yaml"}


def runs(block: str) -> bool:
    # Whether some Python is part of a file that a page's command runs.
    return any(block in path.read_text(encoding="utf-8") for path in DOCS.glob("example*/**/*.py"))


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(TOP)))
def test_no_command_goes_untested(page: Path) -> None:
    """Commands and Python stand only where tests look for them; other blocks hold data, or are made by Sphinx."""
    text = page.read_text(encoding="utf-8")
    fences = [*FENCE.finditer(text)]
    assert len(fences) % 2 == 0
    for begin, end in zip(fences[::2], fences[1::2], strict=True):
        kind = begin["kind"]
        block = text[begin.end() + 1 : end.start()]
        assert not begin["indent"], f"{block}: tests do not look into indented blocks"
        if kind == "sh":
            assert {line.partition("#")[0].strip() for line in block.splitlines()} <= SCRIPTS
        elif kind == "python":
            assert runs(block), block
        else:
            assert kind in DATA | {"console", "pycon"} or kind.startswith("{"), block
        if kind in DATA:
            assert not re.search(r"^(\$|>>>) ", block, re.MULTILINE), block
    # An indented block is code as well.
    assert not re.search(r"\n\n {4,}(\$|>>>|kvm-ref) ", text)


def test_every_example_file_runs() -> None:
    """What a page shows of docs/examples is run by a command of a page."""
    commands = " ".join(command for _, _, command, _ in EXAMPLES)
    files = list((DOCS / "examples").glob("**/*.py"))
    assert len(files) >= 3
    for path in files:
        shown = path.relative_to(TOP)
        assert str(shown) in commands or f"PYTHONPATH={shown.parent} " in commands


def test_the_toy_is_found_as_pip_would_have_it() -> None:
    """The metadata that is ready in the folder says what pip makes of pyproject.toml."""
    folder = DOCS / "examples/toy-kvm"
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    ready = ConfigParser()
    ready.read(folder / f"toy_kvm-{project['version']}.dist-info/entry_points.txt")
    assert {group: dict(ready[group]) for group in ready.sections()} == project["entry-points"]


def helped() -> list[str]:
    """Return the examples of all --help texts, which the page of the command line shows."""
    texts = [top.format_help() for top in parsers(parser())]
    return [line.strip() for text in texts for line in text.splitlines() if line.startswith("  kvm-ref ")]


def parsers(top: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield top
    for action in top._actions:
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                yield from parsers(sub)


@pytest.mark.parametrize("line", helped())
def test_the_examples_of_help_run(line: str, tmp_path: Path) -> None:
    """Each makes sense to the program: it ends with status 0, or 1 for a finding, and without a complaint."""
    command = re.split(r" {2,}", line)[0]
    if re.search(r"~/linux|\.c\b", command):
        tree = kernel_source.kernel_tree()
        command = command.replace("~/linux", str(tree))
        # A driver of one's own is any file with a function that acquires something.
        command = command.replace("drivers/net/ethernet/me/main.c --function me_probe", "drivers/char/misc.c")
        command = re.sub(r"(?<= )((drivers|virt)/\S+\.c)", rf"{tree}/\1", command)
    if command.startswith("kvm-ref compare"):
        for name in re.findall(r"[\w-]+\.json", command):
            shutil.copy(TOP / "tests/data/load_default.json", tmp_path / name)
    (tmp_path / "me.pairs").write_text("pci_enable_device pci_disable_device -ENODEV\n")
    before = set(tmp_path.iterdir())
    done = subprocess.run(
        command,
        shell=True,
        cwd=tmp_path,
        env={**unmeasured(), "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
        executable="/bin/bash",
    )
    assert done.returncode in (0, 1), done.stderr
    assert done.stdout or set(tmp_path.iterdir()) - before
    assert not re.search(r"^kvm-ref: |Traceback", done.stderr, re.MULTILINE), done.stderr

# SPDX-License-Identifier: GPL-2.0-only
"""``kvm-ref tree`` as its users meet it: what it prints, its status, and what it says of bad input."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from command_line import Command
from tree.kernel_source import kernel_tree

# A driver's probe function: of three labels one forgets the clock, and one jumps too low.
DRIVER = """\
struct it { void *clock, *buffer; };

int probe(struct it *it)
{
	int err;

	it->buffer = kzalloc(64, GFP_KERNEL);
	if (!it->buffer)
		return -ENOMEM;
	it->clock = clk_get(it);
	if (IS_ERR(it->clock)) {
		err = PTR_ERR(it->clock);
		goto free_buffer;
	}
	err = misc_register(&device);
	if (err)
		goto free_buffer;
	err = start(it);
	if (err)
		goto deregister;
	return 0;

deregister:
	misc_deregister(&device);
	clk_put(it->clock);
free_buffer:
	kfree(it->buffer);
	return err;
}
"""
PAIRS = "# acquires releases failure\nclk_get clk_put ERR_PTR(-ENOENT)\n"


@pytest.fixture
def driver(tmp_path: Path) -> Path:
    path = tmp_path / "driver.c"
    path.write_text(DRIVER)
    (tmp_path / "driver.pairs").write_text(PAIRS)
    return path


@pytest.fixture(scope="module")
def linux() -> str:
    return str(kernel_tree())


def test_audit_finds_the_forgotten_clock(kvm_ref: Command, driver: Path) -> None:
    """A pair of the user's own is looked at: the way from the call that acquired to the return."""
    done = kvm_ref("tree", "audit", str(driver), "--pairs", str(driver.with_suffix(".pairs")))
    assert done.status == 1
    assert done.lines == [
        f"{driver}:3: probe(): 5 ways, 3 calls failed",
        "",
        f"{driver}:17: leak: clk_get driver.c:10 is still held when probe() fails, through free_buffer",
        "    when misc_register fails",
        f"    {driver}:10: clk_get() acquires it",
        f"    {driver}:15: misc_register() fails with -EBUSY",
        f"    {driver}:17: goto free_buffer",
        f"    {driver}:28: probe() returns -EBUSY",
        "",
        "1 functions, 1 findings",
    ]


def test_audit_without_the_pair_finds_nothing(kvm_ref: Command, driver: Path) -> None:
    """What the vocabulary does not know is not looked at: status 0."""
    done = kvm_ref("tree", "audit", str(driver))
    assert (done.status, done.lines[-1]) == (0, "1 functions, 0 findings")


def test_audit_as_sarif(kvm_ref: Command, driver: Path) -> None:
    """SARIF 2.1.0 with a rule's name, the line, and the path as a code flow."""
    pairs = str(driver.with_suffix(".pairs"))
    log = kvm_ref("tree", "audit", str(driver), "--pairs", pairs, "--format", "sarif").json
    (run,) = log["runs"]
    (result,) = run["results"]
    assert log["version"] == "2.1.0"
    assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"] == "leak"
    place = result["locations"][0]["physicalLocation"]
    assert (place["artifactLocation"]["uri"], place["region"]["startLine"]) == (str(driver), 17)
    flow = result["codeFlows"][0]["threadFlows"][0]["locations"]
    assert [step["location"]["physicalLocation"]["region"]["startLine"] for step in flow] == [10, 15, 17, 28]


def test_audit_as_json(kvm_ref: Command, driver: Path) -> None:
    """JSON holds each function, how much of it was walked, and what is wrong."""
    done = kvm_ref("tree", "audit", str(driver), "--function", "probe", "--format", "json").json
    assert done["format"] == "kvm-ref-audit/1"
    assert [(one["name"], one["ways"], one["defects"]) for one in done["functions"]] == [("probe", 5, [])]


def test_a_function_that_cannot_be_read_is_an_error(kvm_ref: Command, tmp_path: Path) -> None:
    """A function that the grammar does not take never passes."""
    path = tmp_path / "bad.c"
    path.write_text(
        "int probe(void)\n{\n\tvoid *p = kzalloc(1, 2);\n\tif (p { return 0; }\n\treturn ) 1;\n}\n"
    )
    done = kvm_ref("tree", "audit", str(path), "--function", "probe")
    assert done.status == 1
    assert done.lines[0].startswith(f"{path}:4: cannot read probe()")


def test_sarif_of_a_function_that_cannot_be_read(kvm_ref: Command, tmp_path: Path) -> None:
    """SARIF says that the run did not succeed, and names files as URIs are written."""
    path = tmp_path / "a #%.c"
    path.write_text(DRIVER + "\nint bad(void)\n{\n\tvoid *p = kzalloc(1, 2);\n\treturn ) 1;\n}\n")
    (tmp_path / "pairs").write_text(PAIRS)
    args = ("tree", "audit", str(path), "--pairs", str(tmp_path / "pairs"), "--format", "sarif")
    done = kvm_ref(*args)
    (run,) = done.json["runs"]
    (invocation,) = run["invocations"]
    assert (done.status, invocation["executionSuccessful"]) == (1, False)
    (told,) = invocation["toolExecutionNotifications"]
    assert told["message"]["text"].startswith(f"{path}:34: cannot read bad()")
    uri = run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert uri.endswith("/a%20%23%25.c")


def test_walk_shows_the_unwind(kvm_ref: Command, linux: str) -> None:
    """One way through kvm_init() of the text: the fault, the goto, and each undo at its line."""
    done = kvm_ref("tree", "walk", linux, "kvm_init", "--fail", "misc_register")
    assert done.status == 0
    after = [line.split("//")[0].strip() for line in done.lines]
    at = next(n for n, line in enumerate(after) if "goto err_register" in line)
    assert after[at - 2].endswith("! injected: misc_register fails -EBUSY")
    undone = [line.split()[2] for line in after[at:] if line.count("   ") and line.split()[2].endswith("{")]
    assert after[-1] == "kvm_init(): -EBUSY"
    assert undone == []
    assert "virt/kvm/kvm_main.c:" in done.out


def test_walk_as_json_is_a_trace(kvm_ref: Command, linux: str) -> None:
    """The JSON of a walk is a trace with the kind of source "c-source"."""
    trace = kvm_ref("tree", "walk", linux, "kvm_exit", "--format", "json").json
    assert (trace["format"], trace["source"]["kind"]) == ("kvm-ref-trace/1", "c-source")
    assert trace["steps"][0]["verbs"] == ["kvm_exit"]


def test_walk_without_the_fault(kvm_ref: Command, linux: str) -> None:
    """A call that is on no way is reported, not ignored."""
    done = kvm_ref("tree", "walk", linux, "kvm_init", "--fail", "misc_register#2")
    assert (done.status, done.err) == (1, "kvm-ref: misc_register#2 is on no way through kvm_init()\n")


def test_ladder_of_the_text(kvm_ref: Command, linux: str) -> None:
    """The ladder of kvm_init() as 6.12.117 has it: six gotos, six labels."""
    done = kvm_ref("tree", "ladder", linux, "kvm_init")
    gotos = [line.split("goto ")[1] for line in done.lines if "goto " in line]
    assert gotos == [
        "err_cpu_kick_mask;", "err_irqfd;", "err_async_pf;", "err_vfio;", "err_virt;", "err_register;",
    ]  # fmt: skip
    assert [line for line in done.lines if line.endswith(":") and not line.startswith(("leaves", " "))] == [
        "err_register:", "err_virt:", "err_vfio:", "err_async_pf:", "err_irqfd:", "err_cpu_kick_mask:",
    ]  # fmt: skip


def test_ladder_with_assembly(kvm_ref: Command, linux: str) -> None:
    """A label that only assembly jumps to, and a function without a ladder."""
    done = kvm_ref("tree", "ladder", linux, "kvm_cpu_vmxon")
    assert any(line.endswith("fails: goto fault;") for line in done.lines)
    assert "goto" not in kvm_ref("tree", "ladder", linux, "kvm_irqfd_init").out.replace("without a goto", "")


@pytest.mark.parametrize("form", ["json", "dot", "mermaid"])
def test_ladder_formats(kvm_ref: Command, linux: str, form: str) -> None:
    """The ladder of the text as data and as pictures."""
    assert "err_virt" in kvm_ref("tree", "ladder", linux, "kvm_init", "--format", form).out


def test_check_of_one_function(kvm_ref: Command, linux: str) -> None:
    """A function that agrees: n of n, and status 0."""
    done = kvm_ref("tree", "check", linux, "--backend", "loongarch", "--function", "kvm_loongarch_init")
    assert done.status == 0
    assert done.lines[0] == f"# {linux}, Linux 6.12.117"
    count = done.lines[-1].split()
    assert count[0] == count[2]
    assert "kvm_loongarch_init() " in done.out


def test_check_as_json_and_sarif(kvm_ref: Command, linux: str) -> None:
    """A program can read which functions were compared."""
    args = ("tree", "check", linux, "--backend", "loongarch", "--function", "kvm_loongarch_env_init")
    data = kvm_ref(*args, "--format", "json").json
    (function,) = data["backends"][0]["functions"]
    assert (data["format"], data["kernel"]) == ("kvm-ref-tree/1", "6.12.117")
    assert function["function"] == "kvm_loongarch_env_init"
    assert function["cases"] == function["equal"]
    assert kvm_ref(*args, "--format", "sarif").json["runs"][0]["results"] == []


@pytest.mark.parametrize("form", ["text", "json", "sarif"])
def test_check_of_an_older_design(kvm_ref: Command, form: str) -> None:
    """Linux 6.1: a few lines, status 1."""
    tree = str(kernel_tree("6.1"))
    done = kvm_ref("tree", "check", tree, "--format", form)
    assert done.status == 1
    if form == "text":
        assert done.lines[1].startswith(
            "this tree has another design than the model: there is no kvm_init_virt"
        )
        assert len(done.lines) == 4
    else:
        assert isinstance(done.json, dict)


def changed(linux: str, tmp_path: Path, old: str, new: str) -> str:
    """Return a copy of a tree, made of links, with one line of kvm_main.c changed."""
    top = tmp_path / "linux"
    (top / "virt/kvm").mkdir(parents=True)
    for name in os.listdir(linux):
        if name != "virt":
            (top / name).symlink_to(Path(linux) / name)
    for one in (Path(linux) / "virt/kvm").iterdir():
        if one.name != "kvm_main.c":
            (top / "virt/kvm" / one.name).symlink_to(one)
    text = (Path(linux) / "virt/kvm/kvm_main.c").read_text()
    assert text.count(old) == 1
    (top / "virt/kvm/kvm_main.c").write_text(text.replace(old, new))
    return str(top)


def test_check_of_a_changed_tree(kvm_ref: Command, linux: str, tmp_path: Path) -> None:
    """A goto one label too low: status 1, the rule, the line, and what the model does."""
    tree = changed(linux, tmp_path, "\t\tgoto err_virt;", "\t\tgoto err_vfio;")
    args = ("tree", "check", tree, "--backend", "loongarch", "--function", "kvm_init")
    done = kvm_ref(*args)
    assert done.status == 1
    line = (Path(tree) / "virt/kvm/kvm_main.c").read_text().split("kvm_init_virtualization();\n\tif (r)")[0]
    at = line.count("\n") + 3
    assert any(text.startswith(f"virt/kvm/kvm_main.c:{at}: wrong-label: kvm_init()") for text in done.lines)
    data: Any = kvm_ref(*args, "--format", "json").json
    assert data["backends"][0]["functions"][0]["differences"][0]["line"] == at


def test_check_names_a_commit(kvm_ref: Command, linux: str, tmp_path: Path) -> None:
    """The upstream mend of the debugfs directory is named, and is no difference."""
    undo = "err_vfio:\n\tdebugfs_remove_recursive(kvm_debugfs_dir);\n"
    tree = changed(linux, tmp_path, "err_vfio:\n", undo)
    done = kvm_ref("tree", "check", tree, "--backend", "x86-svm", "--function", "kvm_init")
    assert done.status == 0
    assert any("your tree has b31e7c24b475" in line for line in done.lines)


def test_check_with_a_configuration_without_kvm(kvm_ref: Command, linux: str, tmp_path: Path) -> None:
    """Where next to nothing is configured much differs, and no commit is said to explain that."""
    (tmp_path / "config").write_text("CONFIG_SMP=y\n")
    done = kvm_ref("tree", "check", linux, "--backend", "riscv", "--config", str(tmp_path / "config"))
    assert done.status == 1
    assert not any("your tree" in line for line in done.lines)
    assert any("differs: kvm_init_virtualization()" in line for line in done.lines)


def test_bad_input_is_one_line(kvm_ref: Command, linux: str, tmp_path: Path, driver: Path) -> None:
    """Each mistake is told in one line that says what would be right; status 2."""
    (tmp_path / "config").write_text("CONFIG_SMP=y\nnonsense\n")
    (tmp_path / "cut.c").write_text("int f(void)\n{\n\tif (x) {\n")
    for name in ("a.py", "python.c"):
        (tmp_path / name).write_text("\ndef f(x):\n    return 1\n")
    (tmp_path / "folder.c").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "bad.pairs").write_text("clk_get clk_put sometimes\n")
    (tmp_path / "short.pairs").write_text("clk_get\n")
    here = str(tmp_path)
    for args, says in (
        ((), "no command given: expected one of check, walk, ladder, audit"),
        (("check", here), "no kernel tree"),
        (("check", f"{here}/nothing"), "no directory"),
        (("check", linux, "--backend", "sparc"), "unknown backend 'sparc'"),
        (("check", linux, "--backend", "s390", "--function", "kvm_inti"), "did you mean kvm_init?"),
        (("check", linux, "--set", "SMP=y"), "expected CONFIG_NAME=y or CONFIG_NAME=n"),
        (("check", linux, "--config", f"{here}/config"), "config:2: 'nonsense'"),
        (("check", linux, "--format", "xml"), "unknown format 'xml'"),
        (("walk", linux, "kvm_inti"), "did you mean kvm_init?"),
        (("walk", linux, "kvm_init", "--fail", "misc_regster"), "did you mean misc_register?"),
        (("walk", linux, "kvm_init", "--fail", "#"), "malformed fault"),
        (("ladder", linux, "kvm_inti"), "did you mean kvm_init?"),
        (("audit", f"{here}/cut.c"), "cut off inside f()"),
        (("audit", f"{here}/loop"), "loop"),
        (("audit", f"{here}/a.py"), "a.py: no C file: expected a name that ends in .c or .h"),
        (("audit", f"{here}/python.c"), "python.c:2: no C text: neither a declaration nor a function"),
        (("audit", f"{here}/folder.c"), f"kvm-ref: {here}/folder.c: no regular file"),
        (("check", linux, "--backend", "all", "--backend", "sparc"), "unknown backend 'sparc'"),
        (("walk", linux, "kvm_init", "--fail", ""), "malformed fault ''"),
        (("walk", linux, "kvm_init", "--fail", "misc_register@1"), "a walk of text is on no CPU"),
        (("audit", f"{here}/none.c"), "there is no such file"),
        (("audit", str(driver), "--function", "prob"), "did you mean probe?"),
        (("audit", str(driver), "--pairs", f"{here}/bad.pairs"), "bad.pairs:1: unknown failure 'sometimes'"),
        (("audit", str(driver), "--pairs", f"{here}/short.pairs"), "expected ACQUIRES RELEASES FAILURE"),
        (("audit", str(driver), "--pairs", f"{here}/none"), "none: No such file"),
    ):
        done = kvm_ref("tree", *args)
        assert (done.status, done.out, done.err.count("\n")) == (2, "", 1), args
        assert says in done.err, args

# SPDX-License-Identifier: GPL-2.0-only
"""What the grammar of C does not take of the kernel's C: blanked, or put in other words of the same length.

Every byte offset and every line stays what it was, so that a node of the syntax tree tells where it is in
the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import attrs

# Everything but a newline becomes a space, or an underscore.
SPACES = bytes(10 if byte == 10 else 32 for byte in range(256))
# What stands at the end of a line in a comment, since a #define goes on behind it.
CONTINUED = b"\x01"
_UNDERSCORES = bytes(10 if byte == 10 else 95 for byte in range(256))

# Possessive quantifiers would say this in fewer words, but Python matches them wrongly before 3.11.5.
_STRING = rb"""
    "[^"\\\n]*(?:\\.[^"\\\n]*)*"
    | '(?:[^'\\\n]|\\.)[^'\\\n]*(?:\\.[^'\\\n]*)*'
"""
_QUOTED = re.compile(_STRING, re.DOTALL | re.VERBOSE)
_COMMENT = re.compile(
    rb"/\*[^*]*(?:\*(?!/)[^*]*)*\*/ | //[^\n\\]*(?:\\\r?.[^\n\\]*)* |" + _STRING, re.DOTALL | re.VERBOSE
)
_PARENTHESIS = re.compile(rb"[()]")
_BRACKET = re.compile(rb"[()\[\]{},:]")

# Attributes by what follows the two underscores; those that take arguments, and those that do not.
_ARGUED = frozenset(
    b"attribute attribute__ printf scanf aligned section alias must_hold must_hold_shared acquires acquire"
    b" releases release cond_acquires cond_lock alloc_size realloc_size malloc no_sanitize free cleanup"
    b" counted_by guarded_by nonnull assume_aligned".split()
)
_PLAIN = frozenset(
    b"init exit initdata exitdata initconst ref refdata meminit net_init cpuinit weak always_inline"
    b" always_unused maybe_unused used unused user kernel percpu iomem rcu force ro_after_init read_mostly"
    b" cpuidle visible noreturn cold hot pure must_check packed deprecated latent_entropy no_kcsan no_kasan"
    b" no_kmsan_checks no_profile no_sanitize_address no_sanitize_or_inline no_stack_protector sched kprobes"
    b" flatten nocast bitwise lockfunc randomize_layout nocfi noendbr irq_entry softirq_entry nonstring"
    b" bpf_kfunc attribute_const__ inline inline__ noscs seg_fs seg_gs extension__ __cacheline_aligned"
    b" __cacheline_aligned_in_smp cacheline_aligned cacheline_aligned_in_smp page_aligned_bss"
    b" page_aligned_data init_or_module init_memblock uninitialized".split()
)
_UNDERSCORED = re.compile(rb"__(?<!\w__)(\w+)")
_OF_FUNCTIONS = re.compile(rb"\b(?:asmlinkage|noinline(?:_for_stack)?|notrace|noinstr|nokprobe_inline)\b")

_ASM = re.compile(
    rb"\b(asm_volatile_goto|asm_goto_output"
    rb"|(?:asm_inline|asm|__asm__|__asm)(?:\s+(?:__)?(?:volatile|inline|goto)(?:__)?)*)\s*\("
)
# A register or an attribute of a local variable stands behind its name.
_OF_VARIABLE = re.compile(rb"(?<!\belse)(?<!\bdo)(?<=[\w\]])\s*\Z")
_CLEANUP = re.compile(rb"__(?:free\s*\(\s*(?P<free>\w+)|cleanup\b)")
_OPERAND = re.compile(rb'\s*(?:\[\s*\w+\s*\]\s*)?(?:"[^"]*"\s*)+\(.*\)\s*', re.DOTALL)
_STRINGS = re.compile(rb'\s*(?:"[^"]*"\s*)+')

_TYPE = re.compile(
    rb"[(,]\s*((?:(?:const|volatile)\s+)*(?:"
    rb"(?:struct|union|enum)\s+\w+"
    rb"|(?:unsigned|signed|long|short|int|char|void|bool|float|double|s?size_t|u?int(?:ptr|\d+)_t)\b"
    rb"(?:\s+(?:unsigned|signed|long|short|int|char|double)\b)*"
    rb"|\w+(?=\s*\*)"
    rb")(?:\s*\*|\s*\bconst\b)*)(?=\s*[,)])"
)
# What stands before a parenthesis and calls nothing that could not take a type, or nothing at all.
_NO_CALL = frozenset(
    b"sizeof typeof __typeof__ __typeof _Alignof __alignof__ alignof offsetof"
    b" return if while for switch".split()
)
_WORD = re.compile(
    rb"\b(?:(?P<typeof>typeof|__typeof__|__typeof)|(?P<offsetof>offsetof)|(?P<alignof>_?_?[aA]lignof(?:__)?)"
    rb"|(?P<asm>asm_\w+))\s*\(|\"\s*(?P<text>[A-Za-z_]\w*)\s*\(|\b(?P<static>static)\s+[A-Z_0-9]+\s*\("
    rb"|\b(?P<digit>[0-9])(?=\w)(?!(?:\d*|[xX][\da-fA-F]+|[bB][01]+)[uUlL]*\b)"
    rb"|\b(?P<level>KERN_[A-Z]+)\s+(?=[A-Za-z_])"
    rb"|,(?P<empty>[ \t]+)(?=,)|(?P<dots>\.\.\.)|\)\s*(?P<zero>=\s*\{\s*0?\s*\})\s*;"
)
_NO_WORD = re.compile(rb"\W")
_BASIC = re.compile(rb"\A(?:unsigned|signed|long|short|int|char|void|bool|float|double|\w+_t)\Z")
_CALLED = re.compile(rb"(\w+)\s*\Z")

_STATEMENT = re.compile(rb"(?:[{};):]|\belse|\bdo)\s*([A-Za-z_]\w*)\s*\(")
_NO_LOOP = _NO_CALL | {b"asm", b"__asm__", b"else", b"do", b"case", b"defined"}
_FOLLOWS = re.compile(rb"\s*[{\w]")
_FOLLOWS_LOOP = re.compile(rb"\s*[{\w(*+-]")
_GUARD = re.compile("scoped_(?:cond_)?guard")


@attrs.frozen
class Blanked:
    """Text that the grammar takes, of the same length as the text that it was made from.

    Attributes:
        text: the text.
        loops: macros before a block or a statement, which are written ``while`` now, by their offset.
        asm_gotos: the labels of each ``asm goto``, by the offset of the statement.
        ranges: the offset of the ``...`` of each ``case 1 ... 5:``, which is written ``%`` now.
        frees: what ``__free()`` names, by the offset behind the variable's name.
    """

    text: bytes
    loops: dict[int, str]
    asm_gotos: dict[int, tuple[str, ...]]
    ranges: frozenset[int]
    frees: dict[int, str]


def uncommented(text: bytes) -> bytes:
    """Return C text in which comments are blanks, but for `CONTINUED`."""
    return _COMMENT.sub(_uncomment, text)


def _uncomment(found: re.Match[bytes]) -> bytes:
    piece = found[0]
    if piece[:1] != b"/":
        return piece
    return piece.translate(SPACES).replace(b" \n", CONTINUED + b"\n")


def masked(text: bytes) -> bytes:
    """Return C text without comments in which underscores stand for what is in quotes."""
    return _QUOTED.sub(_mask, text)


def _mask(found: re.Match[bytes]) -> bytes:
    piece = found[0]
    return piece[:1] + piece[1:-1].translate(_UNDERSCORES) + piece[:1]


def closing(mask: bytes, at: int) -> int:
    """Return where the parenthesis is closed that opens at `at`, the text's length if it is not."""
    depth = 0
    for found in _PARENTHESIS.finditer(mask, at):
        depth += 1 if found[0] == b"(" else -1
        if not depth:
            return found.start()
    return len(mask)


def split(mask: bytes, start: int, end: int, at: bytes = b",") -> list[tuple[int, int]]:
    """Return where the pieces of text between two offsets are, split at each `at` outside of brackets."""
    out, depth = [], 0
    for found in _BRACKET.finditer(mask, start, end):
        token = found[0]
        if token == at and not depth:
            out.append((start, found.start()))
            start = found.end()
        elif token in b"([{":
            depth += 1
        elif token in b")]}":
            depth -= 1
    return [*out, (start, end)]


def attributes(mask: bytes) -> Iterator[tuple[int, int]]:
    """Yield where attributes are in masked text, such as ``__init`` and ``__printf(1, 2)``."""
    for found in _UNDERSCORED.finditer(mask):
        if found[1] in _PLAIN:
            yield found.span()
        elif found[1] in _ARGUED:
            opened = mask.find(b"(", found.end())
            if opened >= 0 and not mask[found.end() : opened].strip():
                yield found.start(), closing(mask, opened) + 1


def plain(head: bytes) -> bytes:
    """Return the masked head of a definition in which attributes are blanks."""
    text = bytearray(_OF_FUNCTIONS.sub(lambda found: found[0].translate(SPACES), head))
    for start, end in attributes(head) if b"__" in head else ():
        text[start:end] = text[start:end].translate(SPACES)
    return bytes(text)


def blank(text: bytes) -> Blanked:
    """Put C text without comments and preprocessor lines in words that the grammar takes."""
    work = _Text(text)
    for step in (work.asm, work.words, work.types, work.loops):
        step()
        work.settle()
    return Blanked(bytes(work.text), work.macros, work.labels, frozenset(work.dots), work.frees)


class _Text:
    # Text while it is rewritten, and the same without what is in quotes.

    def __init__(self, text: bytes) -> None:
        self.text = bytearray(text)
        self.mask = masked(text)
        self.changed = False
        self.macros: dict[int, str] = {}
        self.labels: dict[int, tuple[str, ...]] = {}
        self.dots: list[int] = []
        self.frees: dict[int, str] = {}

    def put(self, start: int, end: int, new: bytes = b"") -> None:
        # Write something over the start of a piece of text, and blanks over the rest.
        self.text[start:end] = new + self.text[start + len(new) : end].translate(SPACES)
        self.changed = True

    def settle(self) -> None:
        if self.changed:
            self.mask = masked(bytes(self.text))
            self.changed = False

    def asm(self) -> None:
        # Of the instructions nothing is kept, as macros may stand among the strings; operands are.
        for found in _ASM.finditer(self.mask):
            start, opened = found.start(1), found.end() - 1
            end = closing(self.mask, opened)
            if end == len(self.mask):
                break
            if _OF_VARIABLE.search(self.mask, max(0, start - 80), start):
                self.put(start, end + 1)
                continue
            parts = split(self.mask, opened + 1, end, b":")
            goto = b"goto" in found[1]
            if goto:
                labels = self.mask[slice(*parts[4])].split(b",") if len(parts) > 4 else []
                self.labels[start] = tuple(label.strip().decode("utf-8", "replace") for label in labels)
            self.put(start, opened, b"asm goto" if goto else b"asm")
            first, behind = parts[0]
            first = behind - len(self.mask[first:behind].lstrip())
            if behind - first >= 2:
                self.put(first, behind, b'""')
            for part in parts[1:3]:
                # A macro may stand for an operand, or for several.
                if not all(_OPERAND.fullmatch(self.mask, *one) for one in split(self.mask, *part)):
                    self.put(*part)
            for part in parts[3:4]:
                if not all(_STRINGS.fullmatch(self.mask, *one) for one in split(self.mask, *part)):
                    self.put(*part)

    def words(self) -> None:
        for start, end in attributes(self.mask):
            cleanup = _CLEANUP.match(self.mask, start)
            variable = cleanup and _OF_VARIABLE.search(self.mask, max(0, start - 80), start)
            if cleanup and variable and cleanup["free"]:
                self.frees[variable.start()] = cleanup["free"].decode()
            if not cleanup or variable:
                self.put(start, end)
        for found in _WORD.finditer(self.mask):
            kind = str(found.lastgroup)
            start, end = found.span(kind)
            if kind == "dots":
                self.dots.append(start)
                self.put(start, end, b" % ")
            elif kind in ("digit", "empty"):
                # Macros take arguments that start with a digit, and empty ones.
                self.put(start, end, b"_")
            elif kind in ("static", "zero", "level"):
                # Of a variable that a macro declares, and before a macro that makes a string.
                self.put(start, end)
            elif kind == "alignof":
                # It takes an expression, too.
                self.put(start, end, found[kind].upper())
            else:
                self.macro(kind, start, found.end() - 1)

    def macro(self, kind: str, start: int, opened: int) -> None:
        end = closing(self.mask, opened)
        pieces = split(self.mask, opened + 1, end)
        if end == len(self.mask):
            return
        if kind in ("typeof", "text"):
            self.fold(start, end + 1)
        elif kind == "offsetof" and len(pieces) == 2:
            self.fold(*pieces[1])
        elif kind == "asm" and self.mask[slice(*pieces[0])].lstrip()[:1] == b'"':
            # What follows the instructions is operands, as those of asm().
            self.put(pieces[0][1], end)

    def fold(self, start: int, end: int) -> None:
        # Make one name of a piece of text; if it has several lines, of the last.
        line = max(start, self.mask.rfind(b"\n", start, end) + 1)
        name = _NO_WORD.sub(b"_", self.mask[line:end].lstrip())
        self.put(start, end)
        self.put(end - len(name), end, _BASIC.sub(_capital, name))

    def types(self) -> None:
        # A type among the arguments of a macro becomes a name. The comma behind it may precede the next.
        found = _TYPE.search(self.mask)
        while found:
            start, end = found.span(1)
            if _calls(self.mask, found.start()):
                self.fold(start, end)
            found = _TYPE.search(self.mask, end)

    def loops(self) -> None:
        for found in _STATEMENT.finditer(self.mask):
            name = found[1]
            start, opened = found.start(1), found.end() - 1
            end = closing(self.mask, opened)
            # Neither a call nor an expression that starts with one goes on like that.
            follows = _FOLLOWS_LOOP if b"for_each" in name else _FOLLOWS
            if name in _NO_LOOP or not follows.match(self.mask, end + 1):
                continue
            pieces = split(self.mask, opened + 1, end)
            if not self.mask[opened + 1 : end].strip():
                short = b"while(0)"
                if end + 1 - start < len(short):
                    continue
                self.put(start, end, short[:-1])
            elif len(name) < len(b"while"):
                continue
            else:
                self.put(start, opened, b"while")
            self.macros[start] = _GUARD.sub("scoped_guard", name.decode())
            if name == b"scoped_cond_guard" and len(pieces) > 1:
                # What is done if the lock was not taken is a statement among the arguments.
                self.put(pieces[0][1], pieces[1][1])


def _capital(found: re.Match[bytes]) -> bytes:
    return found[0].upper()


def _calls(mask: bytes, at: int) -> bool:
    # Whether a parenthesis or comma belongs to the arguments of a call.
    depth = 0 if mask[at] == ord(",") else -1
    while depth >= 0:
        at = max(mask.rfind(b"(", 0, at), mask.rfind(b")", 0, at))
        if at < 0:
            return False
        depth += 1 if mask[at] == ord(")") else -1
    name = _CALLED.search(mask, max(0, at - 80), at)
    return name is not None and name[1] not in _NO_CALL

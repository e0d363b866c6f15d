# SPDX-License-Identifier: GPL-2.0-only
"""An adapter for Hypothesis: a machine that is told anything, in any order, with any call failing.

A rule is a verb; the judges are the invariant. An example that fails is shrunk by Hypothesis, and
its report ends with the ``kvm-ref run`` command that shows the same. Needs the extra ``hypothesis``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import attrs

from kvm_ref import backend as backends
from kvm_ref import report
from kvm_ref.backend import Backend
from kvm_ref.fault import Fault
from kvm_ref.judges import judge_all
from kvm_ref.marked import machine, texts
from kvm_ref.misuse import Misuse, nearest
from kvm_ref.plans import faults_of
from kvm_ref.reproduce import command
from kvm_ref.scenario import Scenario, run
from kvm_ref.session import Session
from kvm_ref.testing import allowed
from kvm_ref.verbs import VERBS
from kvm_ref.vocabulary import Vocabulary

try:
    from hypothesis import note
    from hypothesis import strategies as st
    from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
except ImportError as error:
    raise Misuse("kvm_ref.stateful needs Hypothesis: pip install 'kvm-ref[hypothesis]'") from error

# A life in which each verb is seen to work; what can fail in it is what rules let fail.
_LIFE = ("load", "open-dev", "create-vm", "offline={cpu}", "online={cpu}", "suspend", "close-vm", "close-dev", "unload")  # fmt: skip
# Left out unless asked for: after these nothing follows, or they need to know a state's name.
_UNASKED = ("reboot", "poweroff", "halt", "kexec", "hotplug-fail")


def kvm_machine(
    backend: str = "x86-svm",
    *,
    cpus: int | str = 2,
    params: Mapping[str, object] | None = None,
    features: Mapping[str, bool] | None = None,
    commits: str | Iterable[str] | Mapping[str, bool] = (),
    allow: str | Collection[str] = (),
    verbs: str | Collection[str] | None = None,
    faults: bool = True,
) -> type[RuleBasedStateMachine]:
    """Return a rule-based machine, for ``TestKvm = kvm_machine("riscv").TestCase``.

    Args:
        backend: its name.
        cpus: how many CPUs the machine has, or which, as ``--cpus`` takes them.
        params: parameters of modules.
        features: what the CPUs have, where it is not the backend's default.
        commits: upstream commits that the kernel contains besides those of 6.12.117.
        allow: findings to pass over, as `kvm_ref.testing.assert_clean` takes them.
        verbs: which verbs there are; by default all that need no argument or a CPU.
        faults: whether calls fail, at most one a verb.

    Raises:
        Misuse: something that is named does not exist.
    """
    base = machine(backend, cpus=cpus, params=params, features=features, commits=commits)
    found = backends.load(backend)
    names = tuple(_verbs(found)) if verbs is None else texts("verbs", verbs)
    passed = texts("allow", allow)
    if not names:
        raise Misuse("nothing to do: give verbs")
    if not isinstance(faults, bool):
        raise Misuse(f"malformed faults={faults!r}: expected True or False")
    for name in names:
        if name not in VERBS:
            raise Misuse(f"unknown verb {name!r}{nearest(name, VERBS)}")
        if VERBS[name].takes not in ("", "CPU") and not VERBS[name].takes.startswith("["):
            raise Misuse(f"verb {name} takes {VERBS[name].takes}, which no rule draws")
        if VERBS[name].task == "foreign":
            found.check_foreign()
    can_fail = _faults(base, found) if faults else {}
    rules = {
        name.replace("-", "_"): _rule(name, base.cpus.possible, can_fail.get(name, {})) for name in names
    }
    return type("KvmMachine", (_Machine,), {"base": base, "allow": passed, **rules})


def _verbs(backend: Backend) -> list[str]:
    shared = type(backend).foreign_on is not Backend.foreign_on
    return [name for name in VERBS if name not in _UNASKED and (shared or not name.startswith("foreign-"))]


def _faults(base: Scenario, backend: Backend) -> dict[str, dict[str, Fault]]:
    # What can fail in each verb, told from its beginning, as text and as value.
    life = tuple(verb.format(cpu=base.cpus.possible[-1]) for verb in _LIFE)
    trace = run(attrs.evolve(base, verbs=life), backend).trace
    out: dict[str, dict[str, Fault]] = {}
    for _, number, fault in faults_of(trace, Vocabulary.of(backend)):
        out.setdefault(life[number].partition("=")[0], {})[str(fault)] = fault
    return out


class _Machine(RuleBasedStateMachine):
    base: Scenario
    allow: Collection[str] = ()

    def __init__(self) -> None:
        super().__init__()
        self.session = Session(self.base)
        self.told = False

    def teardown(self) -> None:
        """Have an example that fails for another reason, such as an invariant of a subclass, shown as well."""
        if self.session.scenario.verbs and not self.told:
            note(f"shown again by: {command(self.session.scenario)}")

    def do(self, verb: str, fault: Fault | None) -> None:
        """Run a verb on a machine that has not stopped; a fault that no call comes to is none."""
        if self.session.alive:
            self.session.attempt(verb, *([fault] if fault else []))

    @invariant()
    def nothing_is_found(self) -> None:
        """Ask all judges."""
        if all(
            allowed(found, self.allow) for found in judge_all(self.session.trace, self.session.vocabulary)
        ):
            return
        # Which commit mends it takes more runs.
        judged = self.session.judge()
        wrong = [finding for finding in judged.findings if not allowed(finding, self.allow)]
        if wrong:
            lines = [line for finding in wrong for line in report.explain(finding)]
            self.told = True
            raise AssertionError("\n".join([f"shown again by: {judged.command}", *lines]))


def _rule(name: str, cpus: Sequence[int], faults: Mapping[str, Fault]) -> Any:
    # The rule of one verb: its CPU is drawn if it takes one, and a fault of those that it may come to.
    drawn: dict[str, Any] = {}
    if VERBS[name].takes == "CPU":
        drawn["cpu"] = st.sampled_from(cpus)
    if faults:
        drawn["fault"] = st.none() | st.sampled_from(list(faults))

    def act(self: _Machine, cpu: int | None = None, fault: str | None = None) -> None:
        self.do(name if cpu is None else f"{name}={cpu}", faults[fault] if fault else None)

    act.__name__ = name.replace("-", "_")
    decorate: Any = rule(**drawn)
    return decorate(act)

# SPDX-License-Identifier: GPL-2.0-only
"""The one command that runs a scenario again."""

from __future__ import annotations

import functools
import shlex

from kvm_ref.linux.cpumask import format_list
from kvm_ref.scenario import Cpus, Scenario


def _cpus(cpus: Cpus) -> str:
    if not cpus.possible == cpus.present == cpus.online:
        return "host"  # a count or a list makes no CPU that does not run
    if cpus.possible == tuple(range(len(cpus.possible))):
        return str(len(cpus.possible))
    text = format_list(cpus.possible)
    return f"{text}-{text}" if text.isdigit() else text


def command(scenario: Scenario) -> str:
    """Return the ``kvm-ref run`` command of a scenario, quoted for a shell."""
    words = ["kvm-ref", "run", "--backend", scenario.backend]
    words += ["--cpus", _cpus(scenario.cpus)]
    for name, text in scenario.params.items():
        words += ["--param", f"{name}={text}"]
    for name, on in scenario.features.items():
        words += ["--feature", f"{name}={int(on)}"]
    for commit, wanted in scenario.commits.items():
        words += ["--with" if wanted else "--without", commit]
    for fault in scenario.faults:
        text = str(fault)
        if fault.effect:
            words += ["--reboot-at", text.removeprefix("reboot-at ")]
        else:
            words += ["--fail", text]
    return " ".join(map(_quote, [*words, *scenario.verbs]))


# Most words are in every command.
_quote = functools.lru_cache(maxsize=4096)(shlex.quote)

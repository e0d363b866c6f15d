# SPDX-License-Identifier: GPL-2.0-only
"""Defects as SARIF 2.1.0, which editors and code-scanning services show at their lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import kvm_ref
from kvm_ref.tree.defects import RULES, At, Defect

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def log(defects: Sequence[Defect], errors: Sequence[str] = ()) -> dict[str, Any]:
    """Return a SARIF log with one run; `errors` say what could not be read or compared."""
    names = list(RULES)
    told = [{"level": "error", "message": {"text": error}} for error in dict.fromkeys(errors)]
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "kvm-ref",
                        "version": kvm_ref.__version__,
                        "rules": [
                            {"id": name, "shortDescription": {"text": text}} for name, text in RULES.items()
                        ],
                    }
                },
                "invocations": [{"executionSuccessful": not told, "toolExecutionNotifications": told}],
                "results": [_result(defect, names) for defect in dict.fromkeys(defects)],
            }
        ],
    }


def _result(defect: Defect, names: Sequence[str]) -> dict[str, Any]:
    steps = [{"location": _location(at, at.text)} for at in defect.flow]
    return {
        "ruleId": defect.rule,
        "ruleIndex": names.index(defect.rule),
        "level": "warning",
        "message": {"text": defect.message},
        "locations": [_location(defect.at)],
        "codeFlows": [{"threadFlows": [{"locations": steps}]}],
    }


def _location(at: At, text: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {
        "physicalLocation": {"artifactLocation": {"uri": quote(at.path)}, "region": {"startLine": at.line}}
    }
    if text:
        out["message"] = {"text": text}
    return out

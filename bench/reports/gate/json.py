"""Everything that a gate found, for programs: the verdicts, the control and what was compared."""

import msgspec

from bench.pairs import Report


def failed(reason: str) -> str:
    """A gate that is INVALID before it has a cell."""
    return msgspec.json.encode({"verdict": "INVALID", "reason": reason}).decode() + "\n"


def render(report: Report) -> str:
    comparison, judgement = report.comparison, report.judgement
    said = {
        "verdict": judgement.word,
        "cells": judgement.verdicts,
        "control": judgement.control,
        "false_alarms": judgement.false_alarms,
        "differences": comparison.differences,
        "left_out": comparison.left_out,
        "against": comparison.against,
        "shortened": comparison.protocol.shortened(),
        "suite": comparison.name,
        "commit": comparison.commit,
        "started": comparison.started,
        "machine": comparison.machine,
    }
    return msgspec.json.format(msgspec.json.encode(said), indent=2).decode() + "\n"

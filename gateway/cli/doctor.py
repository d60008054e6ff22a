"""The command `doctor`."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from gateway import doctor as examination
from gateway.cli.exits import FAILED
from gateway.cli.wiring import load_settings
from gateway.lines import rows

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.cli import Options
    from gateway.doctor import Finding
    from gateway.settings import Settings


@click.command
@click.pass_obj
def doctor(options: Options) -> None:
    """Look at store, daemon, disk, clock, watchdog, lines and broker; exit 1 where something is to be done."""
    findings = asyncio.run(_examine(load_settings(options), aloud=not options.json))
    well = all(finding.well for finding in findings)
    if options.json:
        click.echo(json.dumps({"ok": well, "findings": [_object(finding) for finding in findings]}, ensure_ascii=False))
    if not well:
        raise click.exceptions.Exit(FAILED)


async def _examine(settings: Settings, *, aloud: bool) -> list[Finding]:
    findings: list[Finding] = []
    alarms: list[Finding] = []
    async for finding in examination.examine(settings):
        findings.append(finding)
        if finding.code:  # told once it is known how many are alike
            alarms.append(finding)
        elif aloud:
            _say([*examination.together(alarms), finding])
            alarms.clear()
    if aloud:
        _say(examination.together(alarms))
    return findings


def _say(findings: Iterable[Finding]) -> None:
    for finding in findings:
        mark = click.style("ok  ", fg="green") if finding.well else click.style("FAIL", fg="red")
        click.echo(f"{mark} {' '.join(filter(None, (finding.check, finding.subject)))}: {finding.text}")
        for row in rows(finding.line) if finding.line is not None else ():
            click.echo(f"     {row[0]:<20}" + "".join(f"{each:>9}" for each in row[1:]))


def _object(finding: Finding) -> dict[str, object]:
    told = {"check": finding.check, "subject": finding.subject, "ok": finding.well, "text": finding.text}
    return told if finding.line is None else {**told, "line": asdict(finding.line)}

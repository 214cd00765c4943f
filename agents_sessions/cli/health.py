"""The doctor: what is not as it should be, in numbers, and what a repair would do about it."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from agents_sessions.cli.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agents_sessions.features.diagnostics.diagnostics import RepairReport
    from agents_sessions.model.findings import Finding

_EVERYWHERE = Settings()
_DAMAGE = 5
_NO = Annotated[bool, Parameter(negative=())]
_STYLES = {"error": "bold red", "warning": "yellow", "info": "dim"}


async def doctor(
    *,
    thorough: _NO = False,
    repair: _NO = False,
    report: _NO = False,
    yes: _NO = False,
    settings: Settings = _EVERYWHERE,
) -> int:
    """Look for damage, say in numbers what a repair would do, and do it with --repair. Ends with 5 if any is left.

    Example: `agents-sessions doctor --thorough`

    Args:
        thorough: Read every history, and compute every checksum and total.
        repair: Repair what can be, each with a copy of what is touched.
        report: Print a report for a bug instead. It holds numbers, and neither ids nor content.
        yes: Do not ask.
    """
    async with settings.desk() as desk:
        if report:
            settings.screen.raw(await desk.diagnostics.report(thorough=thorough))
            return 0
        findings = await desk.diagnostics.check(thorough=thorough)
        outcome = None
        if not (settings.json and repair):
            _show(settings, findings)
        mendable = [each for each in findings if each.repair is not None]
        if repair and mendable and settings.confirm(f"Repair {len(mendable)} of {len(findings)}?", yes=yes):
            outcome = await desk.diagnostics.repair(findings, dry_run=False)
            _show_outcome(settings, outcome)
        elif settings.json and repair:
            _show(settings, findings)
    if mendable and outcome is None:
        settings.note(f"Repair: {settings.command('doctor', '--repair', *(['--thorough'] if thorough else []))}")
    left = [each.finding for each in outcome.outcomes if each.status in ("left", "failed")] if outcome else findings
    return _DAMAGE if any(each.severity != "info" for each in left) else 0


def _show(settings: Settings, findings: Sequence[Finding]) -> None:
    if settings.json:
        settings.screen.json([_json_of(each) for each in findings])
        return
    counts = Counter(each.code for each in findings)
    first = {each.code: each for each in reversed(findings)}
    for severity, style in _STYLES.items():
        for code, count in counts.items():
            each = first[code]
            if each.severity != severity:
                continue
            settings.screen.line((f"{count:,} x {code}", style), f"  {each.means}")
            settings.screen.line((f"  repair: {each.repair or 'none: this is for a person'}", "dim"))
            for one in [found for found in findings if found.code == code][:5]:
                who = "" if one.key is None else one.key.session_id
                settings.screen.line((f"  {who}  {one.place}  {one.detail}".rstrip(), "dim"))
            if count > 5:
                settings.screen.line((f"  and {count - 5:,} more; --json names all", "dim"))
    if not findings:
        settings.screen.line(("All is well.", "green"))


def _json_of(finding: Finding) -> dict[str, object]:
    key = finding.key
    return {
        **asdict(finding),
        "key": None if key is None else {"agent_id": key.agent_id, "session_id": key.session_id},
        "severity": finding.severity,
        "means": finding.means,
        "repair": finding.repair,
    }


def _show_outcome(settings: Settings, outcome: RepairReport) -> None:
    if settings.json:
        settings.screen.json(
            [{**_json_of(each.finding), "status": each.status, "outcome": each.detail} for each in outcome.outcomes]
        )
    else:
        for each in outcome.outcomes:
            who = "" if each.finding.key is None else f" {each.finding.key.session_id}"
            settings.screen.line(f"{each.status}: {each.finding.code}{who}: {each.detail}")
    settings.note(f"{outcome.repaired} repaired.")
    if outcome.backup is not None:
        settings.note(f"Copies of what was touched: {outcome.backup}")

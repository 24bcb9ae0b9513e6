"""`reelmill verify`: is every stored part sound?"""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from reelmill.flows.cli.job import find_root
from reelmill.flows.cli.options import DryRun, Json, Root, SettingsFile
from reelmill.flows.cli.output import show
from reelmill.flows.progress import safe

if TYPE_CHECKING:
    from reelmill.flows.jobs.keep import VerifyResult


LISTED = 3
"""Most files that are named of one folder."""


def verify(
    settings_file: SettingsFile = None,
    root: Root = None,
    media: Annotated[bool, typer.Option("--media", help="Hash every media file as well.")] = False,
    quarantine: Annotated[
        bool, typer.Option("--quarantine", help="Move damaged parts to ROOT/quarantine, so that they are made again.")
    ] = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Read every part of every store, table and encoder: checksums, index, values against masks, constant rows."""
    found = find_root(settings_file, root)
    from reelmill.flows.jobs.keep import check

    result = check(found, media=media, quarantine=quarantine, dry=dry_run)
    show(result, json, render)
    if result.damaged:
        raise typer.Exit(1)


def render(out: Console, result: "VerifyResult") -> None:
    """How many are sound; what is damaged, and what makes it again."""
    kinds = {"stores": result.stores, "tables": result.tables, "encoders": result.encoders}
    for kind, found in kinds.items():
        wrong = {name: messages for name, messages in found.items() if messages}
        if found:
            out.print(f"{kind}: {len(found) - len(wrong)} of {len(found)} sound")
        for name, messages in wrong.items():
            out.print(f"[bold red]{safe(name)}[/]: {len(messages)} damaged", soft_wrap=True)
            for line in messages:
                out.print(f"  {safe(line)}", soft_wrap=True)
    for name, strays in result.strays.items():
        some = ", ".join(safe(file) for file in strays[:LISTED])
        out.print(
            f"[yellow]{safe(name)}[/]: {len(strays):,} files are no parts and are skipped: {some}", soft_wrap=True
        )
    for video, line in (result.media or {}).items():
        out.print(f"[bold red]{safe(video)}[/]: {safe(line)}", soft_wrap=True)
    if result.media == {}:
        out.print("media: sound")
    for name, constant in result.constant.items():
        some = ", ".join(safe(video) for video in constant.videos)
        out.print(
            f"[yellow]{safe(name)}[/]: {constant.rows:,} rows hold one value throughout, such as those of {some}",
            soft_wrap=True,
        )
    for place in result.quarantined:
        said = "would be moved to ROOT/quarantine" if result.dry else "moved to"
        out.print(f"{said}: {safe(place)}", soft_wrap=True)
    for name, videos in result.lost.items():
        out.print(f"{safe(name)}: {len(videos):,} videos are missing without it", soft_wrap=True)
    if result.repair:
        first = "" if result.quarantined and not result.dry else "`reelmill verify --quarantine`, then "
        out.print(f"to make it again: {first}{', '.join(f'`{line}`' for line in result.repair)}", soft_wrap=True)

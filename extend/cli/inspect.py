"""``extend inspect``: what a checkpoint or a file of another framework holds, in words."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from extend.cli.arguments import add_command, add_trust

if TYPE_CHECKING:
    from extend.cli.arguments import Commands


def add_parser(commands: Commands) -> None:
    """Declare the command's arguments."""
    parser = add_command(commands, "inspect", run, "print what a checkpoint holds, and check it for damage")
    parser.add_argument("checkpoint", type=Path)
    add_trust(parser)


def run(options: argparse.Namespace) -> None:
    """Print what `extend.inspect` finds."""
    from extend.operations import CHECKPOINT, inspect

    found = inspect(options.checkpoint, trust=options.trust)
    if options.json:
        print(json.dumps(found))
    elif found["format"] == CHECKPOINT:
        print(_checkpoint(found))
    else:
        print("\n".join(f"{key:<12}{_shown(value)}" for key, value in found.items()))


def _checkpoint(found: dict[str, Any]) -> str:
    """A checkpoint of this package, one line for each of its parts."""
    network, space = found["network"], found["features"]
    taps = ", ".join(tap["path"] for tap in space["taps"]) or "none"
    unmeasured = "none: classes are added by imprint, until it is measured (add --old)"
    lines = [
        f"classes   {len(found['classes'])}: {', '.join(found['classes'])}",
        f"network   {network['class']} ({network['kind']}), head {network['head'] or 'fitted from data'}",
        f"input     {json.dumps(found['input'])}",
        f"features  taps {taps}; transform {space['transform'] or 'none'}; width {space['width'] or 'none'}",
        f"memory    {'statistics and held-out features' if found['memory'] else unmeasured}",
    ]
    for event in found["history"]:
        lines.append(f"history   {event['action']} {', '.join(event['classes'])} with {event['method']}")
    lines.append(f"versions  {', '.join(f'{name} {number}' for name, number in found['versions'].items())}")
    lines.append("every file agrees with its SHA-256")
    return "\n".join(lines)


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)

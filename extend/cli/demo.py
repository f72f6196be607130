"""``extend demo``: the digits 8 and 9 are added to a network that knows 0 to 7."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from extend.cli.arguments import add_command
from extend.cli.terminal import bar_of, say

if TYPE_CHECKING:
    from extend.cli.arguments import Commands


def add_parser(commands: Commands) -> None:
    """Declare the command's arguments."""
    parser = add_command(commands, "demo", run, "add the digits 8 and 9 to a network that knows 0 to 7 (half a minute)")
    parser.add_argument(
        "--out", type=Path, default=Path("extend-demo"), help="folder for the checkpoint and the picture"
    )


def run(options: argparse.Namespace) -> int:
    """Run the demo and print its table; the status is 1 if the restored classifier predicts anything else."""
    from extend.cli import digits

    options.out.mkdir(parents=True, exist_ok=True)
    result = digits.run(options.out, say, bar_of("steps"))
    identical = result["identical_after_restore"]
    if options.json:
        print(json.dumps(result))
    else:
        print(digits.table(result))
        print(f"predictions after saving and restoring: {'identical' if identical else 'DIFFER'}")
        print(f"checkpoint {result['checkpoint']}   picture {result['picture']}   {result['seconds']:.1f} s")
    return 0 if identical else 1

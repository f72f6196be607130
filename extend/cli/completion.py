"""``extend completion``: a script that lets a shell complete the commands, their options, and the names of files."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from extend.cli.arguments import add_command

if TYPE_CHECKING:
    from extend.cli.arguments import Commands

SHELLS = ("bash", "zsh", "fish")


def add_parser(commands: Commands) -> None:
    """Declare the command's arguments."""
    parser = add_command(commands, "completion", run, "print a script for the shell's completion")
    parser.add_argument("shell", choices=SHELLS, help='for bash: eval "$(extend completion bash)" in ~/.bashrc')
    parser.set_defaults(commands=commands)


def run(options: argparse.Namespace) -> None:
    """Print the script."""
    words = {name: _options(parser) for name, parser in sorted(options.commands.choices.items())}
    print({"bash": _bash, "zsh": _zsh, "fish": _fish}[options.shell](words))


def _options(parser: argparse.ArgumentParser) -> list[str]:
    """The long options of a command."""
    return sorted(word for action in parser._actions for word in action.option_strings if word.startswith("--"))


def _bash(words: dict[str, list[str]]) -> str:
    cases = "\n".join(f'    {name}) options="{" ".join(options)}" ;;' for name, options in words.items())
    return f"""_extend() {{
  local current="${{COMP_WORDS[COMP_CWORD]}}" options=""
  if [ "$COMP_CWORD" = 1 ]; then
    COMPREPLY=($(compgen -W "{" ".join(words)}" -- "$current"))
    return
  fi
  case "${{COMP_WORDS[1]}}" in
{cases}
  esac
  case "$current" in
    -*) COMPREPLY=($(compgen -W "$options" -- "$current")) ;;
    *) COMPREPLY=($(compgen -f -- "$current")) ;;
  esac
}}
complete -o filenames -F _extend extend"""


def _zsh(words: dict[str, list[str]]) -> str:
    return f"autoload -U +X bashcompinit && bashcompinit\n{_bash(words)}"


def _fish(words: dict[str, list[str]]) -> str:
    lines = [f"complete -c extend -n __fish_use_subcommand -f -a {name}" for name in words]
    for name, options in words.items():
        lines += [f"complete -c extend -n '__fish_seen_subcommand_from {name}' -l {word[2:]}" for word in options]
    return "\n".join(lines)

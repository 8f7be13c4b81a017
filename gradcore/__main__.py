"""`python -m gradcore info`: what gradcore finds on this machine."""

from __future__ import annotations

import argparse


def main(argv: list[str] | None = None) -> None:
    """Run the command line: `argv`, or the process's arguments."""
    parser = argparse.ArgumentParser(prog="python -m gradcore")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("info", help="print versions, devices, kernel caches, what is missing and how to get it")
    parser.parse_args(argv)

    from .info import report

    print(report())


if __name__ == "__main__":
    main()

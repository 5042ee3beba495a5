"""`golive demo`: a fleet, a witness, and three ways to stop it, on this machine alone."""

from __future__ import annotations

from typing import Annotated

import typer

from golive_cli.exits import Exit
from golive_cli.options import AsJson
from golive_cli.output import Output


def demo(
    sabotage: Annotated[
        bool,
        typer.Option(
            "--sabotage", help="Let one worker ignore its guard: the verdict must notice."
        ),
    ] = False,
    server: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Server program; else the Valkey of golive-redis[demo]."),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Watch six workers trade and be stopped in three ways, with a venue as the witness.

    Everything runs on loopback, in processes of its own, for half a minute; no configuration is
    read, and nothing is left behind. Ends with 0 only if every act proved its point.
    """
    from golive_cli.demo import acts, interrupts
    from golive_cli.demo.children import ChildError
    from golive_cli.demo.plan import Plan
    from golive_cli.demo.story import Story

    interrupts.listen()
    out = Output(as_json=as_json)
    try:
        result = acts.run(Plan(server=server, sabotage=sabotage), Story(out).tell)
    except ChildError as error:
        error.show_log(out)
        raise
    except KeyboardInterrupt:
        out.fail("interrupted", "interrupted; every process is stopped, every file removed")
        return Exit.INTERRUPTED
    out.result(result)
    return Exit.DONE if result.ok else Exit.REFUSED

"""The console that rnnlab prints to."""

import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # rich takes a tenth of a second to import
    from rich.console import Console


def make_console(*, stderr: bool = False, **options: Any) -> "Console":
    """Returns a console of rich, which draws as for a terminal only on a terminal.

    Some programs that start rnnlab, such as Jupyter, set the variable FORCE_COLOR. Rich then takes
    a pipe for a terminal: it draws bars into it and cuts tables to a width that it does not have.
    The variable TTY_COMPATIBLE decides instead.

    Args:
      stderr: whether it prints to stderr instead of stdout.
      options: further arguments of `rich.console.Console`.
    """
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    decides = stream.isatty() or "TTY_COMPATIBLE" in os.environ
    is_terminal = None if decides else False
    return Console(stderr=stderr, force_terminal=is_terminal, **options)

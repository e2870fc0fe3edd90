"""The subcommands of `rnnlab data`, as in `commands.py`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg, subcommand


@dataclass(frozen=True)
class ListDataSets:
    """List the data sets: their size, their license, and whether they are here."""


@dataclass(frozen=True)
class GetDataSets:
    """Copy data sets from a folder, or download them, into the data folder.

    The size and the SHA-256 of every file are compared with the catalog before the file appears.
    A set that is complete is left as it is.
    """

    names: Annotated[Positional[tuple[str, ...]], arg(metavar="NAME", help_behavior_hint="")] = ()
    """Names of data sets; `rnnlab data` lists them."""
    source: Annotated[Path | None, arg(name="from")] = None
    """Folder that has the files, or one folder per data set; default: download them."""


@dataclass(frozen=True)
class VerifyDataSets:
    """Compare the files of data sets with the catalog: their size and their SHA-256.

    A token file is compared with the SHA-256 of its header. The exit code is 3 if a file is missing
    or differs.
    """

    names: Annotated[Positional[tuple[str, ...]], arg(metavar="NAME", help_behavior_hint="")] = ()
    """Names of data sets, or token files; default: all data sets that are here."""


@dataclass(frozen=True)
class PrepareTokens:
    """Write texts of any size as a token file, which `rnnlab run FILE --data Tokens` trains on.

    The texts are read in pieces, so that the memory does not grow with them. Every file is a
    document, and every line of a .jsonl or .ndjson file. The file appears when it is complete.
    """

    files: Annotated[Positional[tuple[Path, ...]], arg(metavar="FILE", help_behavior_hint="")]
    """Text files, folders of them, or glob patterns."""
    out: Path
    """The token file to write, which must not exist."""
    by: str = "characters"
    """What a token is: characters, bytes, or the path of a tokenizer.json of the package
    tokenizers, which the extra `tokenizers` installs."""
    field: str | None = None
    """The key of the text in JSON Lines; default: the only one that has a string in the first line.
    """
    end_token: str | None = None
    """Token of the tokenizer that is added behind every document, as in '<|endoftext|>'."""


@dataclass(frozen=True)
class Data:
    """List, get and verify public data sets, and prepare token files.

    Each set has a folder below the data folder, which the environment variable RNNLAB_DATA names;
    default: ~/.local/share/rnnlab/data. Without a subcommand the sets are listed.
    """

    action: (
        Annotated[ListDataSets, subcommand("list")]
        | Annotated[GetDataSets, subcommand("get")]
        | Annotated[VerifyDataSets, subcommand("verify")]
        | Annotated[PrepareTokens, subcommand("tokens")]
    ) = ListDataSets()

"""A public data set, as its files and where they come from."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

CHECKSUMS = "SHA256SUMS.txt"
"""Name of a list of checksums, in the format of `sha256sum`."""


class DataFile(NamedTuple):
    """One file of a data set.

    Attributes:
      name: its path in the folder of the set.
      sha256: its digest, 64 hexadecimal digits; None: the list of checksums that the source
        publishes, `CHECKSUMS` in the folder of the set, has it. That list itself has none.
      size: its bytes; None: unknown, only the digest is compared.
      url: the address of exactly this file; None: it cannot be downloaded.
    """

    name: str
    sha256: str | None
    size: int | None = None
    url: str | None = None


Form = tuple[DataFile, ...]
"""The files that contain one part of a data set: one file, or a folder of several."""


class DataSet(NamedTuple):
    """A public data set.

    Attributes:
      name: of the set, and of its folder.
      summary: what it is, in one line.
      license: the terms of use.
      source: where the files come from, and what was changed.
      parts: by the name of a part, the forms in which it is accepted, such as a text and the same
        text compressed. The first form is the one that is downloaded.
      documents: files that describe the set. They are copied if they are there.
    """

    name: str
    summary: str
    license: str
    source: str
    parts: Mapping[str, tuple[Form, ...]]
    documents: Form = ()

    def files(self) -> Iterator[DataFile]:
        """Yields every file in every form."""
        for forms in self.parts.values():
            for form in forms:
                yield from form
        yield from self.documents

    def download_form(self, part: str) -> Form | None:
        """Returns the files to download for a part, or None if a file has no address."""
        for form in self.parts[part]:
            if all(file.url is not None for file in form):
                return form
        return None

    @property
    def is_downloadable(self) -> bool:
        """Whether every part has a form whose files all have an address."""
        return all(self.download_form(part) is not None for part in self.parts)

"""Token files: a corpus as token ids on disk, which is read by memory map.

A file has four parts. All numbers are little-endian.

    64 bytes     magic b"RNNTOKEN", version (uint32), bytes of the header (uint32), SHA-256 of the
                 header (32 bytes), zeros
    header       JSON of `Header`, padded with spaces to a multiple of 64 bytes
    tokens       `count` ids of `dtype`, padded with zeros to a multiple of 8 bytes
    documents    uint64: the index of the first token of each document, in increasing order

The header has the SHA-256 of tokens and documents, so the digest of the header is one of the whole.
"""

from rnnlab.tasks.token_files.format import Header as Header
from rnnlab.tasks.token_files.format import TokenFile as TokenFile
from rnnlab.tasks.token_files.format import open_token_file as open_token_file
from rnnlab.tasks.token_files.writing import prepare_token_file as prepare_token_file

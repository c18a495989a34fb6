"""Reading of regular files, and writing of files completely or not at all.

Nothing outside this folder writes files. It imports `errors`.
"""

from tagwise.files.reading import (
    SNIFFED,
    check_regular,
    is_address,
    kind_of,
    open_regular,
    read_json,
    read_text,
    refuse_address,
)
from tagwise.files.stores import (
    FetchError,
    Store,
    open_store,
    read_address,
    with_attempts,
)
from tagwise.files.writing import (
    append_line,
    growing_file,
    make_folder,
    remove_oldest,
    remove_partials,
    removed_on_failure,
    trim_lines,
    whole_file,
)

__all__ = [
    "SNIFFED",
    "FetchError",
    "Store",
    "append_line",
    "check_regular",
    "growing_file",
    "is_address",
    "kind_of",
    "make_folder",
    "open_regular",
    "open_store",
    "read_address",
    "read_json",
    "read_text",
    "refuse_address",
    "remove_oldest",
    "remove_partials",
    "removed_on_failure",
    "trim_lines",
    "whole_file",
    "with_attempts",
]

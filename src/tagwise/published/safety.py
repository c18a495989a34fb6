"""Checking a checkpoint file before torch reads it, with errors that name the type of the file."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn
from zipfile import ZipFile

from tagwise.errors import UserError
from tagwise.files import SNIFFED, check_regular, kind_of, open_regular
from tagwise.published.pickles import scan_pickle, unknown_names

_ZIP = b"PK\3\4"
_OLD_TORCH = (0x1950A86A20F9469CFC6C).to_bytes(10, "little")  # magic number of torch < 1.6
_OLD_PICKLES = 5  # in a file of torch < 1.6: magic number, version, machine, content, storages
_SPARE_BYTES = 64 << 20  # that the content of a file of any size may take

_SPARE_PYTHON = (
    "in a disposable environment: python -c \"import torch; c = torch.load('IN.pth', "
    "map_location='cpu', weights_only=False); torch.save({}, 'OUT.pth')\", and give OUT.pth"
)
_CODE = (
    "{path} contains more than tensors ({names}), which could run any code when it is read; "
    "nothing was read. If you trust its author, save only its tensors, "
    + _SPARE_PYTHON.format("c.get('state_dict', c)")
)
_NETWORK = (
    "{path} contains a whole network with its code ({names}), not only tensors; nothing was "
    "read. If you trust its author, save its tensors where its program is installed, "
    + _SPARE_PYTHON.format("c.state_dict()")
)
_YOLO = (
    "{path} is a checkpoint of Ultralytics YOLO, a network without tags, which tagwise cannot run; "
    "`tagwise train` trains a model on your own labels"
)
_OTHER_PICKLE = (
    "{path} uses a pickle protocol other than the default of torch.save ({names}); nothing was "
    "read. Save it again with torch.save(CONTENT, FILE), in the environment that wrote it"
)
_MESSAGES = (
    (("ultralytics.", "models.yolo.", "models.common."), _YOLO),
    (("pickle instruction ",), _OTHER_PICKLE),
    (("torch.nn.modules.",), _NETWORK),
    (("",), _CODE),
)
"""Prefixes of names, and the message for a checkpoint with such a name; the first match is used."""


def check_checkpoint(path: Path) -> None:
    """Check a whole file without creating objects from its content.

    Raises UserError unless torch.save or safetensors wrote it: for files of other types, damaged
    files, pickles that name more than tensors need or are nested too deeply, and archives that
    would unpack to far more than their size.
    """
    if check_regular(path, "checkpoint").st_size == 0:
        raise cut_short(path, "it has 0 bytes")
    with open_regular(path, "checkpoint") as file:
        head = file.read(SNIFFED)
    if kind_of(head) == "a safetensors file":
        return
    if path.suffix == ".safetensors":
        refuse(path, "safetensors file", "; it may be cut short: get it again")
    try:
        if _ZIP.startswith(head[:4]):
            names = _names_of_zip(path)
        elif head[:1] == b"\x80" and (len(head) < 64 or _OLD_TORCH in head[:64]):
            names = _names_of_pickles(path)
        elif head[:1] == b"\x80":
            raise UserError(
                f"{path} is a pickle that torch.save did not write; nothing was read, since a "
                "pickle can run any code. Give a file written by torch.save or safetensors"
            )
        else:
            refuse(path, "checkpoint", "; give a file written by torch.save or safetensors")
    except UserError:
        raise
    except Exception as error:  # damaged archives and pickles can raise any error
        raise cut_short(path, error) from error
    refuse_code(path, unknown_names(names))


def allowed_bytes(path: Path) -> int:
    """The number of bytes that the content of a file may take in memory."""
    return 4 * path.stat().st_size + _SPARE_BYTES


def refuse(path: Path, what: str, hint: str = "") -> NoReturn:
    """Raise UserError that names the type of a file and the expected type."""
    with open_regular(path, what) as file:
        head = file.read(SNIFFED)
    content = kind_of(head) or f"of an unknown type, which begins with {head[:8].hex(' ')}"
    raise UserError(f"{path} is not a {what} but {content}{hint}")


def refuse_code(path: Path, names: list[str]) -> None:
    """Raise UserError if a pickle uses names that do not belong in a checkpoint."""
    if not names:
        return
    text = next(t for prefix, t in _MESSAGES if any(name.startswith(prefix) for name in names))
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    raise UserError(text.format(path=path, names=", ".join(names[:3])[:200] + more))


def cut_short(path: Path, reason: object) -> UserError:
    """The error for a damaged checkpoint; reason: an exception or a text."""
    text = " ".join(str(reason).split())[:150] or type(reason).__name__
    return UserError(
        f"{path} is not a readable checkpoint ({text}); it may be truncated: get it again"
    )


def _names_of_zip(path: Path) -> set[str]:
    """Names in the pickles of a ZIP archive. Raises UserError unless torch.save wrote it."""
    with ZipFile(path) as archive:
        entries = archive.infolist()
        files = [entry.filename for entry in entries]
        pickles = [each for each in entries if each.filename.endswith("/data.pkl")]
        if not pickles or any("/code/" in name for name in files):
            raise UserError(f"{path} is not a checkpoint but {_type_of_zip(files)}")
        if sum(entry.file_size for entry in entries) > allowed_bytes(path):
            raise UserError(f"{path} would unpack to far more than its size, unlike a checkpoint")
        names: set[str] = set()
        for each in pickles:
            with archive.open(each) as stream:
                names |= scan_pickle(stream)
    return names


def _type_of_zip(files: list[str]) -> str:
    """The type of a ZIP archive with these files, and what to give instead."""
    if any("/code/" in name for name in files):
        return "a TorchScript program; give the checkpoint that it was exported from"
    if "config.json" in files and any(name.endswith(".h5") for name in files):
        return "a Keras model; give a file written by torch.save or safetensors"
    if files and all(name.endswith(".npy") for name in files):
        return "a NumPy archive; give a file written by torch.save or safetensors"
    some = ", ".join(files[:3])[:200]
    return f"a ZIP archive that torch.save did not write, with {len(files)} files ({some})"


def _names_of_pickles(path: Path) -> set[str]:
    """Names in the pickles at the beginning of a file of torch < 1.6."""
    with open_regular(path, "checkpoint") as file:
        return set().union(*(scan_pickle(file) for _ in range(_OLD_PICKLES)))

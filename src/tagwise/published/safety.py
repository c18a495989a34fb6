"""What a checkpoint file is, found out before torch reads it; what is none is named and refused."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn
from zipfile import ZipFile

from tagwise.errors import UserError
from tagwise.files import SNIFFED, check_regular, kind_of, open_regular
from tagwise.published.pickles import scan_pickle, unknown_names

_ZIP = b"PK\3\4"
_OLD_TORCH = (0x1950A86A20F9469CFC6C).to_bytes(10, "little")  # begins what torch < 1.6 wrote
_OLD_PICKLES = 5  # of which that consists: the number, a version, the machine, content, storages
_SPARE_BYTES = 64 << 20  # that its content may take in any case

_SPARE_PYTHON = (
    "in an environment that you can spare: python -c \"import torch; c = torch.load('IN.pth', "
    "map_location='cpu', weights_only=False); torch.save({}, 'OUT.pth')\", and give OUT.pth"
)
_CODE = (
    "{path} holds more than tensors ({names}), which could run any code when it is read; nothing "
    "was read. If you trust who made it, save its tensors alone, "
    + _SPARE_PYTHON.format("c.get('state_dict', c)")
)
_NETWORK = (
    "{path} holds a whole network with its code ({names}), not its tensors alone; nothing was "
    "read. If you trust who made it, save these, where its program is installed, "
    + _SPARE_PYTHON.format("c.state_dict()")
)
_YOLO = (
    "{path} is a checkpoint of Ultralytics YOLO, a network without tags, which tagwise cannot run; "
    "`tagwise train` makes a model of your own labels"
)
_OTHER_PICKLE = (
    "{path} is pickled in another way than torch.save does by itself ({names}); nothing was read. "
    "Save it again with torch.save(CONTENT, FILE), where it was made"
)
_SAID = (
    (("ultralytics.", "models.yolo.", "models.common."), _YOLO),
    (("pickle instruction ",), _OTHER_PICKLE),
    (("torch.nn.modules.",), _NETWORK),
    (("",), _CODE),
)
"""What to say of a checkpoint that names anything which begins so; the first that fits."""


def check_checkpoint(path: Path) -> None:
    """Look at a file from end to end without reading its content as objects.

    Raises UserError unless it is what torch.save or safetensors writes: for other kinds of files,
    damaged ones, pickles that name more than tensors need or are nested without end, and archives
    that would unpack to far more than their size.
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
                "pickle can run any code. Give what torch.save or safetensors wrote"
            )
        else:
            refuse(path, "checkpoint", "; give what torch.save or safetensors wrote")
    except UserError:
        raise
    except Exception as error:  # archives and pickles fail in as many ways as they are damaged
        raise cut_short(path, error) from error
    refuse_code(path, unknown_names(names))


def allowed_bytes(path: Path) -> int:
    """How much memory the content of a file may take."""
    return 4 * path.stat().st_size + _SPARE_BYTES


def refuse(path: Path, what: str, hint: str = "") -> NoReturn:
    """Raises UserError that says what a file is in place of what it should be."""
    with open_regular(path, what) as file:
        head = file.read(SNIFFED)
    is_a = kind_of(head) or f"something unknown, which begins with {head[:8].hex(' ')}"
    raise UserError(f"{path} is no {what} but {is_a}{hint}")


def refuse_code(path: Path, names: list[str]) -> None:
    """Raises UserError if a pickle names more than a checkpoint needs; names: what it is."""
    if not names:
        return
    text = next(t for begins, t in _SAID if any(name.startswith(begins) for name in names))
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    raise UserError(text.format(path=path, names=", ".join(names[:3])[:200] + more))


def cut_short(path: Path, reason: object) -> UserError:
    """The error for a checkpoint that is damaged; reason: an exception or words."""
    text = " ".join(str(reason).split())[:150] or type(reason).__name__
    return UserError(
        f"{path} is no readable checkpoint ({text}); it may be cut short: get it again"
    )


def _names_of_zip(path: Path) -> set[str]:
    """What the pickles of a zip archive name. Raises UserError unless torch.save wrote it."""
    with ZipFile(path) as archive:
        entries = archive.infolist()
        files = [entry.filename for entry in entries]
        pickles = [each for each in entries if each.filename.endswith("/data.pkl")]
        if not pickles or any("/code/" in name for name in files):
            raise UserError(f"{path} is no checkpoint but {_kind_of_zip(files)}")
        if sum(entry.file_size for entry in entries) > allowed_bytes(path):
            raise UserError(f"{path} would unpack to far more than its size; it is no checkpoint")
        names: set[str] = set()
        for each in pickles:
            with archive.open(each) as stream:
                names |= scan_pickle(stream)
    return names


def _kind_of_zip(files: list[str]) -> str:
    """What a zip archive is that holds these files."""
    if any("/code/" in name for name in files):
        return "a TorchScript program; give the checkpoint of the network that it was made from"
    if "config.json" in files and any(name.endswith(".h5") for name in files):
        return "a Keras model; give what torch.save or safetensors wrote"
    if files and all(name.endswith(".npy") for name in files):
        return "a NumPy archive; give what torch.save or safetensors wrote"
    some = ", ".join(files[:3])[:200]
    return f"a ZIP archive that torch.save did not write, with {len(files)} files ({some})"


def _names_of_pickles(path: Path) -> set[str]:
    """What the pickles at the beginning of a file of torch < 1.6 name."""
    with open_regular(path, "checkpoint") as file:
        return set().union(*(scan_pickle(file) for _ in range(_OLD_PICKLES)))

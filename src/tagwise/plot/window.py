"""Pictures on the screen: in a notebook, or in a window of tkinter, which comes with Python."""

from __future__ import annotations

import sys
from contextlib import suppress
from types import ModuleType
from typing import TYPE_CHECKING, Any

from PIL import Image

from tagwise.errors import UserError

if TYPE_CHECKING:
    import numpy as np

_MOST = 0.85  # share of the screen that a picture may fill; larger ones are shown smaller


class Window:
    """A window that shows one picture after another.

    title: the text of its title bar. The keys Q and Escape close it, as its button does.
    closed: whether the user closed it; pictures after that are not shown.

    Raises UserError, which says what to do instead, if there is no display or no tkinter.
    """

    def __init__(self, title: str) -> None:
        self.closed = False
        try:
            tkinter = _tkinter()
            self._root = tkinter.Tk()
        except ImportError as error:
            raise UserError(
                "showing pictures needs tkinter (Debian: apt install python3-tk); save them instead"
            ) from error
        except tkinter.TclError as error:
            raise UserError(
                f"there is no display to open a window on ({error}); save the pictures instead"
            ) from error
        self._root.title(title)
        self._label = tkinter.Label(self._root, borderwidth=0)
        self._label.pack()
        self._root.protocol("WM_DELETE_WINDOW", self.close)
        for key in ("<q>", "<Escape>"):
            self._root.bind(key, lambda _: self.close())

    def show(self, picture: Image.Image | np.ndarray) -> None:
        """Show a picture, (H, W, 3) uint8 RGB or of Pillow, in place of the one before."""
        if self.closed:
            return
        picture = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
        most = (self._root.winfo_screenwidth(), self._root.winfo_screenheight())
        share = min(1, *(_MOST * side / own for side, own in zip(most, picture.size)))
        if share < 1:
            picture = picture.resize([max(1, round(share * side)) for side in picture.size])
        photo = _image_tk().PhotoImage(picture, master=self._root)
        self._label.configure(image=photo)
        self._shown = photo  # tkinter does not keep it
        with suppress(_tkinter().TclError):  # closed in the meantime
            self._root.update()

    def wait(self) -> None:
        """Return once the user has closed the window."""
        if not self.closed:
            self._root.mainloop()

    def close(self) -> None:
        """Close the window."""
        if not self.closed:
            self.closed = True
            self._root.destroy()


def show_picture(picture: Image.Image, title: str) -> None:
    """Show a picture in the notebook that runs this, or in a window until the user closes it.

    Raises UserError if there is neither a notebook nor a display.
    """
    notebook = _notebook()
    if notebook is not None:
        notebook.display(picture)
        return
    window = Window(title)
    window.show(picture)
    window.wait()


def _notebook() -> Any:
    """The display functions of the Jupyter notebook that runs this program, or None."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return sys.modules.get("IPython.display") if getattr(shell, "kernel", None) else None


def _tkinter() -> ModuleType:
    import tkinter

    return tkinter


def _image_tk() -> ModuleType:
    from PIL import ImageTk

    return ImageTk

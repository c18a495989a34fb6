"""A small published checkpoint, a server that sends it, and an empty cache."""

import cv2
import numpy as np
import pytest

from checkpoints import published
from servers import digest, serving, tiny_registry
from tagwise.models.hrnet import HigherHRNet
from tagwise.published import registry

NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "TAGWISE_OFFLINE", "TAGWISE_KEEP_ORIGINALS")


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """The bytes of a HigherHRNet of width 8 for 17 keypoint types, as its authors would save it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("tiny"))
        net = HigherHRNet(8, 17, 17)
        published(net, "module.", net.final_layers)
        with open("weights.pth", "rb") as file:
            return file.read()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The folder of the cache, which does not exist yet; the working folder has photo.png."""
    monkeypatch.chdir(tmp_path)
    rough = np.random.default_rng(1).integers(0, 256, (12, 16, 3), np.uint8)
    cv2.imwrite("photo.png", cv2.resize(rough, (121, 90), interpolation=cv2.INTER_CUBIC))
    for name in (*NAMES, *map(str.lower, NAMES)):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "cache"
    monkeypatch.setenv("TAGWISE_HOME", str(folder))
    return folder


@pytest.fixture
def server(checkpoint, cache, monkeypatch):
    """A server of the checkpoint, which the mirror setting names."""
    with serving(checkpoint) as running:
        monkeypatch.setenv("TAGWISE_MIRROR", running.address)
        yield running


@pytest.fixture
def use(monkeypatch):
    """Replace the registry by one with tiny-hrnet: use(checksum, size, ...)."""

    def replace(*arguments, **facts):
        made = tiny_registry(*arguments, **facts)
        monkeypatch.setattr(registry, "registry", lambda: made)
        return made.public["tiny-hrnet"]

    return replace


@pytest.fixture
def known(use, checkpoint):
    """tiny-hrnet with its size and whole checksum."""
    return use(digest(checkpoint), len(checkpoint))

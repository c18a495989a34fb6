"""A server with shipped models, without a socket."""

from pathlib import Path

import pytest

pytest.importorskip("starlette", reason="needs tagwise[serve]")

from starlette.testclient import TestClient

from tagwise.commands.models import list_models
from tagwise.serving.app import create_app
from tagwise.serving.models import ModelStore
from tagwise.serving.options import ServeOptions
from tagwise.serving.state import State

PHOTOS = Path(__file__).parents[2] / "examples" / "photos"


@pytest.fixture(scope="session")
def photo():
    """The bytes of a photo with two people."""
    return (PHOTOS / "basketball1.jpg").read_bytes()


@pytest.fixture(scope="session")
def store():
    shipped = [model.name for model in list_models() if model.state == "shipped"]
    return ModelStore(["people"], shipped, "cpu")


@pytest.fixture
def make_client(store):
    """A function from options of a server to a client of it."""
    opened = []

    def make(labelled=None, store=store, **options):
        state = State(ServeOptions(**options), store, [{"name": "people"}], labelled)
        client = TestClient(create_app(state), base_url="http://localhost:8000")
        opened.append(client.__enter__())
        return client

    yield make
    for client in opened:
        client.__exit__(None, None, None)


@pytest.fixture
def client(make_client):
    return make_client()

"""Small models behind a server, for the tests of `rnnlab.serve`."""

import contextlib
import functools
from importlib.util import find_spec

import httpx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab.models.config import ModelConfig
from rnnlab.models.generate import generate
from rnnlab.serve.app import make_app
from rnnlab.serve.interface import Interface
from rnnlab.serve.jax_slots import JaxSlots
from rnnlab.serve.limits import Limits
from rnnlab.serve.server import running_in_thread
from rnnlab.serve.service import Service
from rnnlab.serve.versions import Versions

needs_server = pytest.mark.skipif(not find_spec("uvicorn"), reason="the extra serve is missing")

VOCABULARY = tuple("abcdefghijk")


class LazySlots(JaxSlots):
    """Slots that compile what a test uses, and nothing before."""

    def warm_up(self):
        pass


@functools.cache
def text_model(seed=0):
    """A model of text whose predictions are far from uniform."""
    config = ModelConfig("mingru", width=8, depth=1, mlp_expansion=None)
    size = len(VOCABULARY)
    model = config.build(size, vocab_size=size, rngs=nnx.Rngs(seed))
    model.head_kernel[...] = 60 * model.head_kernel[...]
    model.eval()
    return model


def value_model(seed=0):
    """A model that reads two values per time step and predicts three."""
    config = ModelConfig("mingru", width=8, depth=1, mlp_expansion=None)
    model = config.build(3, in_features=2, rngs=nnx.Rngs(seed))
    model.eval()
    return model


def add_version(versions, model, limits, digest="0" * 64, slots=LazySlots, **options):
    """Adds a version to a server's versions and returns it."""
    vocabulary = VOCABULARY if model.in_features is None else ()
    made = slots(model, limits.slots, limits.per_event)
    return versions.add(digest, Interface.of(model, vocabulary), made, **options)


def make_service(model=None, audit=None, audit_text=False, **limits):
    """Returns a service of one version that gets all sessions."""
    limits = Limits(**{"slots": 4, "queue": 8, "per_event": 3, **limits})
    versions = Versions("m")
    version = add_version(versions, text_model() if model is None else model, limits)
    versions.set_shares({version.number: 1.0})
    return Service(versions, limits, audit=audit, audit_text=audit_text)


@contextlib.contextmanager
def client_of(service, **options):
    """Yields an HTTP client of a service that runs on a loopback port."""
    with (
        running_in_thread(make_app(service, **options), service) as port,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client,
    ):
        yield client


def tokens_alone(model, prompt, length, seed=0, temperature=0.8, top_k=None, top_p=None):
    """The tokens of `rnnlab.generate`, which uses neither slots nor buckets."""
    key = jax.random.key(seed)
    options = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
    return np.asarray(generate(model, jnp.asarray(prompt), length, key, **options)).tolist()


def text_alone(model, text, length, **options):
    """The text of `tokens_alone`."""
    prompt = [VOCABULARY.index(symbol) for symbol in text]
    return "".join(VOCABULARY[token] for token in tokens_alone(model, prompt, length, **options))

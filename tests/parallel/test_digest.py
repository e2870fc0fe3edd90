"""The digest of an array is the same for every sharding and dtype, on the host and on devices."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from rnnlab.parallel.digest import digest

pytestmark = pytest.mark.devices(4)

DTYPES = (np.float32, np.float16, ml_dtypes.bfloat16, np.int32, np.uint8, np.bool_, np.complex64)
SPECS = (("a", "b"), ("b", None), (None, "a"), (None, ("a", "b")), (None, None))


@pytest.mark.parametrize("dtype", DTYPES)
def test_digest_is_equal_for_all_shardings(dtype):
    x = np.random.default_rng(0).standard_normal((8, 12)).astype(np.float32) * 40
    x = (x > 0) if dtype == np.bool_ else np.abs(x).astype(dtype)
    known = digest(x)
    mesh = jax.make_mesh((2, 2), ("a", "b"))
    assert digest(jnp.asarray(x)) == known
    for spec in SPECS:
        assert digest(jax.device_put(x, NamedSharding(mesh, PartitionSpec(*spec)))) == known
    assert digest(x.T) != known


def test_digest_of_scalars_and_empty_arrays_is_defined():
    assert digest(np.array(3)) != digest(np.array(4))
    assert digest(np.zeros(0)) == "0" * 32
    assert digest(jnp.zeros((2, 0))) == "0" * 32

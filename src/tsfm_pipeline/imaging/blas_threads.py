"""Matrix products with one thread.

Threads of BLAS spin while they wait for each other. For small products on a machine that has other
work, too, that takes a hundred times as long as the products themselves.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute numpy's matrix products with one thread; entering takes less than 0.1 ms.

    The limit is that of the process: of two Python threads that enter and leave in turns, one may
    compute with more, or leave it at one thread. Results are the same.
    """
    with _blas().limit(limits=1):
        yield


@cache
def _blas() -> ThreadpoolController:
    """Find the BLAS libraries that are loaded, numpy's among them; it takes more than a limit."""
    return ThreadpoolController().select(user_api="blas")

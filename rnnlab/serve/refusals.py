"""The errors with which the scheduler refuses a job or ends it."""

from rnnlab.serve.jobs import RequestError


def ended(reason: str) -> RequestError:
    """Returns the error of a job on a stream that has ended for a reason.

    >>> ended("released").status
    404
    """
    return RequestError(
        404,
        f"sequence_id must name a sequence that is alive, but it ended: {reason}; start it again "
        "with sequence_start",
        field="sequence_id",
        reason="sequence",
    )


def busy() -> RequestError:
    """Returns the error of a second job on a stream."""
    return RequestError(
        409,
        "a sequence must have one request at a time, got a second one; wait for the answer to the "
        "first",
        field="sequence_id",
        reason="sequence",
    )


def overload(limit: int, retry_after: int) -> RequestError:
    """Returns the error of a job that finds `limit` others waiting.

    >>> overload(2, 5).retry_after
    5
    """
    return RequestError(
        429,
        f"at most {limit} requests may wait for a slot, and as many do; retry later",
        reason="overload",
        retry_after=retry_after,
    )


def closed() -> RequestError:
    """Returns the error of a job that arrives while the server shuts down."""
    return RequestError(
        503,
        "the server must accept requests, but it shuts down; use another one",
        reason="shutdown",
        retry_after=1,
    )


def shutting_down() -> RequestError:
    """Returns the error of a job that runs when the server shuts down."""
    return RequestError(
        503,
        "the server shuts down and ended the request; use another server",
        reason="shutdown",
        retry_after=1,
    )


def cancelled() -> RequestError:
    """Returns the error of a job whose client has gone, which receives it no more."""
    return RequestError(499, "the client disconnected", reason="cancelled")


def overdue(seconds: float) -> RequestError:
    """Returns the error of a job that was not ready after some seconds.

    >>> overdue(1.25).message.partition(";")[0]
    'the request must end before its timeout, but it did not after 1.2 s'
    """
    return RequestError(
        504,
        f"the request must end before its timeout, but it did not after {seconds:.1f} s; raise "
        "timeout or ask for fewer tokens",
        field="timeout",
        reason="deadline",
    )


def not_finite(where: str) -> RequestError:
    """Returns the error of a job whose predictions are NaN or infinite at a place.

    >>> not_finite("token 3").reason
    'not_finite'
    """
    return RequestError(
        500,
        f"the predictions must be finite, but they are NaN or infinite at {where}; the other "
        "streams are not affected; restart this one with other inputs",
        reason="not_finite",
    )


def device_failed(error: Exception) -> RequestError:
    """Returns the error of all jobs of a version whose call of the device failed."""
    message = f"the device call failed: {error}; see the log of the server"
    return RequestError(500, message, reason="device")

"""Quaternions q and −q are the same orientation; a policy and a world model read them as two."""

import numpy as np


def with_sign_of(before: np.ndarray, now: np.ndarray) -> np.ndarray:
    """`now` (4,), or −`now` where that is nearer to the quaternion `before`.

    Several Meta-World tasks compute quaternions from rotation matrices, which leaves the sign to rounding and to the
    branch of the algorithm: a ball that rolls then jumps between q and −q, which no model can predict. Followed from
    step to step, a rotation is continuous.
    """
    return -now if float(before @ now) < 0 else now

"""Types of arrays by what is in them, for every module that names one."""

import numpy as np
from numpy.typing import NDArray

Booleans = NDArray[np.bool_]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Records = NDArray[np.void]  # rows of a structured type, most of rooney.kernels.dtypes

"""Linear algebra, under PyTorch's names."""

from .tensor.norms import linalg_norm as norm
from .tensor.norms import matrix_norm, vector_norm

__all__ = ["matrix_norm", "norm", "vector_norm"]

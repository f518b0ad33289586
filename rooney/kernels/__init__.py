"""Compiled code on arrays and records. Imports nothing but numpy and numba.

Kernels use `math.*` and explicit loops only, never numpy reductions and never fastmath: results are the same bits with
the JIT on and off, on every machine.
"""

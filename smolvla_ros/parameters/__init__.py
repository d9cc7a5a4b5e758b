"""The parameters of every node, each declared once: descriptors, checks and the documentation come from here."""

from .table import Parameter, ParameterError, check_values, expand

__all__ = ["Parameter", "ParameterError", "check_values", "expand"]

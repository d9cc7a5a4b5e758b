"""The parameters of every node, each declared once: descriptors, checks, typed settings and the documentation."""

from .declaration import ParameterSet, parameter, records
from .table import Parameter, ParameterError, Value, check_values, expand, is_topic_name

__all__ = ["Parameter", "ParameterError", "ParameterSet", "Value", "check_values", "expand", "is_topic_name",
           "parameter", "records"]  # fmt: skip

"""The paper's claims, measured: exact parts, coupled variables, COVID-19 with and without the future, real panels."""

from harmonia.sequences.regenn.claims import coupling, covid, exact, panels

__all__ = ["coupling", "covid", "exact", "panels"]

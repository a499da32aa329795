"""Claims by idea: laws of the features, tables, adapters."""

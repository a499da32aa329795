"""Command line, web page, report and docs: written once, over all methods; no method is named here."""

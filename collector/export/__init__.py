"""Turns a stretch of the ledger into files that a stranger can open. Writes nothing to the ledger itself."""

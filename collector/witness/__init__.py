"""A witness that somebody else runs: it cosigns a ledger's checkpoints only if each continues the one before.

``service.py`` decides, ``store.py`` remembers, ``keeper.py`` joins both with the witness's key, ``server.py`` speaks
HTTP. Nothing in here knows the ledger's entries, its database or its configuration: a witness sees tree heads only.
"""

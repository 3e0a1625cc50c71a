"""Places outside that hold checkpoints where the collector cannot change them. One file per kind of place.

``base.py`` is the contract that each keeps. Judges nothing, and writes nothing into the ledger: ``operation.py`` does.
"""

"""The append-only log: what was written, how it hangs together, who signed it. No verdicts and no clouds in here."""

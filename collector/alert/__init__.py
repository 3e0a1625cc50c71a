"""Who is told what, once. No verdicts are made in here."""

"""Pure mathematics of time: slots, coverage, drift, deviations. No clock, no store, no cloud in here."""

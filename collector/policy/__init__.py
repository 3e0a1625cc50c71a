"""The least rights that the enabled checks need, in the words of each cloud. Asks no cloud anything."""

"""Checks of one Google organization."""

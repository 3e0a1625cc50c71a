"""Checks of one AWS account."""

"""Simulated clouds that speak the real APIs, and the story of a window. What the demo and the tests run against."""

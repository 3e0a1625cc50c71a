"""A simulated Google Cloud organisation with its Workspace, on Google's own wire protocols."""

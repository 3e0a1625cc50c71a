"""The checks that ship with the collector. One file, one check; README.md says how to write one."""

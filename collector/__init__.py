"""The evidence collector: asks clouds how controls really are, and keeps what was answered as evidence."""

__version__ = "0.1.0"

"""The only rooms that import a cloud SDK: a question goes in, an answer that is kept comes out."""

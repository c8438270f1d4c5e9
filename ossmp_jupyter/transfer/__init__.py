"""The engine: a source becomes an object. Knows ``oss``, knows nothing of Jupyter."""

"""Score millions of rows with the pinned model: an Apache Beam pipeline, and a helper for other engines."""

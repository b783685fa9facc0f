"""Background work: what runs next, and in which thread."""

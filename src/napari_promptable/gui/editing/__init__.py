"""The window in which objects are classified, touched up, measured and exchanged."""

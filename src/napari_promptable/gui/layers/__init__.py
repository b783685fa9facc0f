"""The napari layers that the widget reads and writes."""

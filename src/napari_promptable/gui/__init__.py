"""The dock widget; the only place that imports napari, Qt, magicgui and superqt."""

"""The dock widget. Only this folder imports napari, Qt, magicgui and superqt."""

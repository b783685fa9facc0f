"""What the buttons and keys of the widget do."""

"""Changes about named things, one file per noun, and what an ask gets back."""

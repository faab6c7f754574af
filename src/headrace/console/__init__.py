"""The web pages; a client of the public API only. Built with a later issue."""

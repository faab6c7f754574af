"""The generated pages of the reference, one file per page. Each makes its whole text from the code and writes nothing."""

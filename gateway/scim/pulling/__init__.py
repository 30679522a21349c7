"""Reading a directory's own list and comparing it with what is here."""

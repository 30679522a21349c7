"""The declarative file: what an installation shall look like, compared with what it is, and made so."""

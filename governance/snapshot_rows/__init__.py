"""Governed rows as the values that snapshots are made of: of some ids, or of all. The caller holds the transaction."""

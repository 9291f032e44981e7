"""The archive's catalogue: what lies in the roots, what is new there, and what is gone."""

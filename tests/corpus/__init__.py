"""Media files, most of them bad in one way each, and what must become of every one."""

"""What the pages read, by room: functions from the database to frozen dataclasses."""

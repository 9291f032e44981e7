"""The stage audio.transcribe: who says what, and when."""

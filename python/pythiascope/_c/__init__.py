"""The C library: its structures, and the loaded library itself."""

"""One outside thing each, never each other; they translate library errors into Temporary and Permanent ones."""

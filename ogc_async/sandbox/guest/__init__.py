"""A machine's operating system, as far as user data reaches it: its files, its boots, its timers, its way to end."""

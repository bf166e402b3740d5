"""The rooms: built-in stages. The engine finds them by entry point, like any user's own."""

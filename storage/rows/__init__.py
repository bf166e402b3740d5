"""How rows and their keys lie in memory and in files, whatever the tier."""

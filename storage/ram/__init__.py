"""The RAM tier: a cache of rows, or all of them, of one process or shared by many."""

"""YAML configuration: read, checked and explained before anything starts.

`loading.load` is the way in: text → `document` (a tree with line numbers) → `decoding` (typed
`settings`) → stages by `kinds` → compiled pipelines.
"""

"""Every kind of file that a table can be made of, by its suffix."""

from __future__ import annotations

from pathlib import Path

from sedp.errors import ConfigError
from sedp.storage.imports.arrow_file import open_arrow
from sedp.storage.imports.npz_file import open_npz
from sedp.storage.imports.parquet_file import open_parquet
from sedp.storage.imports.safetensors_file import open_safetensors
from sedp.storage.imports.table_file import TableFile

_ARRAYS = {".npz": open_npz, ".safetensors": open_safetensors}
_COLUMNS = {
    ".parquet": open_parquet,
    ".arrow": open_arrow,
    ".arrows": open_arrow,
    ".feather": open_arrow,
}


def open_table_file(
    path: Path,
    *,
    dtype: str = "",
    columns: tuple[str, ...] = (),
    id_column: str = "",
    tensor: str = "",
) -> TableFile:
    """Open a file for an import.

    Args:
        dtype: of the table; "" takes the nearest to the file's own.
        columns: of a file of columns: what makes a row, in this order, `()` all but the ids. Of a
            file of arrays: names for the numbers of a row.
        id_column: of a file of columns: where the keys are; "" is "id".
        tensor: of a file of arrays: the one of rows whose keys are 0, 1, 2, …; "" looks for `keys`
            and `rows`, and takes the only array of a file that has but one.

    Raises:
        ConfigError: the suffix is not known, or a setting is of the other kind of file.
        StoreError: it cannot be read, or no table can be made of it.
    """
    if path.suffix in _ARRAYS:
        if id_column:
            raise ConfigError(
                f"{path}: --id {id_column!r} is for {', '.join(_COLUMNS)}; leave it out"
            )
        return _ARRAYS[path.suffix](path, dtype, columns, tensor)
    if path.suffix in _COLUMNS:
        if tensor:
            raise ConfigError(
                f"{path}: --tensor {tensor!r} is for {', '.join(_ARRAYS)}; leave it out"
            )
        return _COLUMNS[path.suffix](path, dtype, columns, id_column)
    raise ConfigError(
        f"{path}: suffix {path.suffix!r} is not known; use {', '.join([*_ARRAYS, *_COLUMNS])}"
    )

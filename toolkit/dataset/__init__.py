"""The format of datasets on disk: synthesis writes it, finetuning reads it.

A dataset is a folder with ``README.md`` (the data card), ``config.json``, ``manifest.json``, ``preview.png`` and shards
under ``data/``. `layout` names the files, `writer` and `reader` handle the shards, `check` validates a folder,
`preview` and `card` describe it, and `videos` writes its clips as videos.
"""

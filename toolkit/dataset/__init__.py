"""The dataset's format on disk: what synthesis writes and finetuning reads.

A dataset is a folder with ``README.md`` (data card), ``config.json``, ``manifest.json``, ``preview.png`` and shards
under ``data/``, one per stretch of one source. `layout` names the files, `writer` and `reader` are the two ends,
`check` validates a folder, `preview` and `card` describe it.
"""

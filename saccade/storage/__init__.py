"""Files and folders: written whole, read with bounds, and distinguished from those of other programs.

`structured` reads JSON and TOML from outside, `files` and `folders` replace what they write in one step,
`leftovers` removes what killed processes left, and `digests` notices changes. `foreign` names the folders of
other programs; `caches` finds private places for compiled code.
"""

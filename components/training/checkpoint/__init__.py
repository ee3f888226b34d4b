"""Checkpoints that any layout can continue from.

A checkpoint is a folder, `iteration-0000040/`, of

- `rank-00003.safetensors`, one per rank that wrote it: float32 weights and Adam moments, in no particular layout.
  For each parameter of which the rank owns a part, under its Hugging Face name, there are the flat float32 tensors
  `<name>.master`, `<name>.exp_avg` and `<name>.exp_avg_sq`. The metadata in the file's header is one JSON record,
  `meditron`: where each part lies in the whole parameter (`fragments`: name → the attributes of `fragments.Place`),
  and how many steps the optimizer took (`step`).
- `checkpoint.json`, the marker: iteration, layout that wrote it (for people), and size and SHA-256 of each file.

What a run needs besides is a pure function of (seed, iteration): which samples come next (`batch.py`), and the random
numbers of an iteration (`trainer.py`), which also depend on the rank: in another layout they are others. The model's
own weights, where they are bfloat16, are the float32 weights rounded.

Each rank copies what it owns and writes the copy while training goes on, in a hidden folder. When the files of all
ranks are on disk, the main rank writes the marker and gives the folder its name. On S3 (`store.py`) there are no
hidden folders: a checkpoint is there from the moment that it has its marker. So a checkpoint is complete or not
there; and because every file is checked before a checkpoint is used, damage done later is noticed, too.

To resume, each rank looks through the files and reads the elements that it owns now. The layout it was written by is
no special case: the continuation is then bit for bit the uninterrupted run.
"""

from components.training.checkpoint.checkpoints import CheckpointError, Checkpoints
from components.training.checkpoint.store import open_store

__all__ = ["CheckpointError", "Checkpoints", "open_store"]

"""Training with tensor, pipeline and data parallelism: continued pretraining and supervised fine-tuning.

Start reading at `stage.py` (what a stage does), `worker.py` (what each rank runs) and `trainer.py` (the loop).
`models/` are plain torch modules, `parallel/` the pieces that split them, `engine/` the DeepSpeed engine behind a
small seam, `data/` the samples.
"""

"""What a training run will need and take, computed before it is started: memory, communication, time, energy.

Formulas follow what the engine does (`components.training.engine`); nothing here imports torch. The assumptions and
how well the predictions fit published figures are in docs/planner.md.
"""

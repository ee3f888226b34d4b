"""The recipe's questions as tasks for lm-evaluation-harness, so that a second program can check our scores.

Tasks are generated, not kept as files of their own: what they say follows from the benchmark's YAML, the prompt
code, and the model's tokenizer and context length. Task files with prompts copied by hand would drift from these
without anybody noticing. What is generated is plain data, a YAML and a JSON-lines file per benchmark; none of our
code runs inside lm-eval, and lm-eval is not imported here.
"""

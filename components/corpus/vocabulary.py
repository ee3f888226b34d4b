"""The special tokens of the corpus's vocabulary."""

from components.corpus import markup
from components.platform import chat

UNK, BOS, EOD, PAD = BASE_TOKENS = ("<unk>", "<s>", "</s>", "<pad>")
ADDED_TOKENS = (*markup.TOKENS, *chat.SPECIAL_TOKENS)
BYTES = 256
SMALLEST_VOCABULARY = BYTES + len(BASE_TOKENS) + len(ADDED_TOKENS)

"""GAP-Replay: clinical Guidelines, PubMed Abstracts and Papers, and general text to Replay (Meditron, Table 1).

From raw files to training tokens. Documents travel in batches (Polars frames with the columns of `batch.SCHEMA`);
each step takes a batch and returns what it keeps, with a count for every named reason of a drop; the ledger proves
that no row went missing. In the order of the work:

    sources/        one reader per format: raw records → documents
    clean           Unicode, control characters, white space, tokens of ours in raw text
    filters         length, licence, retractions
    dedup           by identifiers, then by text; a paper beats its abstract
    split           training or validation, by a hash of the document's id
    tokenizer       trained here, or taken from a Hugging Face folder
    tokenize        token ids, an end-of-document token after each document
    mixture         how much to replay
    write           Parquet documents and Megatron token files
    stats, datacard, report   what came out, for programs and for people
"""

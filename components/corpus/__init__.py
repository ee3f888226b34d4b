"""GAP-Replay: clinical Guidelines, PubMed Abstracts and Papers, and general text to Replay (Meditron, Table 1).

From raw files to training tokens, in steps that each leave an artifact (`stage`). In the order of the work:

    plan            which files there are, cut into shards of about the same size
    papers_table    metadata of papers as tables, to look documents up in

    prepare         each shard by itself, in batches (Polars frames, `batch.SCHEMA`) through these steps:
      sources/        one reader per format: raw records → documents
      join            titles, identifiers and metadata from the tables
      clean           Unicode, control characters, white space, tokens of ours in raw text
      contacts        e-mail addresses and telephone numbers
      filters         length, licence, retractions
      language        languages that aren't wanted
      identify        the document's id, and keys by which duplicates are found
      upsampling      what a paper is worth
      fingerprint     near-duplicates (`minhash`) and items of evaluation sets (`contamination`), from one split into
                      `words`

    decide          on the indexes of all shards at once: duplicates (`dedup`), contamination, validation (`split`),
                    repetitions (`upsampling`); and the `tokenizer`, trained here or taken
    tokenize        each shard by itself: token ids (`encoder`), an end-of-document token after each document
    build           mixes in replay (`mixture`), merges the shards (`merge`), proves that no record went missing
                    (`ledger`), and tells programs and people what came out (`stats`, `datacard`, `report`, `profile`)
"""

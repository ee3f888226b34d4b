"""Contacts: what is replaced, and above all what is not."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.corpus import markup, sources
from components.corpus.contacts import EMAIL, TELEPHONE, Contacts
from components.corpus.sources import Reject
from components.platform.data import SourceFile


def scrubbed(*texts):
    batch, drops = Contacts()(pl.DataFrame({"text": texts}, schema={"text": pl.String}))
    assert drops == {}
    assert batch["scrubbed"].dtype == pl.UInt32
    return batch["text"].to_list(), batch["scrubbed"].to_list()


@pytest.mark.parametrize(
    "address",
    [
        "jane.doe@example.org",
        "JANE.DOE@EXAMPLE.ORG",
        "j_doe+papers@mail.dept.example.ac.uk",
        "o'neill-1@example.info",
        "josé@compañía.com",
        "jane (at) example.org",
        "jane[at]dept.example.org",
    ],
)
@pytest.mark.parametrize(
    "around", ["{}", "Write to {}.", "(e-mail: {}; Jane Doe)", "mailto:{}, or <{}>", "电子邮件{}。"]
)
def test_addresses(address, around):
    expected = around.replace("{}", EMAIL)
    assert scrubbed(around.replace("{}", address)) == ([expected], [around.count("{}")])


@pytest.mark.parametrize(
    "text",
    [
        "Fe3O4@SiO2.The particles were dried.",  # core and shell of a particle
        "Au@Pt. After that,",
        "@Override public void run()",
        "as @someone says",
        "Core i7 920 @ 3.5 GHz",
        "admin@192.168.33.1",
        "YourController@store: Created",
        r"/^[-\w.%+]{1,64}@(?:[A-Z0-9-]{1,63}\.){1,125}[A-Z]{2,63}$",
        "the mean (at) 12.5 kHz",
    ],
)
def test_what_is_no_address(text):
    assert scrubbed(text) == ([text], [0])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Tel: +49 30 450 560 000.", "Tel: {}."),
        ("Tel.: 030/4505600, Berlin", "Tel.: {}, Berlin"),
        ("Phone: 020 7946 0018", "Phone: {}"),
        ("Telephone number: 2026 and 555-1234 x", "Telephone number: 2026 and 555-1234 x"),
        ("phone: 555-1234, room 3", "phone: {}, room 3"),
        ("Tel: 2859 9111 (office)", "Tel: {} (office)"),
        ("Tel: +44 (0)20 7946 0018", "Tel: {}"),
        ("Tél. 01.42.34.56.78", "Tél. {}"),
        ("Tel: +44.20.7946.0018", "Tel: {}"),
        ("Fax: (910) 962–2514", "Fax: {}"),
        ("FAX +86-10-88888888", "FAX {}"),
        ("by phone, 020 7946 0018, or post", "by phone, {}, or post"),
        ("teléfono 034 123 45 67", "teléfono {}"),
        ("Telephone: (910) 962–2514. Fax: (910) 962–4066", "Telephone: {}. Fax: {}"),
        ("reach us on +33 1 42 34 56 78 daily", "reach us on {} daily"),
        ("(+34666555444)", "({})"),
        ("+7 (495) 123-45-67", "{}"),
        ("+1 (910) 962-2514; +1 910 962 2514; +19109622514", "{}; {}; {}"),
        ("call (910) 962-2514 or 910-962-2514 or 910.962.2514", "call {} or {} or {}"),
        ("the helpline is 1-800-273-8255.", "the helpline is {}."),
        ("1 Main Street\n910-962-2514\n2 Main Street", "1 Main Street\n{}\n2 Main Street"),
    ],
)
def test_telephone_numbers(text, expected):
    assert scrubbed(text) == ([expected.replace("{}", TELEPHONE)], [expected.count("{}")])


MEDICAL_NUMBERS = [
    "p < 0.05, OR 1.7 (95% CI 1.2-3.4), n = 1 234 567",
    "between 1998-2004, 1998–2004, 2003-10-01 and 12.03.2004-15.04.2004",
    "NCT01234567, ISRCTN12345678, EudraCT 2004-000446-20, PROSPERO CRD42012002345",
    "PMID: 12345678 PMCID: PMC3531190 DOI 10.1371/journal.pone.0012262 and 10.1000/555.234.5678/910-962-2514",
    "S0140-6736(05)66740-4; ISSN 1932-6203; ISBN 978-3-16-148410-0; ISBN 0-123-45678-9",
    "N Engl J Med 2001;345(19):1368-1377. JAMA 285(19): 2486-2497",
    "ICD-10 J45.901, C50.911; ATC N02BE01; CPT 99213-99215; LOINC 2345-7; CAS 50-78-2, 7732-18-5",
    "catalogue no. 130-042-401, 115-035-003, sc-2005, MA5-12345",
    "amoxicillin 500 mg 3 x 1; 1-800-2000 mg; 5 000 000 IU; 10 000 000 000 cells/L",
    "CD4+ 1200 345 678; Na+ 140 120; Ca2+ 2.20 2.55; δ = +284.0 ± 12; +5 -3 +20 -10",
    "chr7:117,559,590-117,559,593; rs113993960; c.1521_1523delCTT; -1 234 567 to +1 234 567 bp",
    "+345 000 000 people and +200 000 000 more; flexion from +30-60-90 to +20, +25",
    "GenBank AY123456.1, P04637, ENSG00000141510; 1234567890; 123 456 7890; IP 192.168.100.255",
    "IL-6, TNF-α, [18F]FDG, ETV6-TEL 12 345 6789, TEL: 12, TEL-AML1",
    "the hotel: 123456789 guests; intel 0123456789",
    "by telephone (2001-2004), by telephone 1998 - 2004, telephone: 1998-2004, phone. 2004-2008",
    "Telephone: 0.12 (0.05-0.20) 0.31 (0.20-0.44); phone: 12.3 (4.5–6.7), 123 (45) 678 (90), 123/456 (27)",
    "telephone 0.12 0.05 0.20 0.33; fax 12.03.2004; phone 120 000 of 300 000 000",
    "telephone interviews in 3 of 12 345 678 households; smartphone 12 34; mobile phase 0 12 345 678",
    "call 911, 999, 112 or 988; dial 0; we call 1 234 567 variants",
    "Protocol 4-2 1 2 3 4 5 6 7 8 9 0 1 2; 2 4 6 8 10 12 14 16",
]


@pytest.mark.parametrize("text", MEDICAL_NUMBERS)
def test_numbers_of_medicine_stay(text):
    assert scrubbed(text) == ([text], [0])


def test_texts_of_a_batch_are_kept_apart():
    texts = ["none", "a@b.org", "", "a@b.org, Tel: 910-962-2514"]
    expected = ["none", EMAIL, "", f"{EMAIL}, Tel: {TELEPHONE}"]
    assert scrubbed(*texts) == (expected, [0, 1, 0, 2])
    assert scrubbed() == ([], [])


pieces = st.sampled_from(
    [*markup.TOKENS, *" \n@.+-–(/1", "Tel: ", "a@b.org", "910-962-2514", "+49 30 450 560 000", "0.05", EMAIL, TELEPHONE]
)


@given(st.lists(pieces).map("".join))
def test_structure_tokens_and_notes_stay(text):
    (once,), (count,) = scrubbed(text)
    assert [once.count(token) for token in markup.TOKENS] == [text.count(token) for token in markup.TOKENS]
    notes = [piece.count(EMAIL) + piece.count(TELEPHONE) for piece in (text, once)]
    assert notes[1] - notes[0] == count


def test_nothing_in_real_articles_and_guidelines_is_taken_for_a_contact(real_data):
    """All of it was looked through by eye: articles' bodies and these guidelines name no contact."""
    texts = []
    for format_, pattern in (("guidelines", "guidelines/guidelines.jsonl"), ("jats", "plos_jats/*")):
        files = [SourceFile(path.name, str(path), path.stat().st_size, "") for path in sorted(real_data.glob(pattern))]
        records = sources.read(sources.FORMATS[format_], files)
        texts += [record[1].text for record in records if not isinstance(record, Reject)]
    assert len(texts) > 100
    assert sum(scrubbed(*texts)[1]) == 0

"""Language: which texts are dropped, under which name, and which stay in doubt."""

import subprocess
import sys
from typing import NamedTuple

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.corpus import language, sources
from components.corpus.language import FEWEST_LETTERS, PIECE_CHARACTERS, PIECES, Language, known, sample
from components.corpus.sources import jats
from components.platform.data import SourceFile
from components.platform.errors import SettingsError

TEXTS = {
    "en": "We compared two ways to treat high blood pressure in older people who live at home. Of the 240 patients, "
    "half were given a diuretic and half a calcium antagonist. After one year there was no difference between "
    "both groups.",
    "de": "Wir verglichen zwei Behandlungen des hohen Blutdrucks bei älteren Menschen, die zu Hause leben. Von den "
    "240 Patienten erhielt die Hälfte ein Diuretikum und die Hälfte einen Kalziumantagonisten. Nach einem Jahr "
    "gab es zwischen den Gruppen keinen Unterschied.",
    "fr": "Nous avons comparé deux traitements de l'hypertension chez des personnes âgées vivant à domicile. Parmi "
    "les 240 patients, la moitié a reçu un diurétique et l'autre un inhibiteur calcique. Après un an, il n'y "
    "avait aucune différence entre les groupes.",
    "es": "Comparamos dos tratamientos de la hipertensión en personas mayores que viven en su casa. De los 240 "
    "pacientes, la mitad recibió un diurético y la otra mitad un antagonista del calcio. Después de un año no "
    "había diferencias entre los grupos.",
    "it": "Abbiamo confrontato due trattamenti dell'ipertensione in persone anziane che vivono a casa. Dei 240 "
    "pazienti, la metà ha ricevuto un diuretico e l'altra metà un calcioantagonista. Dopo un anno non c'erano "
    "differenze tra i gruppi.",
    "nl": "Wij vergeleken twee behandelingen van hoge bloeddruk of hartfalen bij oudere mensen die thuis wonen. Van "
    "de 240 patiënten kreeg de helft een diureticum of een calciumantagonist. Na een jaar was er geen verschil "
    "tussen beide groepen.",
    "pt": "Comparámos dois tratamentos da hipertensão em pessoas idosas que vivem em casa. Dos 240 doentes, metade "
    "recebeu um diurético e a outra metade um antagonista do cálcio. Depois de um ano não havia diferenças "
    "entre os grupos.",
    "ro": "Am comparat două tratamente ale hipertensiunii la persoane în vârstă care are nevoie de îngrijire acasă. "
    "Jumătate dintre cei 240 de pacienți au primit un diuretic. După un an nu au existat diferențe între "
    "grupuri.",
    "ru": "Мы сравнили два способа лечения высокого давления у пожилых людей, живущих дома. Половина из 240 пациентов "
    "получала диуретик, а другая половина антагонист кальция. Через год различий между группами не было.",
    "zh": "我们比较了两种治疗居家老年人高血压的方法。二百四十名患者中，一半使用利尿剂，另一半使用钙拮抗剂。一年"
    "之后，两组之间的血压没有差别，副作用也同样少见。",
    "ja": "自宅で暮らす高齢者の高血圧を治療する二つの方法を比べました。二百四十人の患者の半数には利尿薬を、残り"
    "の半数にはカルシウム拮抗薬を投与しました。一年後、両群の間に差はありませんでした。",
}


def dropped(*texts, allowed=("en",)):
    batch = pl.DataFrame({"text": texts, "number": range(len(texts))}, schema_overrides={"text": pl.String})
    kept, drops = Language(allowed)(batch)
    assert kept.height + sum(drops.values()) == len(texts)
    assert kept.columns == batch.columns
    return kept["number"].to_list(), drops


def test_each_language_is_dropped_under_its_name():
    expected = {f"language_{code}": 1 for code in sorted(TEXTS) if code != "en"}
    assert dropped(*TEXTS.values()) == ([0], expected)


@pytest.mark.parametrize("code", TEXTS)
def test_each_language_can_be_the_one_that_is_kept(code):
    place = list(TEXTS).index(code)
    assert dropped(*TEXTS.values(), allowed=(code,))[0] == [place]


def test_several_languages():
    assert dropped(TEXTS["fr"], TEXTS["de"], TEXTS["en"], TEXTS["de"], allowed=("en", "fr")) == (
        [0, 2],
        {"language_de": 2},
    )


def test_an_english_abstract_does_not_carry_a_text_in_another_language():
    """... nor do English names, citations and addresses in it."""
    body = TEXTS["es"] * 10
    assert dropped(f"{TEXTS['en']} {body}")[1] == {"language_es": 1}
    noted = f"{TEXTS['zh'] * 2} of the [bib_ref] https://the.of.and/with/from/that [/bib_ref] "
    assert dropped(noted * 5)[1] == {"language_zh": 1}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Zusammenfassung der Ergebnisse",
        "1 2 3 4.5 6 " * 100,
        "https://beispiel.de/eine/lange/adresse/auf/deutsch/mit/vielen/worten/und/noch/mehr",
        "for (int i = 0; i < n; i++) { sum += array[i]; } return sum; public static void main(String[] arguments)",
    ],
)
def test_what_is_in_doubt_stays(text):
    assert dropped(text) == ([0], {})


def test_a_language_must_be_twice_as_probable_as_the_allowed_ones_together(monkeypatch):
    english_or_german, german_or_spanish = Language(("en", "de")), Language(("de", "es"))

    class Model(NamedTuple):
        probabilities: tuple[float, ...]

        def predict(self, text, count):
            return ("__label__es", "__label__en", "__label__de", "__label__fr"), self.probabilities

    def judged(step, *probabilities):
        monkeypatch.setattr(language, "_model", lambda: Model(probabilities))
        return step.other("text")

    assert judged(english_or_german, 0.50, 0.23, 0.02, 0.0) == "es"
    assert judged(english_or_german, 0.50, 0.24, 0.02, 0.0) is None
    assert judged(english_or_german, 0.20, 0.10, 0.10, 0.1) is None
    assert judged(english_or_german, 0.10, 0.50, 0.11, 0.0) is None
    assert judged(german_or_spanish, 0.70, 0.10, 0.10, 0.1) is None


def test_few_letters_are_no_sample():
    word = "ни́ "
    letters = "ж" * (FEWEST_LETTERS - 1)
    assert dropped(letters)[1] == {}
    assert sum(dropped(letters + word)[1].values()) == 1


def test_text_that_is_plainly_english_is_not_given_to_the_model(monkeypatch):
    asked = []
    monkeypatch.setattr(Language, "other", lambda _, text: asked.append(text))
    dropped(*TEXTS.values())
    assert len(asked) == len(TEXTS) - 1
    dropped(TEXTS["en"], allowed=("de",))
    assert len(asked) == len(TEXTS)


def sampled(text):
    return pl.DataFrame({"text": [text]}).select(sample(pl.col("text"))).item()


@given(st.text("ab c", min_size=1, max_size=3 * PIECES * PIECE_CHARACTERS))
def test_sample(text):
    n = len(text)
    pieces = [text[n * i // PIECES :][:PIECE_CHARACTERS] for i in range(PIECES)]
    expected = text if n <= PIECES * PIECE_CHARACTERS else " ".join(pieces)
    assert sampled(text).split() == expected.split()


def test_sample_has_only_words():
    assert sampled("p < 0.05 [fig_ref] l'été [/fig_ref], www.a.de/b [18F]ok").split() == ["p", "l'été", "F", "ok"]


@given(st.lists(st.sampled_from([*TEXTS.values(), "", "x"]), max_size=8))
def test_each_document_is_judged_alone(texts):
    kept, drops = dropped(*texts)
    alone = [dropped(text) for text in texts]
    assert kept == [i for i, (found, _) in enumerate(alone) if found]
    assert sum(drops.values()) == sum(sum(one.values()) for _, one in alone)


def test_unknown_languages_are_refused():
    assert len(known()) == 176
    with pytest.raises(SettingsError, match="'english'; expected codes"):
        Language(("en", "english"))


def test_the_model_loads_silently_and_without_network():
    """In a process of its own: no warning, no download."""
    code = (
        "import socket; socket.socket.connect = None\n"
        "from components.corpus.language import Language\n"
        f"print(Language(('en',)).other({TEXTS['de']!r}))"
    )
    result = subprocess.run([sys.executable, "-W", "always", "-c", code], capture_output=True, text=True, check=True)
    assert (result.stdout, result.stderr) == ("de\n", "")


def test_nothing_english_is_lost_from_real_articles(real_data):
    paths = sorted(real_data.glob("plos_jats/*"))
    files = [SourceFile(path.name, str(path), path.stat().st_size, "") for path in paths]
    texts = [record[1].text for record in sources.read(jats, files)]
    assert len(texts) == len(paths) > 50
    assert dropped(*texts) == (list(range(len(texts))), {})

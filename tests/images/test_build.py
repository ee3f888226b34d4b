"""What `make images` writes down and hands on, without Docker."""

import sys

from images import build
from pipelines.images import read_lock

DIGESTS = [f"sha256:{letter * 64}" for letter in "abc"]


def test_the_lock_keeps_the_images_that_were_not_pushed_now(tmp_path):
    lock = tmp_path / "images.lock"
    train, quantize = "localhost:5000/meditron/train:0.1.0", "localhost:5000/meditron/quantize:0.1.0"
    build.note_digests(lock, {train: DIGESTS[0], quantize: DIGESTS[1]})
    build.note_digests(lock, {train: DIGESTS[2]})
    assert read_lock(lock) == {train: DIGESTS[2], quantize: DIGESTS[1]}


def test_a_line_that_a_person_wrote_stays(tmp_path):
    lock = tmp_path / "images.lock"
    lock.write_text("# pushed by hand\nmeditron/serve:0.1.0: sha256:" + "d" * 64 + "\n")
    build.note_digests(lock, {"meditron/train:0.1.0": DIGESTS[0]})
    assert lock.read_text().startswith("# pushed by hand\n")
    assert read_lock(lock) == {"meditron/train:0.1.0": DIGESTS[0], "meditron/serve:0.1.0": f"sha256:{'d' * 64}"}


def test_settings_of_pip_reach_a_build_as_files_and_wheels_by_address(tmp_path, monkeypatch):
    wheels, certificate = tmp_path / "wheels", tmp_path / "ca.crt"
    wheels.mkdir()
    (wheels / "a-1-py3-none-any.whl").write_text("")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", "https://user:secret@index.example/simple")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    monkeypatch.setenv("PIP_CERT", str(certificate))
    with build.pip_secrets() as secrets:
        settings = secrets["pip.conf"].read_text().splitlines()
    assert secrets["ca.crt"] == certificate
    assert "index-url = https://user:secret@index.example/simple" in settings
    assert "cert = /run/secrets/ca.crt" in settings
    [links] = [line for line in settings if line.startswith("find-links = ")]
    assert links.startswith("find-links = http://127.0.0.1:")
    assert not secrets["pip.conf"].exists(), "it is gone when the build is over"


def test_settings_that_cannot_be_read_are_not_passed_over_in_silence(monkeypatch, capsys):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert build.host_pip_settings() == {}
    assert capsys.readouterr().err == "warning: /bin/false has no pip, so the builds get no settings of pip\n"

"""What is read from and written to an S3 server that fails, over a network that breaks."""

import base64
import hashlib
import itertools
import random
import time
import traceback
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from components.platform import storage
from components.platform.data import resolve
from components.platform.errors import InputError
from components.platform.source import ranged
from components.platform.source.stream import BUFFER_BYTES
from components.platform.storage import s3 as access
from components.platform.storage import transfer
from tests.platform.conftest import SECRET
from tests.platform.faults import Fault

pytestmark = pytest.mark.slow

PART = 64 << 10
CONTENT = random.Random(0).randbytes(10 * PART + 123)
UPLOAD_PART = 5 << 20  # the smallest that S3 takes
LARGE = random.Random(1).randbytes(UPLOAD_PART + 123)

# For each, how it goes wrong at first; every request after that is answered as it should be.
READ_FAULTS = {
    "500": [Fault(status=500)] * 2,
    "503": [Fault(status=503, code="SlowDown")] * 4,
    "reset": [Fault(reset=0)] * 2,
    "cut": [Fault(cut=10_000), Fault(cut=1), Fault(cut=PART - 1), Fault(cut=0), Fault(), Fault(cut=5_000)],
    "cut abruptly": [Fault(cut=10_000, abruptly=True), Fault(cut=1, abruptly=True), Fault(cut=5_000, abruptly=True)],
    "shortened": [Fault(shortened=1), Fault(shortened=PART // 2)],
    "slow": [Fault(wait=1.5)],
    "all": [Fault(status=500), Fault(cut=7), Fault(reset=0), Fault(shortened=9), Fault(wait=1.5), Fault(cut=9_999)],
}
WRITE_FAULTS = {
    "500": [Fault(status=500)] * 2,
    "503": [Fault(status=503, code="SlowDown")] * 4,
    "reset": [Fault(reset=0), Fault(reset=100_000)],
    "answer lost": [Fault(cut=0)],
    "slow": [Fault(wait=1.5)],
}


@pytest.fixture(autouse=True)
def _small_parts_and_short_pauses(monkeypatch):
    """Otherwise as it is in use."""
    for owner, name, value in [
        (ranged, "PART_BYTES", PART),
        (ranged, "FIRST_WAIT_SECONDS", 0.002),
        (access, "PIECE_BYTES", 4096),
        (transfer, "UPLOAD_PART_BYTES", UPLOAD_PART),
    ]:
        monkeypatch.setattr(owner, name, value)
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda self, context: 0.01)


@pytest.fixture
def impatient(monkeypatch):
    """Where a busy machine that takes a second for an answer does no harm but one more request."""
    monkeypatch.setattr(access, "READ_TIMEOUT_SECONDS", 1.0)


@pytest.fixture
def source(bucket, proxy, platform, s3):
    """A source file of which reading goes through the proxy."""
    s3.put_object(Bucket=bucket.removeprefix("s3://"), Key="data/x.bin", Body=CONTENT)
    [file] = resolve(platform.model_copy(update={"data": f"{bucket}/data"}), "*.bin")
    proxy.heal()
    return file


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("faults", READ_FAULTS.values(), ids=READ_FAULTS)
def test_reading_survives(source, proxy, faults):
    proxy.spoil("GET", *faults)
    assert source.open().read() == CONTENT
    assert proxy.unused() == 0


def test_after_a_break_only_the_rest_is_asked_for(source, proxy):
    proxy.spoil("GET", Fault(cut=10_000))
    assert source.open().read() == CONTENT
    assert proxy.unused() == 0
    starts = sorted(int(asked.removeprefix("bytes=").split("-")[0]) for _, _, asked in proxy.sent("GET"))
    [rest] = [start for start in starts if start % PART]
    assert 0 < rest % PART <= 10_000
    assert [start for start in starts if start != rest] == list(range(0, len(CONTENT), PART))


def test_no_more_is_fetched_than_a_few_parts_ahead(source, proxy):
    with source.open() as stream:
        assert stream.read(10) == CONTENT[:10]
        time.sleep(0.2)  # for requests that should not be
        # The buffer holds one part, the next may wait to be taken
        assert ranged.PARTS_AHEAD < len(proxy.sent("GET")) <= ranged.PARTS_AHEAD + 2


def test_parts_are_fetched_side_by_side(source, proxy):
    proxy.spoil_all("GET", Fault(wait=0.2))
    assert source.open().read() == CONTENT
    assert proxy.most_at_once == ranged.PARTS_AHEAD + 1


def test_memory_does_not_grow_with_the_object():
    pieces = PART // 1024
    stream = ranged.stream("s3://x/y", lambda start, end: (bytes(1024) for _ in range(pieces)), 2000 * PART)
    tracemalloc.start()
    length = sum(len(block) for block in iter(lambda: stream.read(10_000), b""))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert length == 2000 * PART
    assert peak < (ranged.PARTS_AHEAD + 3) * PART + 2 * BUFFER_BYTES


def test_a_damaged_answer_is_asked_for_anew(bucket, proxy, platform, s3):
    """Of a whole small object, S3 gives a checksum."""
    s3.put_object(Bucket=bucket.removeprefix("s3://"), Key="data/x.bin", Body=CONTENT[:10_000])
    [file] = resolve(platform.model_copy(update={"data": f"{bucket}/data"}), "*.bin")
    proxy.heal()
    proxy.spoil("GET", Fault(flipped=5_000))
    assert file.open().read() == CONTENT[:10_000]
    assert [asked for _, _, asked in proxy.sent("GET")] == ["bytes=0-9999"] * 2


def test_reading_in_small_bites_and_lines(source):
    with source.open() as stream:
        sizes = itertools.cycle([1, 1000, PART, 3])
        assert b"".join(iter(lambda: stream.read(next(sizes)), b"")) == CONTENT
    assert b"".join(source.open()) == CONTENT


def test_an_object_that_is_replaced_between_listing_and_reading(source, bucket, s3):
    s3.put_object(Bucket=bucket.removeprefix("s3://"), Key="data/x.bin", Body=CONTENT[::-1])
    with pytest.raises(InputError, match=r"/data/x.bin: the object was replaced while it was read; run again"):
        source.open().read(1)


def test_an_object_that_is_shorter_than_listed(source):
    longer = replace(source, bytes=11 * PART)
    with pytest.raises(InputError, match=r"/data/x.bin: its bytes 655360–720895 broke off 8 times \(123 bytes for"):
        longer.open().read()


def test_an_object_that_is_replaced_while_it_is_read(source, bucket, s3):
    with source.open() as stream:
        stream.read(PART)
        s3.put_object(Bucket=bucket.removeprefix("s3://"), Key="data/x.bin", Body=CONTENT[::-1])
        with pytest.raises(InputError, match=r"/data/x.bin: the object was replaced while it was read; run again"):
            stream.read()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault(status=503, code="SlowDown"), r"S3 kept failing \(503 SlowDown\).* run again later"),
        (Fault(status=500), r"S3 kept failing \(500 InternalError\)"),
        (Fault(status=403, code="AccessDenied"), r"S3 denies access; check the AWS_\* variables.*\(403 AccessDenied\)"),
        (Fault(status=403, code="SignatureDoesNotMatch"), r"S3 denies access"),
        (Fault(status=403, code="InvalidObjectState"), r"the object is archived; restore it first"),
        (Fault(status=404, code="NoSuchKey"), r"no such object or bucket"),
        (Fault(status=400, code="Strange"), r"S3 refused the request \(400 Strange\)"),
        (Fault(reset=0), r"S3 can't be reached or breaks off \(ConnectionClosedError\); check AWS_ENDPOINT_URL"),
        (Fault(cut=3), r"its bytes 0–65535 broke off 8 times .*; check the network, and run again"),
        (Fault(shortened=5), r"its bytes 0–65535 broke off 8 times \(65531 bytes for the 65536 asked for\)"),
    ],
)
def test_reading_that_fails_for_good_says_what_to_do_and_no_secret(source, proxy, fault, message):
    proxy.spoil_all("GET", fault)
    with pytest.raises(InputError, match=rf"^{source.uri}: {message}") as caught:
        source.open().read()
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_nothing_more_is_asked_for_once_the_reader_is_gone(monkeypatch):
    monkeypatch.setattr(ranged, "FIRST_WAIT_SECONDS", 0.1)
    asked = []

    def fetch(start, end):
        asked.append(start)
        if start:
            raise ranged.BrokenOffError("cut")
        yield bytes(end)

    with ranged.stream("s3://x/y", fetch, 3 * PART) as stream:
        assert stream.read(10) == bytes(10)
        while len(set(asked)) < 3:
            time.sleep(0.001)
    before = sorted(asked)
    time.sleep(0.3)  # in which a reader that goes on asks twice more
    assert sorted(asked) == before


def test_a_server_that_is_not_there(source, proxy):
    proxy.close()
    with pytest.raises(InputError, match=r"x.bin: S3 can't be reached .*AWS_ENDPOINT_URL") as caught:
        source.open().read()
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("faults", WRITE_FAULTS.values(), ids=WRITE_FAULTS)
@pytest.mark.parametrize("content", [LARGE, LARGE[:200_000]], ids=["parts", "one piece"])
def test_uploading_survives(bucket, proxy, s3, tmp_path, faults, content):
    (tmp_path / "x.bin").write_bytes(content)
    proxy.spoil("PUT", *faults)
    storage.upload(tmp_path, {"x.bin": storage.sha256(tmp_path / "x.bin")}, f"{bucket}/up")
    assert proxy.unused() == 0
    assert s3.get_object(Bucket=bucket.removeprefix("s3://"), Key="up/x.bin")["Body"].read() == content


@pytest.mark.parametrize(
    ("method", "fault", "message"),
    [
        ("PUT", Fault(status=503, code="SlowDown"), r"S3 kept failing \(503 SlowDown\)"),
        ("PUT", Fault(status=403, code="AccessDenied"), r"S3 denies access"),
        ("PUT", Fault(status=400, code="BadDigest"), r"what arrived is not what was sent; check the disk"),
        ("PUT", Fault(reset=0), r"S3 can't be reached or breaks off"),
        ("HEAD", Fault(status=403, code="AccessDenied"), r"S3 denies access"),
        ("POST", Fault(status=500), r"S3 kept failing \(500 InternalError\)"),
    ],
)
def test_uploading_that_fails_for_good_says_what_to_do_and_no_secret(bucket, proxy, tmp_path, method, fault, message):
    (tmp_path / "x.bin").write_bytes(LARGE)
    proxy.spoil_all(method, fault)
    with pytest.raises(InputError, match=rf"^{bucket}/up/x.bin: {message}") as caught:
        storage.upload(tmp_path, {"x.bin": storage.sha256(tmp_path / "x.bin")}, f"{bucket}/up")
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_upload_goes_on_where_it_failed(bucket, proxy, s3, tmp_path):
    names = [f"{number}.bin" for number in range(4)]
    for name in names:
        (tmp_path / name).write_bytes(name.encode() * 1000)
    digests = {name: storage.sha256(tmp_path / name) for name in names}
    storage.upload(tmp_path, dict(list(digests.items())[:2]), bucket)
    proxy.spoil_all("PUT", Fault(status=500))
    with pytest.raises(InputError, match="S3 kept failing"):
        storage.upload(tmp_path, digests, bucket)
    proxy.heal()
    storage.upload(tmp_path, digests, bucket)
    assert len(proxy.sent("PUT")) == 2
    for name in names:
        body = s3.get_object(Bucket=bucket.removeprefix("s3://"), Key=name)["Body"].read()
        assert body == (tmp_path / name).read_bytes()


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("faults", READ_FAULTS.values(), ids=READ_FAULTS)
def test_downloading_survives(bucket, proxy, s3, tmp_path, faults):
    s3.put_object(Bucket=bucket.removeprefix("s3://"), Key="x.bin", Body=CONTENT)
    proxy.spoil("GET", *faults)
    storage.download(bucket, ["x.bin"], tmp_path / "down")
    assert proxy.unused() == 0
    assert [path.name for path in (tmp_path / "down").iterdir()] == ["x.bin"]
    assert (tmp_path / "down" / "x.bin").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault(cut=100), r"its bytes \d+–\d+ broke off 8 times"),
        (Fault(status=500), r"S3 kept failing \(500 InternalError\)"),
        (Fault(status=403, code="AccessDenied"), r"S3 denies access"),
        (Fault(shortened=1), r"its bytes \d+–\d+ broke off 8 times \(\d+ bytes for the \d+ asked for\)"),
    ],
)
@pytest.mark.parametrize("content", [CONTENT, CONTENT[: PART // 2]], ids=["parts", "one piece"])
def test_downloading_that_fails_for_good_leaves_no_file(bucket, proxy, s3, tmp_path, fault, message, content):
    s3.put_object(Bucket=bucket.removeprefix("s3://"), Key="x.bin", Body=content)
    proxy.spoil_all("GET", fault)
    with pytest.raises(InputError, match=rf"^{bucket}/x.bin: {message}") as caught:
        storage.download(bucket, ["x.bin"], tmp_path / "down")
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert list((tmp_path / "down").iterdir()) == []


def test_an_object_that_is_replaced_while_it_is_copied(bucket, proxy, s3, tmp_path):
    name = bucket.removeprefix("s3://")
    s3.put_object(Bucket=name, Key="x.bin", Body=CONTENT)
    proxy.spoil_all("GET", Fault(wait=0.3))
    with ThreadPoolExecutor() as pool:
        copying = pool.submit(storage.download, bucket, ["x.bin"], tmp_path / "down")
        while not proxy.sent("GET"):
            time.sleep(0.01)
        s3.put_object(Bucket=name, Key="x.bin", Body=CONTENT[::-1])
        with pytest.raises(InputError, match=rf"^{bucket}/x.bin: the object was replaced while it was read"):
            copying.result()
    assert list((tmp_path / "down").iterdir()) == []


def test_what_was_uploaded_is_checked_when_it_comes_back(bucket, proxy, tmp_path):
    (tmp_path / "x.bin").write_bytes(CONTENT)
    storage.upload(tmp_path, {"x.bin": storage.sha256(tmp_path / "x.bin")}, bucket)
    proxy.spoil("GET", Fault(flipped=100))
    with pytest.raises(InputError, match=rf"^{bucket}/x.bin: its SHA-256 is not that of the file that was uploaded"):
        storage.download(bucket, ["x.bin"], tmp_path / "down")
    assert list((tmp_path / "down").iterdir()) == []
    storage.download(bucket, ["x.bin"], tmp_path / "down")
    assert (tmp_path / "down" / "x.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("content", [LARGE, LARGE[:200_000]], ids=["parts", "one piece"])
def test_what_is_uploaded_comes_with_checksums_for_s3_to_check(bucket, tmp_path, content):
    (tmp_path / "x.bin").write_bytes(content)
    sent = []
    access.client().meta.events.register("before-send.s3.*", lambda request, **_: sent.append(request))
    storage.upload(tmp_path, {"x.bin": storage.sha256(tmp_path / "x.bin")}, bucket)
    checksums = {
        request.headers.get("x-amz-checksum-sha256", b"").decode() for request in sent if request.method == "PUT"
    }
    parts = [content[start : start + UPLOAD_PART] for start in range(0, len(content), UPLOAD_PART)]
    assert checksums == {base64.b64encode(hashlib.sha256(part).digest()).decode() for part in parts}


def test_one_client_serves_all_threads(bucket):
    access.forget_client()
    with ThreadPoolExecutor(8) as pool:
        clients = list(pool.map(lambda _: access.client(), range(8)))
    assert all(client is clients[0] for client in clients)


def test_parts_are_sent_side_by_side(bucket, proxy, tmp_path):
    (tmp_path / "x.bin").write_bytes(LARGE)
    proxy.spoil_all("PUT", Fault(wait=0.5))
    storage.upload(tmp_path, {"x.bin": storage.sha256(tmp_path / "x.bin")}, bucket)
    assert proxy.most_at_once == 2


def test_an_error_ends_the_other_copies_too(bucket, proxy, s3, tmp_path):
    name = bucket.removeprefix("s3://")
    s3.put_object(Bucket=name, Key="x.bin", Body=CONTENT * 10)
    proxy.spoil_all("GET", Fault(wait=0.05))
    with pytest.raises(InputError, match="no such object"):
        storage.download(bucket, ["x.bin", "none.bin"], tmp_path / "down")
    assert len(proxy.sent("GET")) < 50, "of the 101 parts of the other file"
    assert not (tmp_path / "down" / "x.bin").exists()


def test_a_missing_object_is_named(bucket, tmp_path):
    with pytest.raises(InputError, match=rf"^{bucket}/no.bin: no such object"):
        storage.download(bucket, ["no.bin"], tmp_path)


def test_an_endpoint_that_is_none(bucket, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "localhost:9000")
    access.forget_client()
    with pytest.raises(
        InputError, match="AWS_ENDPOINT_URL: expected an address with its scheme, such as http://host:9000"
    ):
        storage.exists(f"{bucket}/x")


def test_no_credentials(bucket, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)
    access.forget_client()
    with pytest.raises(InputError, match=rf"^{bucket}/x: no credentials; set AWS_ACCESS_KEY_ID"):
        storage.exists(f"{bucket}/x")


def test_a_long_transfer_shows_how_far_it_is(bucket, proxy, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("components.platform.storage.transfer.LINE_INTERVAL_SECONDS", 0)
    (tmp_path / "x").write_bytes(b"x" * 2_000_000)
    storage.upload(tmp_path, {"x": storage.sha256(tmp_path / "x")}, f"{bucket}/up")
    assert f"upload  {bucket}/up  2 MB" in capsys.readouterr().out

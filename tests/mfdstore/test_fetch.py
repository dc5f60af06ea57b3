"""Genomes and peak files fetched from a portal on loopback: what is on disk, what was asked, what is said."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from mfdstore import genomes
from mfdstore.build.run import build_store
from mfdstore.build.settings import BuildSettings, Sources
from mfdstore.errors import ConfigError, DownloadError, MfdError, SourceError
from mfdstore.fetch.complete import Given, complete_sources, foresee, peaks_folder
from mfdstore.fetch.encode import FetchReport, fetch_encode
from mfdstore.fetch.genome import fetch_genome, fetch_own_genome
from mfdstore.fetch.plan import Request, plan_encode
from mfdstore.genomes import Assembly
from mfdstore.simulate.settings import SimulationSettings
from mfdstore.simulate.simulation import simulate_sources
from mfdstore.sources import releases
from mfdstore.sources.portal import Portal as PortalClient
from mfdstore.sources.portal_queries import Selection
from mfdstore.sources.releases import RELEASES, Release, Sites
from mfdstore.sources.web import Patience, Web
from tests.portal import Loopback, Portal, instead, serving, slowly, status

QUICK = Patience(attempts=3, first_wait=0.01, longest_wait=0.02, read_timeout=1)
GENOME = "simulated"
EVERYTHING = Selection(targets=(), biosample_types=())
BUILD = BuildSettings(genome=GENOME, chroms=("chr1", "chr2"), blocks=(0.6, 0.2, 0.2), gap=1152)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "MFD_CACHE"):
        monkeypatch.delenv(name, raising=False)
    with serving() as loopback:
        yield loopback


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Simulated sources whose metadata has addresses, as the portal's has."""
    folder = tmp_path_factory.mktemp("simulated") / "sources"
    simulate_sources(
        folder, SimulationSettings(seed=5, n_chroms=2, chrom_size=300_000, n_targets=2, n_biosamples=2)
    )
    with (folder / "metadata.tsv").open() as handle:
        rows = list(csv.DictReader(handle, delimiter="\t", quoting=csv.QUOTE_NONE))
    for row in rows:
        row["File download URL"] = (
            f"https://www.encodeproject.org{Portal.download_path(row['File accession'])}"
        )
    lines = ["\t".join(rows[0]), *("\t".join(row.values()) for row in rows)]
    (folder / "metadata.tsv").write_text("".join(f"{line}\n" for line in lines))
    return folder


@dataclass
class Place:
    """A portal that serves simulated sources, and a folder to fetch to."""

    served: Loopback
    portal: Portal
    folder: Path
    sources: Path

    @property
    def client(self) -> PortalClient:
        return PortalClient(Web(QUICK), self.served.address)

    def fetch(self, request: Request | None = None, **options: int) -> FetchReport:
        request = request or Request(GENOME, EVERYTHING)
        return fetch_encode(self.folder, request, self.client, **options)

    @property
    def accessions(self) -> list[str]:
        return [row["File accession"] for row in self.portal.metadata]

    def downloads(self) -> list[str]:
        """Accessions in the order that their bytes were asked for."""
        return [asked.path.split("/")[2] for asked in self.served.asked if "@@download" in asked.path]

    def manifest(self) -> dict[str, dict[str, object]]:
        files = json.loads((self.folder / "manifest.json").read_text())["files"]
        return {file["accession"]: file for file in files}

    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.rglob("*") if path.is_file())


@pytest.fixture
def place(served: Loopback, simulated: Path, tmp_path: Path) -> Place:
    return Place(served, Portal.of(served, simulated), tmp_path / "encode", simulated)


def _whole_names(place: Place) -> list[str]:
    peaks = [f"{accession}.bed.gz" for accession in place.accessions]
    return sorted([".lock", "manifest.json", "metadata.tsv", "experiment_report.tsv", *peaks])


def test_fetch_encode__what_lands_on_disk(place: Place) -> None:
    seen: list[tuple[str, int, int]] = []
    done = fetch_encode(
        place.folder,
        Request(GENOME, EVERYTHING),
        place.client,
        on_progress=lambda *told: seen.append(told),
    )
    n = len(place.accessions)
    assert (done.n_files, done.n_fetched, done.changes) == (n, n, ())
    assert place.names() == _whole_names(place)
    for accession in place.accessions:
        ours = (place.folder / "peaks" / f"{accession}.bed.gz").read_bytes()
        assert ours == (place.sources / "peaks" / f"{accession}.bed.gz").read_bytes()
    assert (place.folder / "metadata.tsv").read_bytes() == (place.sources / "metadata.tsv").read_bytes()
    assert sorted(place.downloads()) == sorted(place.accessions)
    assert ("peak files", n, n) in seen
    manifest = json.loads((place.folder / "manifest.json").read_text())
    assert manifest["genome"] == GENOME
    assert "assay_title=DNase-seq" in manifest["source"]["queries"][0]
    for row in place.portal.metadata:
        file = place.manifest()[row["File accession"]]
        assert file["md5"] == row["md5sum"]
        assert file["size"] == int(row["Size"])
        assert file["status"] == "released"
        assert file["experiment"] == row["Experiment accession"]
        assert file["address"] == place.served.url(Portal.download_path(row["File accession"]))


def test_fetch_encode__feeds_a_build_of_the_same_store(place: Place, tmp_path: Path) -> None:
    place.fetch()
    stores = []
    for name, folder in (("fetched", place.folder), ("original", place.sources)):
        sources = Sources(
            place.sources / "genome.fa.gz",
            folder / "peaks",
            folder / "metadata.tsv",
            folder / "experiment_report.tsv",
        )
        stores.append(build_store(sources, tmp_path / f"{name}.zarr", BUILD))
    assert stores[0].digest == stores[1].digest
    assert stores[0].counts == stores[1].counts
    assert stores[0].counts.metadata["rows_without_report"] > 0  # some are left out of the report on purpose


def test_fetch_encode__run_again_asks_for_no_file_again(place: Place) -> None:
    place.fetch()
    before = {path: path.stat().st_mtime_ns for path in place.folder.rglob("*.bed.gz")}
    place.served.asked.clear()
    done = place.fetch()
    assert (done.n_fetched, done.changes) == (0, ())
    assert place.downloads() == []
    assert {path: path.stat().st_mtime_ns for path in place.folder.rglob("*.bed.gz")} == before


def test_fetch_encode__mends_what_is_damaged(place: Place) -> None:
    place.fetch()
    damaged, cut, gone = place.accessions[:3]
    peaks = place.folder / "peaks"
    content = bytearray((peaks / f"{damaged}.bed.gz").read_bytes())
    content[20] ^= 1
    (peaks / f"{damaged}.bed.gz").write_bytes(content)
    (peaks / f"{cut}.bed.gz").write_bytes(b"")
    (peaks / f"{gone}.bed.gz").unlink()
    place.served.asked.clear()
    assert place.fetch().n_fetched == 3
    assert sorted(place.downloads()) == sorted([damaged, cut, gone])
    assert place.names() == _whole_names(place)


def test_fetch_encode__leaves_tables_of_somebody_else_alone(place: Place) -> None:
    place.folder.mkdir(parents=True, exist_ok=True)
    table = place.folder / "metadata.tsv"
    table.write_text("mine")
    with pytest.raises(ConfigError, match=r"metadata\.tsv that no fetch wrote"):
        place.fetch()
    assert table.read_text() == "mine"
    assert [path.name for path in place.folder.iterdir()] == ["metadata.tsv"]


def test_fetch_encode__dry(place: Place) -> None:
    plan = plan_encode(place.folder, Request(GENOME, EVERYTHING), place.client)
    assert len(plan.files) == len(plan.lacking) == len(place.accessions)
    assert plan.n_bytes == plan.n_lacking_bytes == sum(int(row["Size"]) for row in place.portal.metadata)
    assert not place.folder.exists()
    assert {asked.path for asked in place.served.asked} == {"/metadata/", "/report.tsv"}


def test_fetch_encode__side_by_side(place: Place) -> None:
    for accession in place.accessions:
        place.served.always[Portal.storage_path(accession)] = slowly(0.02, block=10_000)
    place.fetch(jobs=3)
    assert 2 <= place.served.most_at_once <= 3


def test_fetch_encode__some_that_cannot_be_had(place: Place) -> None:
    withdrawn, forbidden = place.accessions[1], place.accessions[4]
    place.served.always[Portal.download_path(withdrawn)] = status(404)
    place.served.always[Portal.storage_path(forbidden)] = status(403)
    with pytest.raises(DownloadError) as caught:
        place.fetch()
    text = str(caught.value)
    assert f"2 of {len(place.accessions)} peak files" in text
    assert withdrawn in text
    assert forbidden in text
    assert "found 404" in text or "found 403" in text
    assert not (place.folder / "manifest.json").exists()
    assert len(list((place.folder / "peaks").iterdir())) == len(place.accessions) - 2
    del place.served.always[Portal.storage_path(forbidden)]
    place.portal.put(withdrawn, (place.sources / "peaks" / f"{withdrawn}.bed.gz").read_bytes())
    place.served.asked.clear()
    assert place.fetch().n_fetched == 2
    assert sorted(place.downloads()) == sorted([withdrawn, forbidden])


def test_fetch_encode__wrong_bytes_are_refused(place: Place) -> None:
    wrong = place.accessions[0]
    place.served.always[Portal.storage_path(wrong)] = instead(gzip.compress(b"chr1\t0\t9\n"))
    with pytest.raises(DownloadError, match=rf"{wrong}.*expected \d+ bytes|{wrong}.*, as the metadata says"):
        place.fetch()
    assert not (place.folder / "peaks" / f"{wrong}.bed.gz").exists()


def test_fetch_encode__stumbles_pass(place: Place) -> None:
    for trick, accession in zip(
        (status(500), status(503), status(429, {"Retry-After": "0"})), place.accessions, strict=False
    ):
        place.served.tricks[Portal.download_path(accession)] = [trick]
    place.served.tricks["/metadata/"] = [status(500)]
    place.served.tricks["/report.tsv"] = [status(504)]
    assert place.fetch().n_fetched == len(place.accessions)


# ---- what became another since


def test_changes__archived_replaced_and_gone_are_named(place: Place) -> None:
    place.fetch()
    archived, vanished, dropped, replaced, revoked = place.accessions[:5]
    place.portal.states = {archived: ("archived", "/files/ENCFF999ZZZ/"), dropped: ("released", "")}
    rows = {row["File accession"]: row for row in place.portal.metadata}
    content = gzip.compress(b"chr1\t100\t900\tp\t0\t.\n", mtime=0)
    place.portal.put(replaced, content)
    rows[replaced] |= {"md5sum": hashlib.md5(content).hexdigest(), "Size": str(len(content))}
    rows[revoked]["File Status"] = "revoked"
    gone = {archived, vanished, dropped}
    place.portal.metadata = [row for name, row in rows.items() if name not in gone]
    place.served.asked.clear()
    request = Request(GENOME, replace(EVERYTHING, statuses=("released", "revoked")))
    told = {change.accession: (change.what, str(change)) for change in place.fetch(request).changes}
    assert set(told) == {archived, vanished, dropped, replaced, revoked}
    assert told[archived][0] == "archived"
    assert "is archived now, was released, and is replaced by ENCFF999ZZZ" in told[archived][1]
    assert "not to be found on the portal" in told[vanished][1]
    assert "not in the selection any more (released)" in told[dropped][1]
    assert told[replaced][0] == "replaced"
    assert "revoked now, was released" in told[revoked][1]
    assert place.downloads() == [replaced]
    withdrawn = sorted(path.name for path in (place.folder / "withdrawn").iterdir())
    assert withdrawn == sorted(f"{name}.bed.gz" for name in gone)
    assert (place.folder / "peaks" / f"{replaced}.bed.gz").read_bytes() == content
    assert set(place.manifest()) == {row["File accession"] for row in place.portal.metadata}
    assert place.manifest()[revoked]["status"] == "revoked"
    again = place.fetch(request)
    assert [str(change) for change in again.changes] == [f"{revoked} is revoked"]


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "{}", '{"format": "mfdstore.fetch", "version": 2}', '{"format": "x", "version": 1}',
     '{"format":"mfdstore.fetch","version":1,"genome":"x","source":{},"tables":{},"files":[{"accession":1}]}',
     '{"format":"mfdstore.fetch","version":1,"genome":"x","source":{},"tables":{},"files":[{"accession":1,'
     '"experiment":"","name":"","md5":"","size":1,"status":"","address":""}]}'],
)  # fmt: skip
def test_manifest__damaged(place: Place, content: str) -> None:
    place.folder.mkdir()
    (place.folder / "manifest.json").write_text(content)
    with pytest.raises(SourceError, match=r"manifest\.json: found no manifest of this version"):
        place.fetch()


# ---- lists and tables of the user's


def test_files_list__only_what_it_lists(place: Place, tmp_path: Path) -> None:
    listed = [*place.accessions[:3], "ENCFF404AAA"]
    lines = ['"https://www.encodeproject.org/metadata/?type=Experiment&files.file_type=bed+narrowPeak"']
    lines += [f"https://www.encodeproject.org{Portal.download_path(name)}" for name in listed]
    (tmp_path / "files.txt").write_text("\n".join(lines))
    done = place.fetch(Request(GENOME, files_list=tmp_path / "files.txt"))
    assert done.n_files == 3
    assert [str(change) for change in done.changes] == [
        "ENCFF404AAA is in the list, but the portal's metadata has it no more"
    ]
    assert set(place.manifest()) == set(listed[:3])
    assert len((place.folder / "metadata.tsv").read_text().splitlines()) == 4


def test_metadata__of_the_users_own(place: Place) -> None:
    request = Request(GENOME, metadata=place.sources / "metadata.tsv")
    assert place.fetch(request).n_fetched == len(place.accessions)
    assert not place.served.requests("/metadata/")
    assert len(place.served.requests("/report.tsv")) == 1
    assert (place.folder / "experiment_report.tsv").exists()
    place.served.asked.clear()
    place.fetch(replace(request, report=place.sources / "experiment_report.tsv"))
    assert place.served.asked == []
    ours = (place.folder / "experiment_report.tsv").read_bytes()
    assert ours == (place.sources / "experiment_report.tsv").read_bytes()


def test_metadata__without_digests_or_addresses(place: Place, tmp_path: Path) -> None:
    table = tmp_path / "metadata.tsv"
    rows = [
        f"{name}\tbed narrowPeak\t{GENOME}\t{place.portal.metadata[index]['Experiment accession']}\n"
        for index, name in enumerate(place.accessions)
    ]
    table.write_text("".join(["File accession\tFile format\tFile assembly\tExperiment accession\n", *rows]))
    request = Request(GENOME, metadata=table)
    place.fetch(request)
    first = place.accessions[0]
    path = place.folder / "peaks" / f"{first}.bed.gz"
    assert place.manifest()[first]["md5"] == hashlib.md5(path.read_bytes()).hexdigest()
    place.served.asked.clear()
    assert place.fetch(request).n_fetched == 0  # by the digests of the manifest
    path.write_bytes(b"damaged")
    assert place.fetch(request).n_fetched == 1


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"File download URL": "https://evil.org/x.bed.gz"}, r"line 3: found 'https://evil.org/x.bed.gz'"),
        ({"File download URL": "file:///etc/passwd"}, r"line 3: found 'file:///etc/passwd'"),
        ({"File accession": "../../x"}, r"line 3: found '../../x' in column 'File accession'"),
        ({"md5sum": "not a digest"}, r"line 3: found 'not a digest' in column 'md5sum'"),
        ({"Size": "-1"}, r"line 3: found '-1' in column 'Size'"),
        ({"File accession": "SIMFF000AAA", "Experiment accession": "\t"}, r"line 3"),
    ],
)
def test_metadata__hostile(place: Place, cells: dict[str, str], message: str) -> None:
    place.portal.metadata[1] |= cells
    with pytest.raises(MfdError, match=message) as caught:
        place.fetch()
    assert str(caught.value).startswith(f"{place.served.address}, metadata.tsv, line 3")
    assert place.downloads() == []
    assert place.names() == [".lock"]


def test_metadata__nothing_fits(place: Place) -> None:
    place.portal.metadata = [dict.fromkeys(place.portal.metadata[0], "x")]
    with pytest.raises(DownloadError, match="no file that fits the selection"):
        place.fetch()


def test_metadata__of_another_genome(place: Place) -> None:
    with pytest.raises(SourceError, match="not of hg19"):
        place.fetch(Request("hg19", metadata=place.sources / "metadata.tsv"))


def test_report__portal_that_knows_no_experiment(place: Place) -> None:
    place.fetch()
    place.portal.report = []
    place.served.tables["/report.tsv"] = lambda query: None
    place.fetch()
    assert not (place.folder / "experiment_report.tsv").exists()


def test_no_room(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")._replace(free=10)
    monkeypatch.setattr("mfdstore.fetch.encode.shutil.disk_usage", lambda path: usage)
    with pytest.raises(ConfigError, match=r"found 10 bytes free; expected [\d,]+ bytes"):
        place.fetch()
    assert place.downloads() == []


# ---- genomes


@pytest.fixture
def little(
    served: Loopback, simulated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Release, Sites]:
    """A published assembly of our own: the simulated genome, under the routes of UCSC and the blacklists."""
    fasta = gzip.decompress((simulated / "genome.fa.gz").read_bytes())
    sizes = {part.split()[0].decode(): len(b"".join(part.splitlines()[1:])) for part in fasta.split(b">")[1:]}
    packed = gzip.compress(fasta + b">chr1_alt\nACGT\n", mtime=0)
    blacklist = gzip.compress(b"chr1\t1000\t100000\tHigh Signal Region\n", mtime=0)
    served.files |= {
        "/goldenPath/simulated/bigZips/simulated.fa.gz": packed,
        "/lists/simulated-blacklist.v2.bed.gz": blacklist,
    }
    release = Release(
        "simulated", "simulated", "Homo sapiens", f"md5:{hashlib.md5(packed).hexdigest()}", len(packed), True,
        f"sha256:{hashlib.sha256(blacklist).hexdigest()}",
    )  # fmt: skip
    assembly = Assembly(("simulated", "sim1"), sizes, {})
    monkeypatch.setattr(genomes, "ASSEMBLIES", (*genomes.ASSEMBLIES, assembly))
    monkeypatch.setattr(releases, "RELEASES", (*RELEASES, release))
    return release, Sites(served.address, served.address, served.address)


FASTA_PATH = "/goldenPath/simulated/bigZips/simulated.fa.gz"


def test_fetch_genome(
    little: tuple[Release, Sites], served: Loopback, simulated: Path, tmp_path: Path
) -> None:
    release, sites = little
    for _ in range(2):
        done = fetch_genome("sim1", tmp_path / "cache", web=Web(QUICK), sites=sites)
    folder = tmp_path / "cache" / "genomes" / "simulated"
    assert done.fasta == folder / "simulated.fa"
    assert done.fasta.read_bytes() == gzip.decompress(served.files[FASTA_PATH])
    assert done.chroms == tuple(release.assembly.sizes)
    written = dict(line.split("\t") for line in done.sizes.read_text().splitlines())
    assert written == {name: str(size) for name, size in release.assembly.sizes.items()} | {"chr1_alt": "4"}
    assert done.blacklist == folder / "simulated-blacklist.v2.bed.gz"
    assert len(served.asked) == 2  # once each
    done.fasta.unlink()
    fetch_genome("sim1", tmp_path / "cache", web=Web(QUICK), sites=sites)
    assert done.fasta.exists()
    assert len(served.asked) == 2


def test_fetch_genome__digest_that_is_published_beside_it(
    little: tuple[Release, Sites], served: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, sites = little
    unpinned = replace(release, fasta_digest=None, fasta_size=None)
    monkeypatch.setattr(releases, "RELEASES", (*RELEASES, unpinned))
    right = f"{'0' * 32}  simulated.2bit\n{release.fasta_digest[4:]}  simulated.fa.gz\n"  # type: ignore[index]
    listing = "/goldenPath/simulated/bigZips/md5sum.txt"
    cache = tmp_path / "cache"
    with pytest.raises(DownloadError, match=r"md5sum.txt: found 404"):
        fetch_genome("simulated", cache, web=Web(QUICK), sites=sites)
    served.files[listing] = b"nothing of it\n"
    with pytest.raises(SourceError, match=r"no digest of simulated\.fa\.gz"):
        fetch_genome("simulated", cache, web=Web(QUICK), sites=sites)
    served.files[listing] = right.encode()
    fetch_genome("simulated", cache, web=Web(QUICK), sites=sites)
    n_asked = len(served.asked)
    fetch_genome("simulated", cache, web=Web(QUICK), sites=sites)
    assert len(served.asked) == n_asked


def test_fetch_genome__wrong_bytes(little: tuple[Release, Sites], served: Loopback, tmp_path: Path) -> None:
    content = bytearray(served.files[FASTA_PATH])
    content[100] ^= 1
    served.files[FASTA_PATH] = bytes(content)
    with pytest.raises(DownloadError, match=r"found md5 .*expected md5:.*, as UCSC says"):
        fetch_genome("simulated", tmp_path / "cache", web=Web(QUICK), sites=little[1])
    assert [path.name for path in (tmp_path / "cache/genomes/simulated").iterdir()] == [".lock"]


def test_fetch_genome__pinned_files_of_a_real_assembly(served: Loopback, tmp_path: Path) -> None:
    served.files["/goldenPath/mm10/bigZips/mm10.fa.gz"] = gzip.compress(b">chr1\nACGT\n")
    sites = Sites(served.address, served.address, served.address)
    with pytest.raises(DownloadError, match="db005b65828db31735f384e4c5787be5"):
        fetch_genome("GRCm38", tmp_path, web=Web(QUICK), sites=sites)
    with pytest.raises(ConfigError, match=r"'dm6'.*hg38, hg19, mm10, mm39"):
        fetch_genome("dm6", tmp_path, web=Web(QUICK), sites=sites)


def test_fetch_own_genome(served: Loopback, tmp_path: Path) -> None:
    packed = gzip.compress(b">a\nACGT\n>b\nAC\n", mtime=0)
    served.files["/x/own.fa.gz"] = packed
    served.files["/x/plain.fa"] = gzip.decompress(packed)
    served.files["/x/broken.fa.gz"] = packed[:20]
    web, address = Web(QUICK), served.url("/x/own.fa.gz")
    digest = f"sha256:{hashlib.sha256(packed).hexdigest()}"
    done = fetch_own_genome("mine", address, digest, tmp_path, web=web)
    assert (done.chroms, done.blacklist) == (("a", "b"), None)
    assert done.fasta.read_bytes() == gzip.decompress(packed)
    plain = fetch_own_genome("other", served.url("/x/plain.fa"), None, tmp_path, web=web)
    assert plain.fasta.name == "plain.fa"
    with pytest.raises(DownloadError, match="as --digest says"):
        fetch_own_genome("third", address, "md5:" + "0" * 32, tmp_path, web=web)
    with pytest.raises(SourceError, match="damaged gzip file"):
        fetch_own_genome("fourth", served.url("/x/broken.fa.gz"), None, tmp_path, web=web)
    with pytest.raises(SourceError, match=r"no chr1, chr2"):
        fetch_own_genome("hg38", address, digest, tmp_path, web=web)
    for name, other in (("../x", address), ("x", served.url("/x/..%2f..%2fx")), ("x", served.url("/"))):
        with pytest.raises(DownloadError, match="unfit for a file"):
            fetch_own_genome(name, other, None, tmp_path, web=web)


def test_sites__from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MFD_UCSC", "MFD_ENCODE", "MFD_BLACKLIST"):
        monkeypatch.delenv(name, raising=False)
    sites = Sites.from_environment()
    hg38 = RELEASES[0]
    assert hg38.fasta_address(sites) == "https://hgdownload.soe.ucsc.edu/goldenPath/hg38/bigZips/hg38.fa.gz"
    assert hg38.blacklist_address(sites).endswith("/lists/hg38-blacklist.v2.bed.gz")
    monkeypatch.setenv("MFD_UCSC", "http://mirror/ucsc/")
    assert hg38.fasta_address(Sites.from_environment()).startswith("http://mirror/ucsc/goldenPath/")


@pytest.mark.real
def test_releases__pin_the_published_blacklist(real_data: Path) -> None:
    content = (real_data / "hg38-chr22" / "hg38-blacklist.v2.bed.gz").read_bytes()
    assert RELEASES[0].blacklist_digest == f"sha256:{hashlib.sha256(content).hexdigest()}"


# ---- a build that fetches


@pytest.fixture
def paper_like(place: Place) -> Place:
    """The portal's experiments as the default selection wants them: tissue, CTCF and H3K27ac."""
    targets = sorted({row["Experiment target"] for row in place.portal.metadata if row["Experiment target"]})
    renamed = dict(zip(targets, ("CTCF-human", "H3K27ac-human") * len(targets), strict=False))
    for row in place.portal.metadata:
        row["Biosample type"] = "tissue"
        row["Experiment target"] = renamed.get(row["Experiment target"], "")
    place.portal.metadata[-1]["Biosample type"] = "cell line"
    return place


def test_complete_sources__everything(
    little: tuple[Release, Sites], paper_like: Place, served: Loopback, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    for _ in range(2):
        found = complete_sources(Given(), "sim1", cache, web=Web(QUICK), sites=little[1])
    n = len(paper_like.accessions) - 1
    assert len(list(found.peaks.iterdir())) == n
    assert len(paper_like.downloads()) == n
    # what is built is not changed by what the portal says since
    assert [len(served.requests(path)) for path in ("/metadata/", "/report.tsv", FASTA_PATH)] == [2, 1, 1]
    assert found.metadata.parent == peaks_folder(cache, "simulated") == cache / "encode" / "simulated"
    assert found.chroms == tuple(little[0].assembly.sizes)
    sources = Sources(found.fasta, found.peaks, found.metadata, found.report, found.blacklist)
    settings = replace(BUILD, chroms=found.chroms)
    built = build_store(sources, tmp_path / "x.zarr", settings)
    assert built.counts.experiments == n
    assert built.counts.bins_blacklisted > 0


@pytest.mark.parametrize("damaged", ["metadata.tsv", "peaks"])
def test_complete_sources__mends_what_is_damaged(
    little: tuple[Release, Sites], paper_like: Place, served: Loopback, tmp_path: Path, damaged: str
) -> None:
    found = complete_sources(Given(), "sim1", tmp_path, web=Web(QUICK), sites=little[1])
    path = found.metadata if damaged == "metadata.tsv" else next(found.peaks.iterdir())
    before = path.read_bytes()
    path.write_bytes(before[:-1])
    complete_sources(Given(), "sim1", tmp_path, web=Web(QUICK), sites=little[1])
    assert path.read_bytes() == before


def test_complete_sources__what_is_given_is_not_fetched(
    little: tuple[Release, Sites], paper_like: Place, served: Loopback, tmp_path: Path
) -> None:
    sources = paper_like.sources
    files = Given(peaks=sources / "peaks", metadata=sources / "metadata.tsv", chroms=("chr2",))
    found = complete_sources(files, "sim1", tmp_path, web=Web(QUICK), sites=little[1])
    assert (found.peaks, found.report, found.chroms) == (sources / "peaks", None, ("chr2",))
    assert {asked.path for asked in served.asked} == {FASTA_PATH, "/lists/simulated-blacklist.v2.bed.gz"}
    served.asked.clear()
    genome = Given(fasta=sources / "genome.fa.gz")
    found = complete_sources(genome, "sim1", tmp_path, web=Web(QUICK), sites=little[1])
    assert (found.fasta, found.blacklist, found.chroms) == (genome.fasta, None, ())
    assert FASTA_PATH not in {asked.path for asked in served.asked}
    served.asked.clear()
    complete_sources(replace(files, fasta=genome.fasta), "x", tmp_path, web=Web(QUICK), sites=little[1])
    assert served.asked == []
    with pytest.raises(ConfigError, match="--peaks and --metadata, which belong together"):
        Given(peaks=sources / "peaks")
    with pytest.raises(ConfigError, match="--peaks: found nothing"):
        Given(metadata=sources / "metadata.tsv")


def test_foresee(little: tuple[Release, Sites], paper_like: Place, served: Loopback, tmp_path: Path) -> None:
    release, sites = little
    web, cache = Web(QUICK), tmp_path / "cache"
    told = foresee(Given(), "sim1", cache, web=web, sites=sites, bin_size=128)
    n_peak_bytes = sum(int(row["Size"]) for row in paper_like.portal.metadata[:-1])
    assert told.downloads == {"genome": release.fasta_size, "peak files": n_peak_bytes}
    assert told.folders == {"genome": cache / "genomes/simulated", "peak files": cache / "encode/simulated"}
    assert told.n_experiments == len(paper_like.accessions) - 1
    assert told.n_bases == sum(release.assembly.sizes.values())
    assert told.n_bins == sum(size // 128 for size in release.assembly.sizes.values())
    assert not cache.exists()
    found = complete_sources(Given(), "sim1", cache, web=web, sites=sites)
    served.asked.clear()
    told = foresee(Given(chroms=("1",)), "sim1", cache, web=web, sites=sites, bin_size=128)
    assert served.asked == []
    assert (told.downloads, told.fetched_bytes) == ({}, 0)
    assert told.n_bases == release.assembly.sizes["chr1"]
    served.asked.clear()
    given = Given(found.fasta, found.peaks, found.metadata, found.report)
    told = foresee(given, "sim1", cache, web=web, sites=sites, bin_size=128)
    assert served.asked == []
    assert told.n_experiments == len(paper_like.accessions) - 1
    assert told.n_bases == sum(release.assembly.sizes.values()) + 4
    with pytest.raises(ConfigError, match="chromosome 'chr9'"):
        foresee(Given(chroms=("chr9",)), "sim1", cache, web=web, sites=sites, bin_size=128)

import datetime
import http.server
import io
import os
import signal
import sys
import threading

import av
import numpy as np
import pytest

from toolkit.edit.config import WritingConfig
from toolkit.edit.output.provenance import SOURCE_TYPE_URL, container_metadata, was_edited
from toolkit.edit.output.signing import check_signable, check_signer, read_manifest, sign
from toolkit.errors import InputError, MissingExtra, ToolkitError, UsageError


def write_video(path, metadata=None, frames=8):
    """A small video of noise, with metadata."""
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as output:
        output.metadata.update(metadata or {})
        stream = output.add_stream("libx264", rate=10)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for image in rng.integers(0, 256, (frames, 64, 64, 3), dtype=np.uint8):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        output.mux(stream.encode(None))
    return path


def metadata_of(path):
    with av.open(str(path)) as container:
        return dict(container.metadata)


def packets_of(path):
    with av.open(str(path)) as container:
        return [(packet.pts, bytes(packet)) for packet in container.demux(video=0)]


class TestContainerMetadata:
    @pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
    @pytest.mark.parametrize("comment", [None, "Filmed in Kyōto, © me\nsecond line"])
    def test_survives_in_the_file_beside_what_was_there(self, tmp_path, suffix, comment):
        before = {"title": "Holidays"} | ({"comment": comment} if comment else {})
        existing = metadata_of(write_video(tmp_path / f"before{suffix}", before))
        assert not was_edited(existing)
        ours = container_metadata(existing, ["glasses", "stickers"], "1.2.3")
        found = metadata_of(write_video(tmp_path / f"after{suffix}", {**existing, **ours}))
        assert was_edited(found) and found["title"] == "Holidays"
        (said,) = (value for key, value in found.items() if key.lower() == "comment")
        assert said.startswith(comment or "Edited with")
        for words in ("vlasik-toolkit 1.2.3", "glasses, stickers", "generated", SOURCE_TYPE_URL):
            assert words in said

    @pytest.mark.parametrize("first", [".mp4", ".mov", ".mkv"])
    @pytest.mark.parametrize("second", [".mp4", ".mov", ".mkv"])
    def test_an_edit_of_an_edit_has_one_note_in_any_container(self, tmp_path, first, second):
        metadata = {"comment": "mine"}
        for suffix, tasks, version in ((first, ["glasses"], "1.0"), (second, ["stickers", "glasses"], "2.0.dev1")):
            metadata = {**metadata, **container_metadata(metadata, tasks, version)}
            metadata = metadata_of(write_video(tmp_path / f"v{version}{suffix}", metadata, frames=1))
        (said,) = (value for key, value in metadata.items() if key.lower() == "comment")
        assert said.startswith("mine\n") and said.count("Edited with") == 1
        assert "vlasik-toolkit 2.0.dev1" in said and "Removed: glasses, stickers." in said

    def test_words_of_others_are_not_taken_for_a_note(self):
        assert not was_edited({})
        assert not was_edited({"comment": "Edited with vlasik-toolkit? Parts of the faces are generated."})
        assert not was_edited({"title": container_metadata({}, ["glasses"], "1.0")["comment"]})


@pytest.fixture(scope="module")
def authority():
    """Makes certificates: ``authority(key, **what)`` returns the PEM of a leaf and of its issuer."""
    pytest.importorskip("c2pa")
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

    ca_key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    usages = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    usages += ("key_cert_sign", "crl_sign", "encipher_only", "decipher_only")

    def certificate(subject, key, usage, is_ca, days):
        name, issuer = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)]) for text in (subject, "Test CA"))
        return (
            x509.CertificateBuilder(issuer, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(now + datetime.timedelta(days[0]))
            .not_valid_after(now + datetime.timedelta(days[1]))
            .add_extension(x509.BasicConstraints(is_ca, None), True)
            .add_extension(x509.KeyUsage(**{name: name == usage for name in usages}), True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), False)
        )

    def make(key, usage=ExtendedKeyUsageOID.EMAIL_PROTECTION, days=(-1, 9), ocsp=None):
        leaf = certificate("Studio", key, "digital_signature", False, days)
        leaf = leaf.add_extension(x509.ExtendedKeyUsage([usage]), False)
        if ocsp:
            place = x509.AccessDescription(AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(ocsp))
            leaf = leaf.add_extension(x509.AuthorityInformationAccess([place]), False)
        ca = certificate("Test CA", ca_key, "key_cert_sign", True, (-1, 99))
        return [item.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM) for item in (leaf, ca)]

    return make


@pytest.fixture(scope="module")
def new_key(authority):
    """Makes private keys: ``new_key("secp256r1")``, ``new_key("rsa")``, ``new_key("ed25519")``."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    curves = {curve.name: curve for curve in (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1, ec.SECP256K1)}

    def make(kind, bits=2048):
        if kind == "ed25519":
            return ed25519.Ed25519PrivateKey.generate()
        return rsa.generate_private_key(65537, bits) if kind == "rsa" else ec.generate_private_key(curves[kind]())

    return make


def pem(key, form="PKCS8", passphrase=None):
    from cryptography.hazmat.primitives import serialization

    encryption = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, getattr(serialization.PrivateFormat, form), encryption)


@pytest.fixture
def signer(tmp_path, authority, new_key):
    """Writes a certificate and a key and returns the settings that name them."""
    folder = tmp_path / "credentials"
    folder.mkdir()

    def make(certificates=None, key=None, algorithm="es256", timestamp_url=None, **what):
        if key is None:
            key = new_key("secp256r1")
        if certificates is None:
            certificates = b"".join(authority(key, **what))
        (folder / "chain.pem").write_bytes(certificates)
        (folder / "key.pem").write_bytes(key if isinstance(key, bytes) else pem(key))
        return WritingConfig(
            c2pa_certificate=folder / "chain.pem",
            c2pa_key=folder / "key.pem",
            c2pa_algorithm=algorithm,
            c2pa_timestamp_url=timestamp_url,
        )

    return make


@pytest.fixture
def videos(tmp_path):
    """A source and its edit."""
    return write_video(tmp_path / "source.mp4"), write_video(tmp_path / "edited.mp4", {"comment": "x"}, frames=9)


@pytest.fixture
def server():
    """A local web server without content; ``requests`` lists the requests."""

    class Nothing(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append(self.path)
            self.send_error(404)

        do_POST = do_HEAD = do_GET

        def log_message(self, *_args):
            pass

    requests = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Nothing) as running:
        running.requests, running.url = requests, f"http://127.0.0.1:{running.server_address[1]}"
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


def codes(found):
    return {status["code"] for status in found.get("validation_status", [])}


class TestSigning:
    @pytest.mark.parametrize("suffix", [".mp4", ".mov"])
    def test_manifest_says_what_was_done_and_is_valid(self, tmp_path, videos, signer, suffix):
        source, _ = videos
        video = write_video(tmp_path / f"result{suffix}", {"comment": "kept"})
        packets, comment = packets_of(video), metadata_of(video)["comment"]
        sign(source, video, signer(), ["glasses", "stickers"], "1.2.3", "holiday.mp4")
        found = read_manifest(video)
        assert found["validation_state"] == "Valid"
        assert codes(found) == {"signingCredential.untrusted"}, "all but the test's own authority is accepted"
        manifest = found["manifests"][found["active_manifest"]]
        (generator,) = manifest["claim_generator_info"]
        assert (generator["name"], generator["version"]) == ("vlasik-toolkit", "1.2.3")
        assert manifest["title"] == "holiday.mp4" and manifest["claim_version"] == 2
        (parent,) = manifest["ingredients"]
        assert (parent["relationship"], parent["title"]) == ("parentOf", "source.mp4")
        (actions,) = (a["data"]["actions"] for a in manifest["assertions"] if a["label"] == "c2pa.actions.v2")
        assert [action["action"] for action in actions] == ["c2pa.opened", "c2pa.edited"]
        assert parent["label"] in actions[0]["parameters"]["ingredients"][0]["url"]
        assert actions[1]["digitalSourceType"] == SOURCE_TYPE_URL
        assert "glasses, stickers" in actions[1]["description"]
        assert packets_of(video) == packets and metadata_of(video)["comment"] == comment

    @pytest.mark.parametrize("what", [b"mdat", b"Lavf"])
    def test_a_changed_byte_shows(self, videos, signer, what):
        source, video = videos
        sign(source, video, signer(), ["glasses"], "1.0", video.name)
        content = bytearray(video.read_bytes())
        content[content.rindex(what) + (40 if what == b"mdat" else 2)] ^= 1
        video.write_bytes(content)
        found = read_manifest(video)
        assert found["validation_state"] == "Invalid" and "assertion.bmffHash.mismatch" in codes(found)

    @pytest.mark.parametrize("named", ["source.mp4", "source.bin"])
    def test_the_sources_own_manifest_is_kept(self, tmp_path, videos, signer, named):
        source, video = videos
        config = signer()
        sign(write_video(tmp_path / "camera.mp4"), source, config, ["stickers"], "1.0", "first")
        own = read_manifest(source)["active_manifest"]
        source = source.rename(tmp_path / named)
        sign(source, video, config, ["glasses"], "1.0", "second")
        found = read_manifest(video)
        assert found["validation_state"] == "Valid" and len(found["manifests"]) == 2
        assert found["manifests"][found["active_manifest"]]["ingredients"][0]["active_manifest"] == own
        assert found["manifests"][own]["title"] == "first"

    def test_sources_without_a_readable_manifest_are_parents_too(self, tmp_path, videos, signer):
        _, video = videos
        config, plain = signer(), video.read_bytes()
        damaged = write_video(tmp_path / "damaged.mp4")
        sign(video, damaged, config, ["stickers"], "1.0", "first")
        content = damaged.read_bytes()
        damaged.write_bytes(content.replace(b"jumbjumd", b"xxxxxxxx").replace(b"jumb", b"xxxx"))
        (tmp_path / "fake.avi").write_bytes(plain[:100])
        for source in (damaged, write_video(tmp_path / "source.mkv"), tmp_path / "fake.avi"):
            video.write_bytes(plain)
            sign(source, video, config, ["glasses"], "1.0", "x")
            found = read_manifest(video)
            (parent,) = found["manifests"][found["active_manifest"]]["ingredients"]
            assert parent["title"] == source.name and found["validation_state"] == "Valid"
        with pytest.raises(InputError, match="damaged"):
            read_manifest(damaged)

    @pytest.mark.parametrize(
        ("kind", "algorithm"),
        [
            ("secp384r1", "es384"),
            ("secp521r1", "es512"),
            ("rsa", "ps256"),
            ("rsa", "ps384"),
            ("rsa", "ps512"),
            ("ed25519", "ed25519"),
        ],
    )
    def test_every_algorithm_signs(self, videos, signer, new_key, kind, algorithm):
        config = signer(key=new_key(kind), algorithm=algorithm)
        check_signer(config)
        sign(*videos, config, ["glasses"], "1.0", "x")
        found = read_manifest(videos[1])
        assert found["validation_state"] == "Valid"
        assert found["manifests"][found["active_manifest"]]["signature_info"]["alg"].lower() == algorithm

    def test_keys_in_the_older_pem_form_are_taken(self, signer, authority, new_key):
        for kind, algorithm in (("secp256r1", "es256"), ("rsa", "ps256")):
            key = new_key(kind)
            old = pem(key, "TraditionalOpenSSL")
            assert b"BEGIN PRIVATE KEY" not in old
            check_signer(signer(certificates=b"".join(authority(key)), key=old, algorithm=algorithm))

    def test_the_key_never_gets_into_the_video(self, videos, signer, authority, new_key):
        key = new_key("secp256r1")
        secret = key.private_numbers().private_value.to_bytes(32, "big")
        config = signer(certificates=b"".join([pem(key), *authority(key)]), key=key)
        check_signer(config)
        sign(*videos, config, ["glasses"], "1.0", "x")
        content = videos[1].read_bytes()
        assert read_manifest(videos[1])["validation_state"] == "Valid"
        assert secret not in content and b"PRIVATE KEY" not in content
        assert all(line not in content for line in pem(key).splitlines()[1:-1])

    def test_a_video_without_manifest_gives_none(self, tmp_path, videos):
        pytest.importorskip("c2pa")
        assert read_manifest(videos[0]) is None
        assert read_manifest(write_video(tmp_path / "x.mkv")) is None
        with pytest.raises(InputError, match=r"absent\.mp4"):
            read_manifest(tmp_path / "absent.mp4")

    def test_real_clips_can_be_parents(self, videos, signer, shared):
        # The library refuses the boxes of the first one, which players and FFmpeg take.
        for name in ("eamm_sad.mp4", "lia_vox_driving3.mov", "lipnet_GRID_bbaf2n.mpg"):
            video = write_video(videos[1])
            sign(shared(f"media/faces/{name}"), video, signer(), ["glasses"], "1.0", "x")
            found = read_manifest(video)
            assert found["validation_state"] == "Valid"
            assert found["manifests"][found["active_manifest"]]["ingredients"][0]["title"] == name


class TestNetwork:
    def test_nothing_is_fetched(self, tmp_path, videos, signer, new_key, authority, server):
        import c2pa

        key = new_key("secp256r1")
        config = signer(key=key, ocsp=f"{server.url}/ocsp")
        action = {"action": "c2pa.created", "digitalSourceType": SOURCE_TYPE_URL}
        assertion = {"label": "c2pa.actions.v2", "data": {"actions": [action]}}
        remote = tmp_path / "remote.mp4"
        with c2pa.Builder({"assertions": [assertion]}) as builder, videos[0].open("rb") as plain:
            builder.set_no_embed()
            builder.set_remote_url(f"{server.url}/manifest.c2pa")
            info = c2pa.C2paSignerInfo("es256", b"".join(authority(key)), pem(key), None)
            with remote.open("w+b") as file:
                builder.sign(c2pa.Signer.from_info(info), "video/mp4", plain, file)
        with pytest.raises(c2pa.C2paError, match="fetch"):
            c2pa.Reader(remote)
        assert server.requests == ["/manifest.c2pa"], "the library does fetch it, unless it is told not to"
        server.requests.clear()

        check_signer(config)
        sign(remote, videos[1], config, ["glasses"], "1.0", "x")
        assert read_manifest(videos[1])["validation_state"] == "Valid"
        assert read_manifest(remote) is None
        sign(videos[0], remote, config, ["glasses"], "1.0", "x")
        assert read_manifest(remote)["validation_state"] == "Valid"
        assert server.requests == []

    def test_a_timestamp_authority_that_gives_nothing_is_an_early_error(self, videos, signer, server):
        config = signer(timestamp_url=f"{server.url}/tsa")
        with pytest.raises(UsageError, match=rf"timestamp .* from {server.url}/tsa"):
            check_signer(config)
        assert server.requests == ["/tsa"]
        before = {path: path.read_bytes() for path in videos[1].parent.glob("*.mp4")}
        with pytest.raises(ToolkitError, match="holiday cannot be signed"):
            sign(*videos, config, ["glasses"], "1.0", "holiday")
        assert {path: path.read_bytes() for path in videos[1].parent.iterdir() if path.is_file()} == before


class TestBadInput:
    def test_no_certificate_asks_for_nothing(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "c2pa", None)
        check_signer(WritingConfig())

    def test_an_absent_library_is_named(self, monkeypatch, tmp_path):
        monkeypatch.setitem(sys.modules, "c2pa", None)
        config = WritingConfig(c2pa_certificate=tmp_path / "a.pem", c2pa_key=tmp_path / "b.pem")
        video = write_video(tmp_path / "x.mp4", frames=1)
        for call in (
            lambda: check_signer(config),
            lambda: sign(video, video, config, ["glasses"], "1.0", "x"),
            lambda: read_manifest(video),
        ):
            with pytest.raises(MissingExtra, match=r"vlasik-toolkit\[c2pa\]"):
                call()

    def test_containers_that_hold_no_manifest_are_refused(self, tmp_path):
        for name in ("a.mkv", "a.webm", "a"):
            with pytest.raises(UsageError, match=r"ends in \.mp4, or drop the certificate"):
                check_signable(tmp_path / name)
        check_signable(tmp_path / "a.MP4")
        check_signable(tmp_path / "a.mov")

    def test_mkv_is_not_signed(self, tmp_path, videos, signer):
        video = write_video(tmp_path / "edited.mkv")
        before = video.read_bytes()
        with pytest.raises(UsageError, match="cannot hold a C2PA manifest"):
            sign(videos[0], video, signer(), ["glasses"], "1.0", "x")
        assert video.read_bytes() == before

    @pytest.mark.parametrize("field", ["c2pa_certificate", "c2pa_key"])
    def test_files_that_are_missing_or_folders(self, signer, tmp_path, field):
        for path, why in ((tmp_path / "absent.pem", "No such file"), (tmp_path, "Is a directory")):
            config = signer().model_copy(update={field: path})
            with pytest.raises(InputError, match=rf"{path} cannot be read: {why}"):
                check_signer(config)

    @pytest.mark.parametrize("content", [b"", b"hello", b"\x30\x82\x01\x02\xff", b"-----BEGIN CERTIFICATE-----\nAA"])
    def test_certificates_that_are_not_pem(self, signer, content):
        with pytest.raises(InputError, match=r"PEM certificates in .*chain\.pem"):
            check_signer(signer(certificates=content))

    def test_keys_that_are_not_pem(self, signer, authority, new_key):
        key = new_key("secp256r1")
        leaf, _ = authority(key)
        for content in (b"", b"hello", leaf, pem(key).replace(b"M", b"!")):
            with pytest.raises(InputError, match=r"private key in PEM form in .*key\.pem") as caught:
                check_signer(signer(certificates=leaf, key=content))
            assert all(line.decode() not in str(caught.value) for line in pem(key).splitlines()[1:-1])

    def test_an_encrypted_key(self, signer, authority, new_key):
        key = new_key("secp256r1")
        with pytest.raises(InputError, match="encrypted"):
            check_signer(signer(certificates=authority(key)[0], key=pem(key, passphrase=b"secret")))

    def test_a_key_of_another_certificate(self, signer, authority, new_key):
        own, other = new_key("secp256r1"), new_key("secp256r1")
        leaf, ca = authority(own)
        for certificates in (b"".join(authority(other)), ca + leaf):
            with pytest.raises(UsageError, match="does not belong to the key"):
                check_signer(signer(certificates=certificates, key=own))

    @pytest.mark.parametrize(
        ("kind", "algorithm", "advice"),
        [
            ("secp256r1", "es384", "an elliptic key on secp256r1; set it to es256"),
            ("secp384r1", "ps256", "secp384r1; set it to es384"),
            ("rsa", "es256", "an RSA key of 2048 bits; set it to ps256 or ps384 or ps512"),
            ("ed25519", "es256", "an Ed25519 key; set it to ed25519"),
            ("secp256k1", "es256", "use another key"),
        ],
    )
    def test_an_algorithm_for_another_key(self, signer, new_key, kind, algorithm, advice):
        with pytest.raises(UsageError, match=advice):
            check_signer(signer(key=new_key(kind), algorithm=algorithm))

    def test_a_short_rsa_key(self, signer, new_key):
        with pytest.raises(UsageError, match="RSA key of 1024 bits; C2PA has no algorithm"):
            check_signer(signer(key=new_key("rsa", 1024), algorithm="ps256"))

    def test_certificates_that_c2pa_does_not_allow(self, signer, authority, new_key):
        from cryptography.x509.oid import ExtendedKeyUsageOID

        for what, why in (
            ({"days": (-9, -2)}, "not valid at time of signing"),
            ({"days": (2, 9)}, "not valid at time of signing"),
            ({"usage": ExtendedKeyUsageOID.SERVER_AUTH}, "certificate is invalid"),
        ):
            with pytest.raises(UsageError, match=rf"chain\.pem cannot sign videos: .*{why}"):
                check_signer(signer(**what))

    def test_ctrl_c_while_the_library_reads_is_not_lost(self, tmp_path, videos, signer, monkeypatch):
        import c2pa

        class Interrupted(io.FileIO):
            def readinto(self, buffer):
                if not interrupts:
                    interrupts.append(True)
                    os.kill(os.getpid(), signal.SIGINT)
                return super().readinto(buffer)

        def sign_interrupted(builder, by, form, plain, file):
            with Interrupted(plain.name) as stream:
                return sign_all(builder, by, form, stream, file)

        interrupts, sign_all, config = [], c2pa.Builder.sign, signer()
        monkeypatch.setattr(c2pa.Builder, "sign", sign_interrupted)
        before = {path: path.read_bytes() for path in tmp_path.glob("*.mp4")}
        with pytest.raises(KeyboardInterrupt):
            sign(*videos, config, ["glasses"], "1.0", "x")
        assert interrupts
        assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before

    @pytest.mark.parametrize("frames", [9, 300])
    def test_a_full_disk_leaves_the_video_as_it_was(self, tmp_path, videos, signer, frames):
        resource = pytest.importorskip("resource")
        source, video = videos
        write_video(video, frames=frames)
        config, before = signer(), video.read_bytes()
        names = sorted(path.name for path in tmp_path.iterdir())
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
        try:
            with pytest.raises(ToolkitError, match="cannot be signed"):
                sign(source, video, config, ["glasses"], "1.0", "x")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert video.read_bytes() == before and sorted(path.name for path in tmp_path.iterdir()) == names

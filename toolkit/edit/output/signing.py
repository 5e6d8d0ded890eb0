"""Signs edited videos with a C2PA manifest, so that a change of either shows.

The manifest (C2PA specification 2, https://c2pa.org) is bound to the file's content by a signature. Nothing here uses
the network, except to ask a timestamp authority that the user names.
"""

from __future__ import annotations

import json
import mimetypes
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

from toolkit.edit.config import WritingConfig
from toolkit.edit.output.provenance import SOFTWARE, SOURCE_TYPE_URL
from toolkit.errors import InputError, MissingExtra, ToolkitError, UsageError
from toolkit.files import atomic

SIGNABLE = {".mp4": "video/mp4", ".mov": "video/quicktime"}
"""Suffixes of videos that can hold a manifest, and their media types."""
_SETTINGS = {
    "core": {"allowed_network_hosts": []},
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
    "builder": {"thumbnail": {"enabled": False}},
}


def check_signer(config: WritingConfig) -> None:
    """Sign a picture of one pixel, to find a wrong certificate before hours of work instead of after them.

    Does nothing without a certificate. If a timestamp authority is named, it is contacted once.

    Args:
        config: the fields ``c2pa_*`` are used.

    Raises:
        MissingExtra: the library is not installed.
        InputError: the certificate or the key cannot be read or is not in PEM form.
        UsageError: key, certificate and algorithm do not fit each other, C2PA does not allow the certificate, or the
            timestamp authority does not return a timestamp.
    """
    if config.c2pa_certificate is None:
        return
    c2pa = _library()
    try:
        _sign_pixel(c2pa, config, None)
    except c2pa.C2paError as error:
        raise UsageError(
            f"{config.c2pa_certificate} cannot sign videos: {_reason(error)}; C2PA needs a valid certificate that "
            "an authority signed, with the key usage digitalSignature and an extended key usage such as "
            "emailProtection, followed in the file by its issuers"
        ) from None
    if config.c2pa_timestamp_url is not None:
        try:
            _sign_pixel(c2pa, config, config.c2pa_timestamp_url)
        except c2pa.C2paError as error:
            raise UsageError(
                f"expected a timestamp (RFC 3161) from {config.c2pa_timestamp_url}, but: {_reason(error)}; check the "
                "URL, or sign without a timestamp"
            ) from None


def check_signable(video: Path) -> None:
    """Refuse a container that cannot hold a manifest.

    Raises:
        UsageError: the name does not end in ``.mp4`` or ``.mov``.
    """
    if video.suffix.lower() not in SIGNABLE:
        raise UsageError(
            f"a {video.suffix} file cannot hold a C2PA manifest; name an output that ends in .mp4, or drop the "
            "certificate"
        )


def sign(source: Path, video: Path, config: WritingConfig, tasks: Sequence[str], version: str, title: str) -> None:
    """Embed a signed C2PA manifest in an edited video, in place.

    The manifest names the source as the parent that was opened, with the source's own manifest if it has one, and an
    edit by this toolkit with IPTC's digital source type. The file is replaced in one step; if signing fails, it stays
    unchanged.

    Args:
        source: the video that was edited.
        video: the edited video, ``.mp4`` or ``.mov``.
        config: the fields ``c2pa_*`` are used; a certificate must be named.
        tasks: names of the attributes that were removed.
        version: of this toolkit.
        title: name of the video in the manifest.

    Raises:
        UsageError, InputError, MissingExtra: as for `check_signer` and `check_signable`.
        ToolkitError: signing failed, such as on a full disk.
    """
    check_signable(video)
    c2pa = _library()
    agent = {"name": SOFTWARE, "version": version}
    edited = {
        "action": "c2pa.edited",
        "softwareAgent": agent,
        "digitalSourceType": SOURCE_TYPE_URL,
        "description": f"Removed: {', '.join(tasks)}. Parts of the faces are generated.",
    }
    manifest = {
        "title": title,
        "claim_generator_info": [agent],
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [edited]}}],
    }
    try:
        # Another thread receives no signals: the library reads and writes by calling back into Python, and a Ctrl-C
        # inside such a call would crash the process or truncate the file.
        with atomic(video, shared=True) as signed, ThreadPoolExecutor(1) as thread:
            thread.submit(_embed, c2pa, source, video, signed, manifest, config).result()
    except c2pa.C2paError as error:
        raise ToolkitError(
            f"{title} cannot be signed: {_reason(error)}; check the disk's free space and the timestamp authority, or "
            "drop the certificate"
        ) from None
    except OSError as error:
        raise ToolkitError(
            f"{title} cannot be signed: {error.strerror}; check the disk's free space and access rights"
        ) from None


def read_manifest(video: Path) -> dict[str, Any] | None:
    """The C2PA manifests in a video, checked against its content.

    Returns:
        The output of the library's reader: ``active_manifest`` is the label of the newest of ``manifests``, and
        ``validation_state`` is ``Invalid``, ``Valid`` or ``Trusted``. None if the video holds no manifest, cannot hold
        one, or only names an address, which is not contacted.

    Raises:
        InputError: the video cannot be read, or its manifest is damaged.
        MissingExtra: the library is not installed.
    """
    c2pa = _library()
    try:
        with video.open("rb") as file, _context(c2pa) as context:
            reader = c2pa.Reader.try_create(_media_type(video), file, context=context)
            if reader is None:
                return None
            with reader:
                return json.loads(reader.json())
    except c2pa.C2paError.NotSupported:
        return None
    except c2pa.C2paError as error:
        if str(error).startswith("Remote"):
            return None
        raise InputError(
            f"the C2PA manifest of {video} cannot be read: {_reason(error)}; the file is damaged"
        ) from None
    except OSError as error:
        raise InputError(f"{video} cannot be read: {error.strerror}; check the path") from None


def _library() -> Any:
    try:
        import c2pa
        import cryptography  # noqa: F401
    except (ImportError, RuntimeError):  # RuntimeError: its binary is for another machine
        raise MissingExtra("signing needs an extra: pip install 'vlasik-toolkit[c2pa]'") from None
    return c2pa


def _context(c2pa: Any) -> Any:
    """Settings of the library: no network, and no pictures of the frames in the manifest."""
    return c2pa.Context(c2pa.Settings.from_dict(_SETTINGS))


def _signer(c2pa: Any, config: WritingConfig, timestamp_url: str | None) -> Any:
    certificates, key = _credentials(config)
    return c2pa.Signer.from_info(c2pa.C2paSignerInfo(config.c2pa_algorithm, certificates, key, timestamp_url))


def _embed(c2pa: Any, source: Path, video: Path, signed: Path, manifest: dict[str, Any], config: WritingConfig) -> None:
    with (
        _context(c2pa) as context,
        _signer(c2pa, config, config.c2pa_timestamp_url) as signer,
        c2pa.Builder(manifest, context) as builder,
    ):
        builder.set_intent(c2pa.C2paBuilderIntent.EDIT)  # the action c2pa.opened comes with the parent
        _add_parent(c2pa, builder, source)
        with video.open("rb") as plain, signed.open("w+b") as file:
            builder.sign(signer, SIGNABLE[video.suffix.lower()], plain, file)


def _sign_pixel(c2pa: Any, config: WritingConfig, timestamp_url: str | None) -> None:
    from PIL import Image

    picture = BytesIO()
    Image.new("L", (1, 1)).save(picture, "PNG")
    picture.seek(0)
    with (
        _context(c2pa) as context,
        _signer(c2pa, config, timestamp_url) as signer,
        c2pa.Builder({}, context) as builder,
    ):
        builder.set_intent(c2pa.C2paBuilderIntent.CREATE)
        builder.sign(signer, "image/png", picture)


def _add_parent(c2pa: Any, builder: Any, source: Path) -> None:
    parent = {"title": source.name, "relationship": "parentOf"}
    with source.open("rb") as file:
        try:
            builder.add_ingredient(parent, _media_type(source), file)
        except c2pa.C2paError as error:
            # Players and FFmpeg tolerate more than the library. Name the parent without reading it.
            file.seek(0)
            parent["description"] = f"not searched for a manifest: {_reason(error)}"
            builder.add_ingredient(parent, "application/octet-stream", file)


def _media_type(video: Path) -> str:
    """The media type, for MP4 and MOV from their first bytes: a manifest in a misnamed file must not be lost."""
    with video.open("rb") as file:
        head = file.read(12)
    if head[4:8] == b"ftyp":
        return SIGNABLE[".mov" if head[8:] == b"qt  " else ".mp4"]
    return SIGNABLE.get(video.suffix.lower()) or mimetypes.guess_type(video.name)[0] or "application/octet-stream"


def _credentials(config: WritingConfig) -> tuple[bytes, bytes]:
    """The certificate chain and the private key as PEM, in the form that the library takes.

    Only what was parsed is passed on, so that a key in the certificates' file never gets into a video.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.x509 import load_pem_x509_certificates

    assert config.c2pa_certificate is not None and config.c2pa_key is not None  # the config allows both or neither
    try:
        certificates = load_pem_x509_certificates(_read(config.c2pa_certificate))
    except ValueError:
        raise InputError(
            f"expected PEM certificates in {config.c2pa_certificate}, the signing one first, but found none that can "
            "be read; convert the file with openssl x509"
        ) from None
    try:
        key = serialization.load_pem_private_key(_read(config.c2pa_key), password=None)
    except TypeError:
        raise InputError(
            f"the private key in {config.c2pa_key} is encrypted; name one without a passphrase, readable only by you"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise InputError(
            f"expected a private key in PEM form in {config.c2pa_key}, but found none that can be read; convert the "
            "file with openssl pkey"
        ) from None
    kind, algorithms = _algorithms(key)
    if config.c2pa_algorithm not in algorithms:
        advice = (
            f"set it to {' or '.join(algorithms)}" if algorithms else "C2PA has no algorithm for it; use another key"
        )
        raise UsageError(f"the algorithm {config.c2pa_algorithm} does not fit {config.c2pa_key}, {kind}; {advice}")
    if certificates[0].public_key() != key.public_key():
        raise UsageError(
            f"the first certificate in {config.c2pa_certificate} does not belong to the key in {config.c2pa_key}; put "
            "the key's certificate first, or name the other key"
        )
    encoding, private = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    chain = b"".join(certificate.public_bytes(encoding) for certificate in certificates)
    return chain, key.private_bytes(encoding, private, serialization.NoEncryption())


def _algorithms(key: Any) -> tuple[str, list[str]]:
    """The kind of a key, and the C2PA algorithms that use it (specification 2, section 13.2.1)."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(key, ec.EllipticCurvePrivateKey):
        curves = {"secp256r1": ["es256"], "secp384r1": ["es384"], "secp521r1": ["es512"]}
        return f"an elliptic key on {key.curve.name}", curves.get(key.curve.name, [])
    if isinstance(key, rsa.RSAPrivateKey):
        return f"an RSA key of {key.key_size} bits", ["ps256", "ps384", "ps512"] if key.key_size >= 2048 else []
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "an Ed25519 key", ["ed25519"]
    return "a key of another kind", []


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; expected a PEM file, check the path") from None


def _reason(error: Exception) -> str:
    """The library's message without the name of its error."""
    return str(error).partition(": ")[2] or str(error)

"""Which model a request that passes through is for."""

from __future__ import annotations

import pytest

from paceline.proxy.serving.passthrough import model_of
from tests.proxy.requests import request

FORM = (
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n'
    b"Content-Type: audio/wav\r\n\r\nRIFF\r\n"
    b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper\r\n--b--\r\n'
)


@pytest.mark.parametrize(
    ("target", "body", "model"),
    [
        ("/v1/embeddings", b'{"input":"a","model":"m"}', "m"),
        ("/tokenize?model=q", b"", "q"),
        ("/v1/embeddings", b'{"input":"a"}', ""),
        ("/v1/embeddings", b'{"model":7}', ""),
        ("/v1/embeddings", b'{"model":"\xff"}', ""),
        ("/v1/embeddings", b"[" * 5000, ""),
        ("/anything", b"", ""),
    ],
)
async def test_model_is_found(target: str, body: bytes, model: str) -> None:
    """In the body or in the query; what cannot be read names none."""
    assert model_of(await request("POST", target, body)) == model


async def test_model_in_a_form() -> None:
    """Uploads name it in a field of their own."""
    kind = "multipart/form-data; boundary=b"
    upload = await request("POST", "/v1/audio/transcriptions", FORM, Content_Type=kind)
    assert model_of(upload) == "whisper"

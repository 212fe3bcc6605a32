"""The openings that a task puts to the model: bundled, from a text file, or streamed; and their split."""

from __future__ import annotations

import codecs
import hashlib
import itertools
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from pgnotes.lm.errors import BadInputError

OPENWEBTEXT = (
    ("Skylion007/openwebtext", None),
    ("Skylion007/openwebtext", "refs/convert/parquet"),
    ("sam2ai/openwebtext-10k", "refs/convert/parquet"),
)
# The longer marks first: UTF-32's begins with UTF-16's.
BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
STRANGE = 0.1  # of the characters of a text file may be undecodable or control characters
STREAMED = 2000  # openings taken from a streamed data set; a few megabytes are read, never the whole set


def split(prompts: Sequence[str]) -> tuple[list[str], list[str]]:
    """Prompts without duplicates, about 80 % for training and 20 % held out.

    A prompt's own hash decides, so that no other prompt matters.
    """
    unique = list(dict.fromkeys(p.strip() for p in prompts if p.strip()))
    train, held_out = [], []
    for prompt in unique:
        chance = hashlib.sha256(prompt.encode("utf-8", "replace")).digest()[0]
        (held_out if chance % 5 == 0 else train).append(prompt)
    if not train or not held_out:
        raise BadInputError(
            f"prompts has {len(unique)} different lines, {len(train)} for training and {len(held_out)} held out; "
            "give a few dozen at least"
        )
    return train, held_out


def load_prompts(source: str) -> list[str]:
    """Openings from "bundled", "openwebtext" (streamed), or a text file, one a line.

    BadInputError for what is no text file.
    """
    if source == "bundled":
        return files("pgnotes.lm").joinpath("prompts.txt").read_text(encoding="utf-8").splitlines()
    if source == "openwebtext":
        return stream_openwebtext()
    path = Path(source).expanduser()
    if not path.is_file():
        raise BadInputError(
            f"prompts is {source!r}, which is no file here; "
            "give 'bundled', 'openwebtext' or a text file with one prompt a line"
        )
    try:
        return decoded(path.read_bytes(), source).splitlines()
    except OSError as error:
        raise BadInputError(f"prompts is {source!r}, which can't be read: {error.strerror}") from error


def decoded(data: bytes, source: str) -> str:
    """The text of a prompts file: UTF-8, or what its byte-order mark says; a stray byte becomes "\ufffd".

    BadInputError if a tenth of it is no text: an archive, a model's weights, another encoding.
    """
    encoding = next((name for mark, name in BYTE_ORDER_MARKS if data.startswith(mark)), "utf-8")
    text = data.decode(encoding, errors="replace")
    strange = sum(c == "\ufffd" or (c < " " and c not in "\t\n\r\f\v\x1b") for c in text)
    if strange > STRANGE * len(text):
        raise BadInputError(
            f"prompts is {source!r}, which is no text in UTF-8, as far as one can tell; "
            "save it as UTF-8, one prompt a line"
        )
    return text


def stream_openwebtext(count: int = STREAMED) -> list[str]:
    """The first 300 characters of `count` web texts, streamed.

    ConnectionError, naming the bundled prompts, where they can't be reached.
    """
    from pgnotes.lm.models import why_no_hub

    failures = [why_no_hub()]
    for name, revision in () if failures[0] else OPENWEBTEXT:
        try:
            from datasets import load_dataset  # seconds, and in vain where there is no network

            rows = load_dataset(name, revision=revision, split="train", streaming=True)
            return [" ".join(row["text"][:300].split()) for row in itertools.islice(rows, count)]
        except ModuleNotFoundError as error:
            raise ConnectionError(
                f"prompts is 'openwebtext', which needs the package {error.name}: pip install datasets; "
                "or use --set prompts=bundled"
            ) from error
        except Exception as error:  # each source fails in its own way; all of them are reported together below
            failures.append(f"{name}: {type(error).__name__}")
    reasons = "; ".join(filter(None, failures))
    raise ConnectionError(
        f"openwebtext could not be reached ({reasons}); use --set prompts=bundled, which needs no network"
    )

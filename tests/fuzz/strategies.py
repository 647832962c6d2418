"""Bytes as a fuzzer likes them: any at all, and good ones with a few edits."""

from collections.abc import Sequence

from hypothesis import strategies as st

TOKENS = [
    b'"', b"\n", b"\r", b"\0", b"\t", b",", b"{", b"}", b"[", b"]", b"\\", b"\\u0000", b"\\ud800", b"\xef\xbb\xbf", b"\xff",
    b"\xc3", b"NaN", b"Infinity", b"-1", b"1e999", b"null", b"true", b"0" * 400, b"[" * 2000, b'{"a":' * 1000, b"'''", b"#",
    b"text", b"label", b"error", "é\u2028\u0085".encode(), b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PAR1", b" " * 70, b"=1+1",
]  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn, seeds: Sequence[bytes]) -> bytes:
    """One of the seeds with up to six cuts, each filled with a token or with any bytes."""
    data = draw(st.sampled_from(list(seeds)))
    for _ in range(draw(st.integers(0, 6))):
        start = draw(st.integers(0, len(data)))
        cut = draw(st.sampled_from([0, 0, 1, 2, 7, 40, len(data)]))
        filling = draw(st.sampled_from(TOKENS) | st.binary(max_size=12))
        data = data[:start] + filling + data[start + cut :]
    return data


def any_bytes(seeds: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """What a target is to bear."""
    return mutated(seeds) | st.binary(max_size=300)

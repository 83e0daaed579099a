"""Names of files that strangers chose."""


def as_utf8(text: str) -> str:
    """Write out the bytes of a path that are not UTF-8, which no table or log could hold."""
    return text.encode("utf-8", "backslashreplace").decode()

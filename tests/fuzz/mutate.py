"""Changes of files: bytes, tags of TIFF, chunks of PNG, values of JSON and TOML, cells of tables, arrays, names."""

import io
import json
import re
import struct
import zipfile
import zlib

import numpy as np

INTERESTING = (0, 1, 2, 3, 7, 8, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**24, 2**31 - 1, 2**31, 2**32 - 1)


def change_bytes(data, rng):
    """Flip, overwrite, cut, repeat, insert or remove bytes, once or a few times."""
    out = bytearray(data)
    for _ in range(int(rng.choice([1, 1, 1, 2, 4, 16]))):
        if not out:
            return b""
        at = int(rng.integers(len(out)))
        n = int(rng.integers(1, 9))
        match int(rng.integers(8)):
            case 0:
                out[at] ^= 1 << int(rng.integers(8))
            case 1:
                out[at : at + n] = rng.bytes(n)
            case 2:
                del out[at:]
            case 3:
                del out[at : at + n]
            case 4:
                out[at:at] = rng.bytes(n)
            case 5:
                value = int(rng.choice(INTERESTING))
                out[at : at + 4] = struct.pack(str(rng.choice(["<I", ">I"])), value)
            case 6:
                value = int(rng.choice(INTERESTING)) & 0xFFFF
                out[at : at + 2] = struct.pack(str(rng.choice(["<H", ">H"])), value)
            case 7:
                length = int(rng.integers(1, 200))
                out[at:at] = out[at : at + length]
    return bytes(out)


def change_tag(data, rng):
    """Change code, type, count or value of a tag of a classic little-endian TIFF."""
    if data[:4] != b"II*\0":
        return change_bytes(data, rng)
    out = bytearray(data)
    (place,) = struct.unpack_from("<I", out, 4)
    if place + 2 > len(out):
        return change_bytes(data, rng)
    (n,) = struct.unpack_from("<H", out, place)
    for _ in range(int(rng.choice([1, 1, 2, 3]))):
        entry = place + 2 + 12 * int(rng.integers(max(n, 1)))
        if entry + 12 > len(out):
            continue
        value = int(rng.choice(INTERESTING)) if rng.random() < 0.7 else int(rng.integers(2**32))
        match int(rng.integers(6)):
            case 0:
                codes = (
                    254,
                    256,
                    257,
                    258,
                    259,
                    262,
                    266,
                    270,
                    273,
                    277,
                    278,
                    279,
                    284,
                    317,
                    320,
                    322,
                    324,
                    330,
                    338,
                    339,
                )
                struct.pack_into("<H", out, entry, int(rng.choice(codes)))
            case 1:
                struct.pack_into("<H", out, entry + 2, int(rng.integers(20)))
            case 2:
                struct.pack_into("<I", out, entry + 4, value)
            case 3 | 4:
                struct.pack_into("<I", out, entry + 8, value)
            case 5:
                struct.pack_into("<I", out, entry + 8, int(rng.integers(0, 40000)))
    return bytes(out)


def change_xml(data, rng):
    """Change an attribute of the OME-XML in a TIFF, within its length."""
    places = list(re.finditer(rb'(\w+)="([^"]*)"', data))
    if not places:
        return change_bytes(data, rng)
    out = bytearray(data)
    for _ in range(int(rng.choice([1, 1, 2, 4]))):
        where = places[int(rng.integers(len(places)))]
        room = where.end(2) - where.start(2)
        words = (
            b"9" * room,
            b"-1",
            b"0",
            b"1e9",
            b"nan",
            b"",
            b"../x",
            b"T",
            b"XYZTC",
            b"\xff",
            b"&lt;",
            b"99999",
            b"<",
        )
        word = words[int(rng.integers(len(words)))][:room].ljust(room, b" " if rng.random() < 0.3 else b"0")
        out[where.start(2) : where.end(2)] = word
    return bytes(out)


def change_chunk(data, rng):
    """Change a chunk of a PNG and mend its checksum; or drop, repeat or move one."""
    chunks, at = [], 8
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        chunks.append((data[at + 4 : at + 8], bytearray(data[at + 8 : at + 8 + length])))
        at += 12 + length
    if not chunks:
        return change_bytes(data, rng)
    k = int(rng.integers(len(chunks)))
    match int(rng.integers(5)):
        case 0:
            chunks.pop(k)
        case 1:
            chunks.insert(k, chunks[int(rng.integers(len(chunks)))])
        case 2:
            body = chunks[0][1]
            if len(body) >= 13:
                if rng.random() < 0.5:
                    struct.pack_into(">I", body, int(rng.choice([0, 4])), int(rng.choice(INTERESTING)))
                else:
                    body[int(rng.integers(8, 13))] = int(rng.integers(20))
        case 3:
            chunks[k] = (chunks[k][0], bytearray(change_bytes(bytes(chunks[k][1]), rng)))
        case 4:
            names = (b"tRNS", b"PLTE", b"IDAT", b"IEND", b"acTL", b"iCCP", b"zTXt", b"eXIf", b"fdAT")
            chunks[k] = (names[int(rng.integers(len(names)))], chunks[k][1])
    out = b"\x89PNG\r\n\x1a\n"
    for name, body in chunks:
        out += struct.pack(">I", len(body)) + name + bytes(body) + struct.pack(">I", zlib.crc32(name + bytes(body)))
    return out


def strange_value(rng):
    """Return a value that no setting has."""
    deep = []
    for _ in range(60):
        deep = [deep]
    values = (
        None, True, False, -1, 0, 1, 1e308, float("inf"), float("-inf"), float("nan"), 10**30, -(10**30), 2**63, 0.5,
        "", "x", "1", "x" * 3000, "\x1b[31m", "\ud800", "../../x", "/etc/passwd", "=1+1", "python:os:getcwd", "nan",
        [], {}, [1], [[1, 2], [3]], {"a": 1}, [None], ["a", 1], deep, [1e400], list(range(500)), {"": {}}, "\0",
    )  # fmt: skip
    return values[int(rng.integers(len(values)))]


def change_tree(value, rng):
    """Replace, drop, rename, repeat or wrap one part of a tree of dicts and lists."""
    places = []

    def walk(node):
        for key in node if isinstance(node, dict) else range(len(node)):
            places.append((node, key))
            if isinstance(node[key], dict | list):
                walk(node[key])

    if not isinstance(value, dict | list) or not value:
        return strange_value(rng)
    walk(value)
    node, key = places[int(rng.integers(len(places)))]
    match int(rng.integers(7)):
        case 0:
            del node[key]
        case 1:
            if isinstance(node, dict):
                node[str(strange_value(rng))[:50]] = node.pop(key)
            else:
                node.append(node[key])
        case 2:
            other, place = places[int(rng.integers(len(places)))]
            node[key] = json.loads(json.dumps(other[place])) if other is not node else strange_value(rng)
        case 3 if isinstance(node[key], int | float) and not isinstance(node[key], bool):
            node[key] = node[key] * float(rng.choice([-1, 0, 1e-9, 1e9, 1.0000001])) + float(rng.choice([0, 1, -1]))
        case _:
            node[key] = strange_value(rng)
    return value


def change_json(data, rng):
    """Change the values of a JSON text, sometimes its bytes or its depth."""
    match int(rng.integers(12)):
        case 0:
            return change_bytes(data, rng)
        case 1:
            return (b"[" * 20000) if rng.random() < 0.5 else b'{"format":' * 20000
        case 2:
            return re.sub(rb"\d+", b"9" * int(rng.choice([20, 400, 5000])), data, count=int(rng.integers(1, 4)))
    value = json.loads(data)
    for _ in range(int(rng.choice([1, 1, 1, 2, 5]))):
        value = change_tree(value, rng)
    return json.dumps(value).encode("utf-8", "backslashreplace")


def change_lines(data, rng):
    """Change the values of one object of a file with one a line."""
    lines = data.splitlines() or [b"{}"]
    k = int(rng.integers(len(lines)))
    lines[k] = change_json(lines[k], rng)
    return b"\n".join(lines)


def change_toml(data, rng):
    """Change a value of a TOML text, sometimes its bytes."""
    if rng.random() < 0.2:
        return change_bytes(data, rng)
    lines = data.decode().splitlines()
    odd = (
        "nan", "inf", "-1", "0", "1e400", '""', '"x"', "[]", "{}", "true", "1979-05-27", "[[1]]", "9" * 5000,
        "[" * 3000,
        '"\\u001b[31m"', '"python:os:getcwd"', '"otsu,smooth=nan"', '"li,' + "a" * 2000 + '"', '"/etc/passwd"',
        '"stardist:/"', '"flat,depth=99999999"', '"auto:a|b"', "{a = {b = 1}}", '"\\u0000"', '"gaussian,std=1e999"',
    )  # fmt: skip
    for _ in range(int(rng.choice([1, 1, 2]))):
        k = int(rng.integers(len(lines)))
        name = lines[k].partition("=")[0]
        lines[k] = f"{name or 'a'}= {odd[int(rng.integers(len(odd)))]}" if rng.random() < 0.9 else f"[{name}]"
    return "\n".join(lines).encode()


def change_table(data, rng):
    """Change cells, rows or the head of a CSV, sometimes its bytes."""
    if rng.random() < 0.25:
        return change_bytes(data, rng)
    rows = [line.split(b",") for line in data.splitlines()] or [[b""]]
    odd = (
        b"",
        b"nan",
        b"inf",
        b"-1",
        b"1e999",
        b"x",
        b'"',
        b"\x1b[31m",
        b"=1+1",
        b"9" * 400,
        b"\xff",
        b"1;2",
        b"\0",
        b"-",
    )
    for _ in range(int(rng.choice([1, 1, 2, 5]))):
        row = rows[int(rng.integers(len(rows)))]
        match int(rng.integers(5)):
            case 0:
                rows.remove(row)
                rows = rows or [[b""]]
            case 1:
                rows.append(list(row))
            case 2:
                row.insert(int(rng.integers(len(row) + 1)), odd[int(rng.integers(len(odd)))])
            case _:
                if row:
                    row[int(rng.integers(len(row)))] = odd[int(rng.integers(len(odd)))]
    return b"\n".join(b",".join(row) for row in rows) + b"\n"


def strange_array(array, rng):
    """Return an array of another shape, type or content."""
    match int(rng.integers(8)):
        case 0:
            return array.reshape(-1)[: int(rng.integers(array.size + 1))]
        case 1:
            return array.astype(str(rng.choice(["f8", "f4", "i8", "i4", "u1", "?", "c8", "S4", "U3", ">f8", "f2"])))
        case 2:
            return array[None]
        case 3:
            return array * np.array(-1, array.dtype) if array.dtype.kind in "if" else array.astype("f8") * -1
        case 4:
            out = array.astype("f8").ravel().copy()
            if out.size:
                out[int(rng.integers(out.size))] = float(rng.choice([np.nan, np.inf, -np.inf, 1e300, -1, 2**62]))
            return out.reshape(array.shape)
        case 5:
            return np.zeros(tuple(int(n) for n in rng.integers(0, 4, int(rng.integers(5)))), array.dtype)
        case 6:
            out = array.copy()
            if out.size and out.dtype.kind in "iu":
                out.ravel()[int(rng.integers(out.size))] = np.iinfo(out.dtype).max
            return out
        case _:
            return np.array("text")


def change_npy(data, rng):
    """Change the array, the header or the bytes of an .npy file."""
    if rng.random() < 0.5:
        return change_bytes(data[:128], rng) + data[128:] if rng.random() < 0.7 else change_bytes(data, rng)
    return _npy(strange_array(np.load(io.BytesIO(data)), rng))


def change_npz(data, rng):
    """Change arrays, headers, names or bytes of an .npz file."""
    if rng.random() < 0.3:
        return change_bytes(data, rng)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    name = str(rng.choice(list(parts)))
    match int(rng.integers(5)):
        case 0:
            del parts[name]
        case 1:
            parts[name[:-4] + "x.npy"] = parts.pop(name)
        case 2:
            parts[name] = change_bytes(parts[name][:128], rng) + parts[name][128:]
        case _:
            array = np.load(io.BytesIO(parts[name]))
            text = array.dtype.kind in "US"
            if text and array.ndim == 0 and b"{" in array.tobytes()[:8]:
                parts[name] = _npy(np.array(change_json(str(array).encode(), rng).decode("utf-8", "replace")))
            elif not text:
                parts[name] = _npy(strange_array(array, rng))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for each, content in parts.items():
            archive.writestr(each, content)
    return out.getvalue()


def _npy(array):
    out = io.BytesIO()
    np.save(out, array, allow_pickle=False)
    return out.getvalue()


def strange_name(rng):
    """Return the bytes of a file name, without its suffix."""
    parts = (
        b"a", b"cell", b"_mask", b"_cp_masks", b"_seg", b"\x1b[31m", b"\n", b"\r", b"\t", b"=1+1", b"-rf",
        b"'", b'"', b"%s",
        b"%00", b"\xff\xfe", b"\xe4", "ä".encode(), "ä".encode(), "細胞".encode(), "\U0001f9ec".encode(), b" ", b".",
        b"..", b"\\", b"*", b"[1]", b"{x}", b"<b>", b"&", b"$(x)", b"x" * 90, b"t007", b"man_seg003", b"CON",
        b"\x7f", b",",
        "\u202e".encode(), b".ome", b"~", b"#", b"nul\xcc\x88",
    )  # fmt: skip
    name = b"".join(parts[int(k)] for k in rng.integers(len(parts), size=int(rng.integers(1, 5))))
    return name[:230]

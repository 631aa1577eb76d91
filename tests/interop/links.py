"""Links: fragments, length-delimited streams, COBS (SPEC.md, "Links")."""


def cut(link, number, packet):
    """The pieces in which a packet crosses a link of so many bytes."""
    if len(packet) <= link and packet[0] >> 4:
        return [packet]
    size = link - 2
    shares = [packet[at:at + size] for at in range(0, len(packet), size)]
    assert len(shares) <= 32

    def head(n):
        return (number % 64 << 6 | (n == len(shares) - 1) << 5 | n).to_bytes(2, "big")
    return [head(n) + share for n, share in enumerate(shares)]


class Reassembler:
    """One link's far end, without the clock: all that comes, comes within 10 s."""

    def __init__(self, longest):
        self.longest = longest
        self.newest = None  # its number
        self.shares = None  # of the newest packet, until it is whole
        self.last = None

    def fits(self, shares, last, n, is_last, share):
        if n in shares or is_last and (last is not None or any(other > n for other in shares)):
            return False
        if not is_last and last is not None and n > last:
            return False
        sizes = {len(s) for i, s in list(shares.items()) + [(n, share)] if i != (n if is_last else last)}
        end = share if is_last else shares.get(last, b"")
        if len(sizes) > 1 or sizes and len(end) > max(sizes):
            return False
        size = max(sizes, default=0)
        at_last = n if is_last else last
        ends = [size * n + len(share)] + ([size * at_last + len(end)] if at_last is not None else [])
        return max(ends) <= self.longest

    def handle(self, piece):
        """Returns a packet if it is whole now."""
        if piece and piece[0] >> 4:
            return piece
        if len(piece) < 3:
            return None
        bits, share = int.from_bytes(piece[:2], "big"), piece[2:]
        number, is_last, n = bits >> 6, bool(bits & 32), bits & 31
        if number == self.newest:
            shares, last = self.shares, self.last
            if shares is None:
                return None
        elif self.newest is not None and (self.newest - number) % 64 <= 4:
            return None
        else:
            shares, last = {}, None
        if not self.fits(shares, last, n, is_last, share):
            return None
        self.newest, self.shares, self.last = number, {**shares, n: share}, n if is_last else last
        if self.last is None or len(self.shares) <= self.last:
            return None
        whole = b"".join(self.shares[i] for i in range(self.last + 1))
        self.shares = None
        return whole


def delimited(packet):
    return len(packet).to_bytes(2, "little") + packet


def read_delimited(stream, longest):
    packets = []
    while len(stream) >= 2:
        length = int.from_bytes(stream[:2], "little")
        assert 0 < length <= longest, "out of sync"
        if len(stream) < 2 + length:
            break
        packets.append(stream[2:2 + length])
        stream = stream[2 + length:]
    return packets


def cobs(packet):
    """A packet as it is sent on a serial line, with its zeros around it."""
    out, rest = b"\x00", packet + b"\x00"
    while rest:
        run = rest.index(0)
        if run >= 254:
            out, rest = out + b"\xff" + rest[:254], rest[254:]
            if rest == b"\x00":
                break  # the block was the packet's end
        else:
            out, rest = out + bytes([run + 1]) + rest[:run], rest[run + 1:]
    return out + b"\x00"


def read_cobs(line, longest):
    """The packets in what came over a serial line; what is behind the last zero is not whole."""
    packets = []
    for frame in line.split(b"\x00")[:-1]:
        out, at = b"", 0
        while at < len(frame):
            code = frame[at]
            block = frame[at + 1:at + code]
            if len(block) < code - 1:
                out = b""
                break
            at += code
            out += block + (b"\x00" if code < 255 else b"")
            cut_off = code < 255
        else:
            out = out[:-1] if frame and cut_off else out
            if 0 < len(out) <= longest:
                packets.append(out)
    return packets

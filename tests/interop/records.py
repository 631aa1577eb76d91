"""Records, blocks and descriptors, encoded as in SPEC.md, "Records". Shares no code with the Rust crate."""
from fractions import Fraction

from crypto import fold, prefixed, signed, varint


class Bits:
    def __init__(self):
        self.text = ""

    def put(self, n, width):
        if width:
            self.text += format(n & (1 << width) - 1, f"0{width}b")

    def sized(self, n):
        width = max(1, (n if n >= 0 else ~n).bit_length() + 1)
        self.put(width - 1, 5)
        self.put(n, width)

    def bytes(self):
        self.text += "0" * (-len(self.text) % 8)
        return bytes(int(self.text[i:i + 8], 2) for i in range(0, len(self.text), 8))


class Mean:
    def __init__(self, k0):
        self.m = 64 << k0

    def k(self):
        return max(0, ((self.m + 32) // 64).bit_length() - 1)

    def flat(self):
        return self.m < 16

    def after(self, u):
        self.m += 16 * min(u, 16 << self.k()) - self.m // 4


def low(n, width):
    return format(n & (1 << width) - 1, f"0{width}b") if width else ""


def code(v, k):
    q, w = v >> k, v.bit_length() - 1
    return "1" * q + "0" + low(v, k) if q < 16 else "1" * 16 + low(w, 5) + low(v, w)


def codes_of(numbers, k0=None):
    """Returns the first parameter and the code of each number, some of which are empty."""
    k0 = k_of(numbers) if k0 is None else k0
    mean, codes, left, behind = Mean(k0), [], 0, False
    for i, u in enumerate(numbers):
        text = ""
        if left:
            left -= 1
        elif behind:
            text, behind = code(u - 1, mean.k()), False
        elif mean.flat():
            r = next((j for j, v in enumerate(numbers[i:]) if v), len(numbers) - i)
            w = (r + 1).bit_length() - 1
            text = "1" * w + "0" + low(r + 1, w)
            left, behind = max(0, r - 1), r > 0
            if r == 0:
                text += code(u - 1, mean.k())
        else:
            text = code(u, mean.k())
        codes.append(text)
        mean.after(u)
    return k0, codes


def wrap(n):
    return (n + 2**31) % 2**32 - 2**31


def k_of(us):
    mean = sum(us[:8]) // max(1, len(us[:8]))
    return max(0, mean.bit_length() - 1)


WEIGHTS = [None, (0, 0, 0), (8, 0, 0), (16, -8, 0), (12, -6, 0), (8, -2, 0), (15, -10, 2), (9, 0, -2), (2, -2, 0),
           (8, -4, 0), (6, -2, 0), (10, -8, 2), (17, -14, 4), (4, 4, 0)]


def predict(predictor, xs):
    """The number that should follow xs."""
    if predictor == 0:
        return 0
    d = [wrap(q - p) for p, q in zip(xs, xs[1:])][::-1][:3] + [0] * 3
    return wrap(xs[-1] + (sum(w * e for w, e in zip(WEIGHTS[predictor], d)) + 4) // 8)


def block(rows, codings, mode, quality, timing=None, k0s=None, k0_steps=None):
    """`codings`, per component: 0 for raw, or 2 + the predictor, or ("absent", state). `timing`: the steps, the one that
    the rate gives, and whether to write intervals."""
    b = Bits()
    for n, width in ((mode, 2), (quality, 2), (len(rows) - 1, 10)):
        b.put(n, width)
    if timing is not None:
        steps, regular, intervals = timing
        if all(s == regular for s in steps):
            b.put(0, 2)
        elif len(set(steps)) == 1:
            b.put(1, 2)
            b.sized(steps[0])
        elif intervals:
            b.put(3, 2)
        else:
            b.put(2, 2)
            b.sized(steps[0])
            changes = [fold(q - p) for p, q in zip(steps, steps[1:])]
            k0, changes = codes_of(changes, k0_steps)
            b.put(k0, 5)
            b.text += "".join(changes)
    codes = []
    for c, coding in enumerate(codings):
        xs = [row[c] for row in rows]
        if isinstance(coding, tuple):
            b.put(1, 4)
            b.put(coding[1] - 16, 3)
            codes.append([""] * len(xs))
            continue
        b.put(coding, 4)
        if coding == 0:
            width = max((x if x >= 0 else ~x).bit_length() + 1 for x in xs)
            b.put(width - 1, 5)
            codes.append([format(x & (1 << width) - 1, f"0{width}b") for x in xs])
            continue
        us = [fold(wrap(xs[i] - predict(coding - 2, xs[:i]))) for i in range(1, len(xs))]
        b.sized(xs[0])
        k0, own = codes_of(us, k0s and k0s[c])
        codes.append([""] + own)
        b.put(k0, 5)
    for row in zip(*codes):
        b.text += "".join(row)
    return b.bytes()


class BitReader:
    def __init__(self, data):
        self.text, self.at = "".join(format(byte, "08b") for byte in data), 0

    def take(self, width):
        self.at += width
        assert self.at <= len(self.text), "truncated"
        return int("0" + self.text[self.at - width:self.at], 2)

    def signed(self, width):
        n = self.take(width)
        return n - (1 << width) if n >> width - 1 else n

    def sized(self):
        return self.signed(self.take(5) + 1)

    def ones(self):
        n = 0
        while n < 16 and self.take(1):
            n += 1
        return n

    def code(self, k):
        q = self.ones()
        if q < 16:
            return q << k | self.take(k)
        w = self.take(5)
        return 1 << w | self.take(w)


class Numbers:
    """The Rice codes of `count` numbers."""

    def __init__(self, bits, k0, count):
        self.bits, self.mean, self.left, self.zeros, self.behind = bits, Mean(k0), count, 0, False

    def next(self):
        k, bits = self.mean.k(), self.bits
        if self.zeros:
            self.zeros -= 1
            u = 0
        elif self.behind:
            self.behind = False
            u = bits.code(k) + 1
        elif self.mean.flat():
            w = bits.ones()
            r = (1 << w | bits.take(w)) - 1
            assert r <= self.left, "run"
            if r:
                self.zeros, self.behind, u = r - 1, True, 0
            else:
                u = bits.code(k) + 1
        else:
            u = bits.code(k)
        self.mean.after(u)
        self.left -= 1
        return u


def unfold(u):
    return -(u + 1) // 2 if u & 1 else u // 2


CODINGS_READ = set()


def read_block(data, components, regular=None, has_timing=False, scale=(1, 0)):
    """Returns mode, quality, absences, steps and rows."""
    b = BitReader(data)
    mode, quality, n = b.take(2), b.take(2), b.take(10) + 1
    steps = None
    if has_timing:
        timing = b.take(2)
        if timing == 0:
            steps = [regular] * (n - 1)
        elif timing == 1:
            steps = [b.sized()] * (n - 1)
        elif timing == 2:
            steps = [b.sized()]
            changes = Numbers(b, b.take(5), n - 2)
            for _ in range(n - 2):
                steps.append(steps[-1] + unfold(changes.next()))
    codings, columns, absent = [], [[] for _ in range(components)], []
    for c in range(components):
        coding = b.take(4)
        CODINGS_READ.add(coding)
        absent.append(b.take(3) + 16 if coding == 1 else None)
        if coding == 0:
            codings.append((coding, b.take(5) + 1))
        elif coding >= 2:
            columns[c].append(b.sized())
            codings.append((coding, Numbers(b, b.take(5), n - 1)))
        else:
            codings.append((coding, None))
    for i in range(n):
        for c, (coding, state) in enumerate(codings):
            if coding == 0:
                columns[c].append(b.signed(state))
            elif coding == 1:
                columns[c].append(None)
            elif i > 0:
                columns[c].append(wrap(predict(coding - 2, columns[c]) + unfold(state.next())))
    rows = [list(row) for row in zip(*columns)]
    assert b.at > len(b.text) - 8 and "1" not in b.text[b.at:], "filling"
    if has_timing and steps is None:
        times, total = [0], 0
        for row in rows[1:]:
            total += row[0]
            times.append((2 * total * Fraction(scale[0]) * Fraction(10) ** scale[1] + 1) // 2)
        steps = [q - p for p, q in zip(times, times[1:])]
    return mode, quality, absent, steps, rows


def head(kind, number):
    return bytes([kind << 5 | number]) if number < 31 else bytes([kind << 5 | 31]) + varint(number)


def measurement(channel, values):
    return head(0, channel) + b"".join(map(signed, values))


def qualified(channel, mode, states, values):
    return head(1, channel) + bytes([mode, *states]) + b"".join(map(signed, values))


def trend(channel, steps, rows, codings, mode=0, quality=0, regular=None, intervals=False, **k0):
    return head(2, channel) + block(rows, codings, mode, quality, (steps, regular, intervals), **k0)


def waveform(channel, index, rows, codings, mode=0, quality=0, **k0):
    return head(3, channel) + varint(index) + block(rows, codings, mode, quality, **k0)


def event(channel, mode, code, value):
    out = head(4, channel) + bytes([mode | (value is not None) << 2]) + varint(code)
    return out + (signed(value) if value is not None else b"")


def alarm(channel, mode, phase, priority, technical, code, limits):
    """`limits`: value, low limit, high limit; each may be None."""
    out = head(5, channel) + bytes([mode | phase << 2 | priority << 5 | technical << 7])
    out += bytes([sum(1 << i for i, v in enumerate(limits) if v is not None)]) + varint(code)
    return out + b"".join(signed(v) for v in limits if v is not None)


def gap(number, first, count, reason):
    return head(6, number) + varint(first) + varint(count) + bytes([reason])


def extension(kind, body):
    return head(7, kind) + prefixed(body)


def annotation(channel, mode, code, span, text):
    """`channel` may be None."""
    body = bytes([mode | (channel is not None) << 2]) + (bytes([channel]) if channel is not None else b"")
    return extension(1, body + varint(code) + varint(span) + text.encode())


def alarm_limits(channel, mode, component, low, high):
    """`low` and `high` may be None."""
    body = bytes([channel, mode | (low is not None) << 2 | (high is not None) << 3 | component << 4])
    return extension(2, body + b"".join(signed(v) for v in (low, high) if v is not None))


def descriptor(kind, metric, components, rate=None, site=0):
    out = bytes([kind]) + varint(metric) + varint(site)
    out += varint(rate[0]) + varint(rate[1]) if rate else varint(0)
    out += bytes([len(components)])
    for metric, unit, scale, offset in components:
        out += varint(metric) + varint(unit) + b"".join(signed(m) + signed(e) for m, e in (scale, offset))
    return out


def descriptors(channels):
    return b"\x01" + b"".join(varint(n) + prefixed(d) for n, d in sorted(channels.items()))

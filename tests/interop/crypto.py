"""Encodings, key derivation and Noise, as in SPEC.md, "Conventions" and "Handshake", and in the Noise specification,
revision 34. Shares no code with the Rust crate."""
import hashlib
import hmac
import os

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305


class Malformed(Exception):
    pass


def varint(n):
    out = bytearray()
    while n >= 0x80:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    return bytes(out + bytes([n]))


def fold(n):
    return 2 * n if n >= 0 else -2 * n - 1


def signed(n):
    return varint(fold(n))


def prefixed(b):
    return varint(len(b)) + b


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def more(self):
        return self.at < len(self.data)

    def take(self, n):
        if self.at + n > len(self.data):
            raise Malformed("short")
        self.at += n
        return self.data[self.at - n:self.at]

    def byte(self):
        return self.take(1)[0]

    def varint(self, low=0, high=2**64 - 1):
        n = shift = 0
        while True:
            b = self.byte()
            n |= (b & 0x7F) << shift
            if b < 0x80:
                break
            shift += 7
        if (b == 0 and shift) or not low <= n <= high:
            raise Malformed("varint")
        return n

    def prefixed(self):
        return self.take(self.varint())

    def end(self):
        if self.more():
            raise Malformed("bytes are left over")


def blake2s(data):
    return hashlib.blake2s(data).digest()


def hmac_(key, data):
    return hmac.new(key, data, hashlib.blake2s).digest()


def mac(key, data):
    return hmac_(key, data)[:16]


extract = hmac_


def expand(prk, info, length):
    out = block = b""
    while len(out) < length:
        block = hmac_(prk, block + info + bytes([len(out) // 32 + 1]))
        out += block
    return out[:length]


def derive(prk, label, context=b""):
    return expand(prk, b"vitalwire/1 " + label + context, 32)


def nonce(counter):
    return bytes(4) + counter.to_bytes(8, "little")


def dh(secret, public):
    return X25519PrivateKey.from_private_bytes(secret).exchange(X25519PublicKey.from_public_bytes(public))  # refuses 0


def public_of(secret):
    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def ephemeral(static, context, fresh=None):
    hedge = derive(extract(bytes(32), static), b"hedge")
    return derive(extract(hedge, fresh or os.urandom(32)), b"ephemeral", context)


PATTERNS = {
    "XX": (1, False, ["e", "e ee s es", "s se"]),
    "IK": (2, True, ["e es s ss", "e ee se"]),
    "XXpsk3": (3, False, ["e", "e ee s es", "s se psk"]),
    "IKpsk2": (4, True, ["e es s ss", "e ee se psk"]),
    "NNpsk0": (5, False, ["psk e", "e ee"]),
}


class Noise:
    """The initiator's half of a handshake."""

    def __init__(self, pattern, prologue, s, e, rs=None, psk=None):
        name = f"Noise_{pattern}_25519_ChaChaPoly_BLAKE2s".encode()
        self.h = self.ck = name.ljust(32, b"\0") if len(name) <= 32 else blake2s(name)
        self.key, self.n = None, 0
        self.s, self.e, self.rs, self.re, self.psk = s, e, rs, None, psk
        _, knows_responder, messages = PATTERNS[pattern]
        self.messages = list(messages)
        self.mix_hash(prologue)
        if knows_responder:
            self.mix_hash(rs)

    def copy(self):
        other = object.__new__(Noise)
        other.__dict__.update(self.__dict__)
        other.messages = list(self.messages)
        return other

    def mix_hash(self, data):
        self.h = blake2s(self.h + data)

    def hkdf(self, ikm, n):
        prk, out = hmac_(self.ck, ikm), [b""]
        for i in range(n):
            out.append(hmac_(prk, out[-1] + bytes([i + 1])))
        return out[1:]

    def mix_key(self, ikm):
        self.ck, self.key = self.hkdf(ikm, 2)
        self.n = 0

    def crypt(self, data, opening):
        if self.key is None:
            self.mix_hash(data)
            return data
        aead = ChaCha20Poly1305(self.key)
        out = (aead.decrypt if opening else aead.encrypt)(nonce(self.n), data, self.h)
        self.mix_hash(data if opening else out)
        self.n += 1
        return out

    def mix_dh(self, token):
        ours, theirs = token
        self.mix_key(dh(getattr(self, ours), self.re if theirs == "e" else self.rs))

    def message(self, data, opening):
        """Writes (data = payload) or reads (data = message) the next message."""
        out, r = b"", Reader(data)
        for token in self.messages.pop(0).split():
            if token == "e":
                if opening:
                    self.re = r.take(32)
                else:
                    out += public_of(self.e)
                e = self.re if opening else public_of(self.e)
                self.mix_hash(e)
                if self.psk is not None:
                    self.mix_key(e)
            elif token == "s":
                if opening:
                    self.rs = self.crypt(r.take(32 + 16 * (self.key is not None)), True)
                else:
                    out += self.crypt(public_of(self.s), False)
            elif token == "psk":
                self.ck, mixed, self.key = self.hkdf(self.psk, 3)
                self.mix_hash(mixed)
                self.n = 0
            else:
                self.mix_dh(token)
        return out + self.crypt(data[r.at:], opening)

    def split(self):
        return b"".join(self.hkdf(b"", 2))

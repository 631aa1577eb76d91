//! The fuzzer's bytes as a sequence of choices. At the end everything is zero, so that every input is complete.

/// A cursor over the fuzzer's bytes.
#[derive(Clone)]
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn u8(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    pub fn u16(&mut self) -> u16 {
        u16::from(self.u8()) << 8 | u16::from(self.u8())
    }

    /// A choice below `count`, which is not zero.
    pub fn below(&mut self, count: usize) -> usize {
        usize::from(self.u8()) % count
    }

    /// The next `len` bytes, or what is left of them.
    pub fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Bytes behind a length of one byte.
    pub fn short(&mut self) -> &'a [u8] {
        let len = self.u8();
        self.take(len.into())
    }

    /// Bytes behind a length of two bytes.
    pub fn long(&mut self) -> &'a [u8] {
        let len = self.u16();
        self.take(len.into())
    }

    pub fn rest(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.0)
    }

    /// Edits a packet up to three times, and tells whether it is another one now.
    pub fn mutate(&mut self, packet: &mut Vec<u8>) -> bool {
        let original = packet.clone();
        for _ in 0..1 + self.below(3) {
            let op = self.u8();
            let at = usize::from(self.u16()) % packet.len().max(1);
            match op % 6 {
                0 if !packet.is_empty() => packet[at] ^= self.u8(),
                1 if !packet.is_empty() => packet[at] ^= 1 << (self.u8() & 7),
                2 => packet.truncate(at),
                3 => packet.extend_from_slice(self.short()),
                4 => {
                    let bytes = self.short();
                    for (to, from) in packet.iter_mut().skip(at).zip(bytes) {
                        *to = *from;
                    }
                }
                5 if !packet.is_empty() => drop(packet.remove(at)),
                _ => {}
            }
        }
        *packet != original
    }
}

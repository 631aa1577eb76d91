//! What the targets of blocks have in common: a channel, its absences and its numbers out of the fuzzer's bytes.

use crate::input::Input;
use vitalwire::framing::*;

/// The number of the only channel that is not behind the escape of a head.
const LOW: u8 = 3;
const HIGH: u8 = 200;

const REASONS: [Absence; 7] = [
    Absence::Unknown,
    Absence::NotMeasured,
    Absence::SensorOff,
    Absence::Failed,
    Absence::Overflow,
    Absence::Underflow,
    Absence::Withheld,
];

/// A block's channel, and what it says beside the numbers.
///
/// Input: number of components (from 1 on, modulo `most`) ‖ flags (bits 0–1 mode, bits 2–3 quality, bits 4–5 width of the
/// numbers: 1, 2, 3 or 4 bytes, bit 6 they are differences, bit 7 the channel's number is escaped) ‖ byte limit (2 bytes) ‖
/// absent components (2 bytes, the lowest bit is component 0).
pub struct Shape {
    pub number: u8,
    pub components: usize,
    pub status: Status,
    pub absences: Vec<Option<Absence>>,
    pub limit: usize,
    width: usize,
    differences: bool,
}

impl Shape {
    pub fn read(input: &mut Input<'_>, most: usize) -> Self {
        let components = 1 + input.below(most);
        let flags = input.u8();
        let limit = usize::from(input.u16() % 1100);
        let absent = input.u16();
        let modes = [Mode::Real, Mode::Test, Mode::Demonstration];
        let qualities = [Quality::Valid, Quality::Questionable, Quality::Calibrating, Quality::Invalid];
        let mode = modes[usize::from(flags & 3) % 3];
        Self {
            number: if flags & 0x80 == 0 { LOW } else { HIGH },
            components,
            status: Status { mode, quality: qualities[usize::from(flags >> 2 & 3)] },
            absences: (0..components)
                .map(|component| (absent >> component & 1 != 0).then(|| REASONS[(component + 2) % 7]))
                .collect(),
            limit,
            width: usize::from(flags >> 4 & 3) + 1,
            differences: flags & 0x40 != 0,
        }
    }

    /// The numbers, row by row, in complete rows; big endian, sign-extended, differences within a component.
    pub fn numbers(&self, input: &mut Input<'_>) -> Vec<i32> {
        let mut last = vec![0i32; self.components];
        let mut numbers = Vec::new();
        for (index, chunk) in input.rest().chunks(self.width).take(2500).enumerate() {
            let number = chunk.iter().fold(0u32, |number, &byte| number << 8 | u32::from(byte));
            let shift = 32 - 8 * chunk.len() as u32;
            let number = (number << shift).cast_signed() >> shift;
            let last = &mut last[index % self.components];
            *last = if self.differences { last.wrapping_add(number) } else { number };
            numbers.push(*last);
        }
        numbers.truncate(numbers.len() / self.components * self.components);
        numbers
    }

    /// The encoded set of the one channel.
    pub fn set(&self, kind: ChannelKind, rate: Option<Rate>) -> Vec<u8> {
        let components = vec![Component::new(150_020, 264_864); self.components];
        let mut channel = ChannelDescriptor::new(self.number, kind, 150_020, components.as_slice().into());
        channel.rate = rate;
        let mut out = vec![0u8; 512];
        let len = encode_descriptors(&[channel], &mut out).expect("the channel is consistent");
        out.truncate(len);
        out
    }

    /// What a row says: the numbers, without those that are absent.
    pub fn row(&self, numbers: &[i32]) -> Vec<Option<i32>> {
        let present = |(number, absence): (&i32, &Option<Absence>)| absence.is_none().then_some(*number);
        numbers.iter().zip(&self.absences).map(present).collect()
    }

    /// Holds that one row of a block fits the limit unless it is smaller than one can take: `fixed` bits of everything but
    /// the numbers, each of which takes at most 41.
    pub fn check_refusal(&self, error: EncodeError, fixed: usize) {
        let present = self.absences.iter().filter(|absence| absence.is_none()).count();
        let bits = fixed + 41 * present + 7 * (self.components - present);
        assert!(matches!(error, EncodeError::BufferTooSmall(_)), "{error}");
        assert!(self.limit < bits.div_ceil(8), "a row fits: {error}");
    }
}

/// The body of a Records frame with one record.
pub fn body(record: &[u8]) -> Vec<u8> {
    [&[0, 0, 1, 0], record].concat()
}

/// Decodes the one record of a body; it encodes to the same bytes again.
pub fn decode<'a>(body: &'a [u8], set: &DescriptorSet<'_>) -> Option<Record<'a>> {
    let frame = RecordsFrame::parse(body).expect("a frame around one record");
    let mut records = frame.records(set);
    let record = records.next().expect("one record").ok()?.record;
    if records.next().is_some() {
        return None;
    }
    let mut out = [0u8; 1024];
    let len = encode_record(&record, set, &mut out).expect("an accepted record can be encoded");
    assert_eq!(out[..len], body[4..]);
    Some(record)
}

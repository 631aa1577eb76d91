//! The codec of trend and waveform blocks: rows of numbers, each component with a predictor and adaptive Rice codes, or
//! in plain bits, or absent.

use super::bits::{BitReader, BitWriter};
use super::predictor::{Predictor, estimates};
use super::rice::{RiceReader, RiceSize, RiceWriter, first_parameter};
use super::row::{Absences, Row};
use super::{Absence, Mode, Quality, Status};
use crate::codec::{BufferTooSmall, DecodeError};
use crate::limits::MAX_WAVEFORM_COMPONENTS;

/// How many predictors are tried, of those with the least estimates.
const COUNTED: usize = 3;

/// How the numbers of one component are coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    /// Two's complement, all with the same number of bits, 1 to 32.
    Raw { width: u32 },
    /// Not at all.
    Absent(Absence),
    /// Rice codes of what remains after prediction, from this first parameter on.
    Rice { predictor: u8, parameter: u32 },
}

impl Coding {
    const RAW: u32 = 0;
    const ABSENT: u32 = 1;
    /// The code of predictor 0.
    const RICE: u32 = 2;
}

/// Returns how many bits `value` takes in two's complement, 1 to 32.
const fn width(value: i32) -> u32 {
    let magnitude = value ^ value.wrapping_shr(31);
    33u32.wrapping_sub(magnitude.leading_zeros())
}

/// Returns how many bits a number takes with its own width in front.
pub(super) const fn sized_len(value: i32) -> u64 {
    width(value).wrapping_add(5) as u64
}

/// Writes a number with its own width in front.
pub(super) fn write_sized(value: i32, out: &mut BitWriter<'_>) -> Result<(), BufferTooSmall> {
    let width = width(value);
    out.bits(width.saturating_sub(1), 5)?;
    out.bits(value as u32, width)
}

/// Reads a number with its own width in front.
pub(super) fn read_sized(bits: &mut BitReader<'_>) -> Result<i32, DecodeError> {
    let found = bits.bits(5)?.saturating_add(1);
    let value = read_signed(found, bits)?;
    //= SPEC.md#blocks
    //# A reader MUST refuse a sized number whose width is not the smallest.
    if found == width(value) { Ok(value) } else { Err(DecodeError::NonCanonical) }
}

/// Reads a number in two's complement of `width` bits, 1 to 32.
fn read_signed(width: u32, bits: &mut BitReader<'_>) -> Result<i32, DecodeError> {
    let unused = 32u32.wrapping_sub(width);
    Ok((bits.bits(width)?.wrapping_shl(unused) as i32).wrapping_shr(unused))
}

/// What stands at the front of a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlockHead {
    pub(super) status: Status,
    /// How many rows, 1 to 1024.
    pub(super) count: usize,
}

impl BlockHead {
    /// How many bits it takes.
    pub(super) const BITS: u64 = 14;

    pub(super) fn write(&self, out: &mut BitWriter<'_>) -> Result<(), BufferTooSmall> {
        out.bits(self.status.mode as u32, 2)?;
        out.bits(self.status.quality as u32, 2)?;
        out.bits(self.count.saturating_sub(1) as u32, 10)
    }

    pub(super) fn read(bits: &mut BitReader<'_>) -> Result<Self, DecodeError> {
        let mode = Mode::from_code(bits.bits(2)? as u8)?;
        let quality = Quality::from_bits(bits.bits(2)? as u8);
        let count = (bits.bits(10)? as usize).saturating_add(1);
        Ok(Self { status: Status { mode, quality }, count })
    }
}

/// Returns the number of a row and a component. Not a type parameter: the codec would be there twice, for trends and for
/// waveforms.
pub(super) type Lookup<'n> = &'n dyn Fn(usize, usize) -> i32;

/// The numbers that are to be encoded.
#[derive(Clone, Copy)]
pub(super) struct Numbers<'n> {
    pub(super) rows: usize,
    pub(super) components: usize,
    pub(super) absences: Absences,
    pub(super) value: Lookup<'n>,
}

impl<'n> Numbers<'n> {
    /// Lists the numbers of a component.
    fn of(&self, component: usize) -> impl Iterator<Item = i32> + Clone + use<'n> {
        let value = self.value;
        (0..self.rows).map(move |row| value(row, component))
    }

    /// Finds the predictor that takes the fewest bits, and its first parameter.
    ///
    /// All are estimated, and only those that seem best are counted.
    fn choose(&self, component: usize) -> Coding {
        let mut estimates = estimates(self.of(component), self.rows);
        let mut best = (u64::MAX, Coding::Rice { predictor: 1, parameter: 0 });
        for _ in 0..COUNTED {
            let least = estimates.iter_mut().enumerate().min_by_key(|(_, estimate)| **estimate);
            let Some((predictor, estimate)) = least else { break };
            *estimate = u32::MAX;
            let predictor = predictor as u8;
            let parameter = first_parameter(remainders(self.of(component).take(9), predictor));
            let mut size = RiceSize::new(parameter);
            for number in remainders(self.of(component), predictor) {
                size.push(number);
                if size.bits() >= best.0 {
                    break;
                }
            }
            if size.bits() < best.0 {
                best = (size.bits(), Coding::Rice { predictor, parameter });
            }
        }
        best.1
    }
}

/// Returns what remains of each number but the first after prediction.
fn remainders(mut values: impl Iterator<Item = i32>, predictor: u8) -> impl Iterator<Item = u32> {
    let mut predictor = values.next().map(|first| Predictor::new(predictor, first));
    values.filter_map(move |value| predictor.as_mut().map(|predictor| predictor.remainder(value)))
}

/// How a series will be written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    codings: [Coding; MAX_WAVEFORM_COMPONENTS],
    /// How many rows: the first so many.
    pub(super) taken: usize,
}

/// What the rows so far take of one component.
#[derive(Clone, Copy, Debug)]
struct Size {
    predictor: Predictor,
    /// As Rice codes.
    rice: RiceSize,
    /// The first number and the parameter in front of these.
    first_bits: u64,
    /// The width that holds them all.
    width: u32,
}

impl Size {
    /// Returns how many bits `rows` take, with the coding, in the shorter form; and whether that is raw.
    fn bits(&self, rows: usize) -> (u64, bool) {
        let raw = u64::from(self.width).saturating_mul(rows as u64).saturating_add(5);
        let rice = self.rice.bits().saturating_add(self.first_bits);
        (raw.min(rice).saturating_add(4), raw < rice)
    }
}

// What an encoder keeps, whatever it encodes: at most 1 KB on a 64-bit machine.
const _: () = assert!(size_of::<Plan>() + size_of::<[Size; MAX_WAVEFORM_COMPONENTS]>() <= 1024);

/// Plans the longest prefix of the rows that fits `limit` bytes, and its coding; `None` if not even one row fits.
///
/// `others` returns how many bits everything but the series takes with so many rows, which never shrinks; it is
/// asked for 1, 2, 3 and so on.
pub(super) fn plan(
    numbers: &Numbers<'_>,
    limit: usize,
    others: &mut dyn FnMut(usize) -> u64,
) -> Option<Plan> {
    let limit = (limit as u64).saturating_mul(8);
    let mut codings = [Coding::Absent(Absence::Unknown); MAX_WAVEFORM_COMPONENTS];
    for (component, coding) in codings.iter_mut().enumerate().take(numbers.components) {
        *coding = match numbers.absences.get(component) {
            Some(reason) => Coding::Absent(reason),
            None => numbers.choose(component),
        };
    }
    let codings = codings.get_mut(..numbers.components)?;
    let mut taken = 0;
    let mut sizes = measure(numbers, codings, numbers.rows, &mut |rows, bits| {
        let fits = others(rows).saturating_add(bits) <= limit;
        if fits {
            taken = rows;
        }
        fits
    });
    if taken == 0 {
        return None;
    }
    if taken < numbers.rows {
        sizes = measure(numbers, codings, taken, &mut |_, _| true);
    }
    for (coding, size) in codings.iter_mut().zip(sizes) {
        if let (Coding::Rice { .. }, (_, true)) = (&coding, size.bits(taken)) {
            *coding = Coding::Raw { width: size.width };
        }
    }
    let mut plan = Plan { codings: [Coding::Absent(Absence::Unknown); MAX_WAVEFORM_COMPONENTS], taken };
    for (place, coding) in plan.codings.iter_mut().zip(codings) {
        *place = *coding;
    }
    Some(plan)
}

/// Measures row by row what up to `rows` rows take, until `accept` refuses a number of rows and of bits.
fn measure(
    numbers: &Numbers<'_>,
    codings: &[Coding],
    rows: usize,
    accept: &mut dyn FnMut(usize, u64) -> bool,
) -> [Size; MAX_WAVEFORM_COMPONENTS] {
    let none = Size { predictor: Predictor::new(0, 0), rice: RiceSize::new(0), first_bits: 0, width: 0 };
    let mut sizes = [none; MAX_WAVEFORM_COMPONENTS];
    for row in 0..rows {
        let taken = row.saturating_add(1);
        let mut bits = 0u64;
        for (component, (size, coding)) in sizes.iter_mut().zip(codings).enumerate() {
            let Coding::Rice { predictor, parameter } = *coding else {
                // the coding and the reason
                bits = bits.saturating_add(4 + 3);
                continue;
            };
            let value = (numbers.value)(row, component);
            size.width = size.width.max(width(value));
            if row == 0 {
                size.first_bits = sized_len(value).saturating_add(5);
                (size.predictor, size.rice) = (Predictor::new(predictor, value), RiceSize::new(parameter));
            } else {
                size.rice.push(size.predictor.remainder(value));
            }
            bits = bits.saturating_add(size.bits(taken).0);
        }
        if !accept(taken, bits) {
            break;
        }
    }
    sizes
}

/// Writes the numbers as planned.
pub(super) fn write(
    numbers: &Numbers<'_>,
    plan: &Plan,
    out: &mut BitWriter<'_>,
) -> Result<(), BufferTooSmall> {
    //= SPEC.md#blocks
    //# An encoder MUST keep every sample: decoding yields exactly the samples that were taken.
    let codings = plan.codings.get(..numbers.components).unwrap_or_default();
    let mut states = [(Predictor::new(0, 0), RiceWriter::new(0)); MAX_WAVEFORM_COMPONENTS];
    for (component, (coding, state)) in codings.iter().zip(&mut states).enumerate() {
        match *coding {
            Coding::Raw { width } => {
                out.bits(Coding::RAW, 4)?;
                out.bits(width.saturating_sub(1), 5)?;
            }
            Coding::Absent(reason) => {
                out.bits(Coding::ABSENT, 4)?;
                out.bits((reason as u32).saturating_sub(Absence::Unknown as u32), 3)?;
            }
            Coding::Rice { predictor, parameter } => {
                out.bits(Coding::RICE.saturating_add(predictor.into()), 4)?;
                let first = (numbers.value)(0, component);
                write_sized(first, out)?;
                out.bits(parameter, 5)?;
                *state = (Predictor::new(predictor, first), RiceWriter::new(parameter));
            }
        }
    }
    for row in 0..plan.taken {
        for (component, (coding, (predictor, rice))) in codings.iter().zip(&mut states).enumerate() {
            let value = (numbers.value)(row, component);
            match *coding {
                Coding::Raw { width } => out.bits(value as u32, width)?,
                Coding::Rice { .. } if row > 0 => {
                    let before = *predictor;
                    let ahead = || {
                        let mut predictor = before;
                        (row..plan.taken).map(move |row| predictor.remainder((numbers.value)(row, component)))
                    };
                    rice.write(predictor.remainder(value), ahead, out)?;
                }
                Coding::Rice { .. } | Coding::Absent(_) => {}
            }
        }
    }
    Ok(())
}

/// A series that was checked: where it stands, and how long it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct EncodedSeries<'a> {
    bits: BitReader<'a>,
    rows: u16,
    components: u8,
}

impl<'a> EncodedSeries<'a> {
    /// Checks a series of so many rows; returns it and the bits behind it.
    ///
    /// The work is bounded by the numbers that are declared.
    pub(super) fn check(
        bits: BitReader<'a>,
        rows: usize,
        components: usize,
    ) -> Result<(Self, BitReader<'a>), DecodeError> {
        let rows = u16::try_from(rows).map_err(|_| DecodeError::OutOfRange)?;
        let components = u8::try_from(components).map_err(|_| DecodeError::OutOfRange)?;
        let series = Self { bits, rows, components };
        let mut reader = series.start()?;
        while reader.read()?.is_some() {}
        Ok((series, reader.bits))
    }

    pub(super) const fn rows(&self) -> usize {
        self.rows as usize
    }

    pub(super) const fn components(&self) -> usize {
        self.components as usize
    }

    fn start(&self) -> Result<SeriesReader<'a>, DecodeError> {
        let mut bits = self.bits;
        let mut states = [State::Absent(Absence::Unknown); MAX_WAVEFORM_COMPONENTS];
        let used = states.get_mut(..self.components()).ok_or(DecodeError::OutOfRange)?;
        for state in used {
            *state = State::read(&mut bits, self.rows)?;
        }
        Ok(SeriesReader { bits, left: self.rows, next: 0, components: self.components, states })
    }

    /// Starts to read from the front.
    pub(super) fn read(&self) -> SeriesReader<'a> {
        // it was checked, so that this cannot fail
        self.start().unwrap_or(SeriesReader {
            bits: BitReader::new(&[]),
            left: 0,
            next: 0,
            components: self.components,
            states: [State::Absent(Absence::Unknown); MAX_WAVEFORM_COMPONENTS],
        })
    }
}

/// Where the reader is in one component.
#[derive(Clone, Copy, Debug)]
enum State {
    Absent(Absence),
    Raw { width: u32 },
    First { value: i32, predictor: u8, rice: RiceReader },
    Rice { predictor: Predictor, rice: RiceReader },
}

impl State {
    fn read(bits: &mut BitReader<'_>, rows: u16) -> Result<Self, DecodeError> {
        let coding = bits.bits(4)?;
        Ok(match (coding, coding.checked_sub(Coding::RICE)) {
            (_, Some(predictor)) => {
                let value = read_sized(bits)?;
                let rice = RiceReader::new(bits.bits(5)?, u32::from(rows).saturating_sub(1));
                Self::First { value, predictor: predictor as u8, rice }
            }
            (Coding::RAW, _) => Self::Raw { width: bits.bits(5)?.saturating_add(1) },
            //= SPEC.md#blocks
            //# A reader MUST refuse an unknown reason of absence.
            _ => Self::Absent(Absence::from_code(bits.bits(3)? as u8).ok_or(DecodeError::OutOfRange)?),
        })
    }
}

/// Reads a series, number by number.
#[derive(Clone, Copy, Debug)]
pub(super) struct SeriesReader<'a> {
    bits: BitReader<'a>,
    /// The rows that are not complete yet.
    left: u16,
    /// The component that comes next.
    next: u8,
    components: u8,
    states: [State; MAX_WAVEFORM_COMPONENTS],
}

impl SeriesReader<'_> {
    /// Tells why a component is absent.
    pub(super) fn absence(&self, component: usize) -> Option<Absence> {
        match self.states.get(component) {
            Some(State::Absent(reason)) if component < usize::from(self.components) => Some(*reason),
            _ => None,
        }
    }

    /// Reads one number with its component, or `None` at the end; absent components are left out.
    pub(super) fn read(&mut self) -> Result<Option<(u8, i32)>, DecodeError> {
        while self.left > 0 {
            let component = self.next;
            self.next = component.saturating_add(1);
            if self.next >= self.components {
                self.next = 0;
                self.left = self.left.saturating_sub(1);
            }
            let Some(state) = self.states.get_mut(usize::from(component)) else { break };
            let value = match state {
                State::Absent(_) => continue,
                State::Raw { width } => read_signed(*width, &mut self.bits)?,
                State::Rice { predictor, rice } => predictor.value(rice.read(&mut self.bits)?),
                State::First { value, predictor, rice } => {
                    let (value, rice) = (*value, *rice);
                    *state = State::Rice { predictor: Predictor::new(*predictor, value), rice };
                    value
                }
            };
            return Ok(Some((component, value)));
        }
        Ok(None)
    }

    /// Reads a row, or `None` at the end.
    pub(super) fn row(&mut self) -> Option<Row> {
        let before = self.left.checked_sub(1)?;
        let mut row = Row::new(self.components);
        // a row ends with its last component, be it absent or not
        while self.left > before {
            let rest = self.states.get(usize::from(self.next)..usize::from(self.components));
            if rest.is_some_and(|rest| rest.iter().all(|state| matches!(state, State::Absent(_)))) {
                self.next = 0;
                self.left = before;
                break;
            }
            let (component, value) = self.read().ok()??;
            row.set(component, value);
        }
        Some(row)
    }

    /// Reads the next number of a component.
    pub(super) fn component(&mut self, wanted: usize) -> Option<i32> {
        loop {
            let (component, value) = self.read().ok()??;
            if usize::from(component) == wanted {
                return Some(value);
            }
        }
    }
}

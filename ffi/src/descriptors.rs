//! Encoding a descriptor set.

use crate::memory::{self, Plain, Region};
use crate::slot;
use crate::status::*;
use vitalwire::framing::{
    ChannelDescriptor, ChannelKind, Component, Decimal, DescriptorSet, EncodeError, Rate, encode_descriptors,
};
use vitalwire::limits::{MAX_CHANNELS, MAX_WAVEFORM_COMPONENTS};

/// Measurements and trends: 1 to 8 components.
pub const VW_CHANNEL_NUMERIC: u8 = 1;
/// Waveforms: 1 to 12 components, and a rate.
pub const VW_CHANNEL_WAVEFORM: u8 = 2;
/// Events: at most 1 component.
pub const VW_CHANNEL_EVENT: u8 = 3;
/// Nothing but alarms: at most 8 components.
pub const VW_CHANNEL_ALARM: u8 = 4;

/// One quantity of a channel: physical = offset + scale * raw, both mantissa * 10^exponent.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct vw_component {
    /// What it is: an ISO/IEEE 11073-10101 code, partition * 65536 + term.
    pub metric: u32,
    /// Its unit: likewise.
    pub unit: u32,
    /// The scale's digits, not 0: 1 for whole units.
    pub scale_mantissa: i32,
    /// The offset's digits.
    pub offset_mantissa: i32,
    /// The scale's power of ten: -1 for tenths.
    pub scale_exponent: i8,
    /// The offset's power of ten.
    pub offset_exponent: i8,
}

/// What a channel's records mean.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct vw_channel {
    /// The number that its records name it by.
    pub number: u8,
    /// `VW_CHANNEL_…`.
    pub kind: u8,
    /// What it is as a whole: an ISO/IEEE 11073-10101 code, partition * 65536 + term.
    pub metric: u32,
    /// Where on the body: likewise; 0 if it is not said.
    pub site: u32,
    /// Its samples: `rate_numerator` in `rate_denominator` seconds; 0 in both: no rate.
    pub rate_numerator: u32,
    /// See `rate_numerator`.
    pub rate_denominator: u32,
    /// Its quantities.
    pub components: *const vw_component,
    /// How many.
    pub component_count: usize,
}

// SAFETY: integers.
unsafe impl Plain for vw_component {}
// SAFETY: integers and pointers.
unsafe impl Plain for vw_channel {}

const UNUSED: Component = Component::new(0, 0);

/// Writes a descriptor set of up to 64 channels, in ascending order of their numbers, and its length; NULL channels give
/// the empty set. `VW_ERROR_BAD_DESCRIPTORS` if kind, rate and components of one do not go together, or the
/// order is wrong. What is in `out` after an error is no set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_descriptors_encode(
    channels: *const vw_channel,
    count: usize,
    out: *mut u8,
    out_len: usize,
    len: *mut usize,
) -> vw_status {
    slot::caught(|| {
        memory::check_out(len)?;
        if count > MAX_CHANNELS {
            return Err(VW_ERROR_BAD_DESCRIPTORS);
        }
        let given = count.saturating_mul(size_of::<vw_channel>());
        let region = Region::new(out, out_len);
        if region.overlaps(Region::new(channels, given))
            || region.overlaps(Region::new(len, size_of::<usize>()))
        {
            return Err(VW_ERROR_OVERLAP);
        }
        // SAFETY: the caller's memory, by contract.
        let (channels, out) = unsafe { (memory::list(channels, count)?, memory::buffer(out, out_len)?) };
        let mut written = encode_descriptors(&[], out)?;
        for channel in channels {
            // SAFETY: the caller's components, by contract.
            let components = unsafe { memory::list(channel.components, channel.component_count) }?;
            written = append(channel, components, out, written)?;
        }
        let set = out.get(..written).unwrap_or_default();
        DescriptorSet::parse(set).map_err(|_| VW_ERROR_BAD_DESCRIPTORS)?;
        // SAFETY: the caller has room for one, by contract.
        unsafe { memory::write(len, written) }?;
        Ok(VW_OK)
    })
}

/// Appends a channel to a set of `written` bytes, and returns the new length.
///
/// A set is its version and its channels one behind the other, so a set of one channel is written over the last byte, which
/// then gets its value back.
fn append(
    channel: &vw_channel,
    given: &[vw_component],
    out: &mut [u8],
    written: usize,
) -> Result<usize, vw_status> {
    let kind = match channel.kind {
        VW_CHANNEL_NUMERIC => ChannelKind::Numeric,
        VW_CHANNEL_WAVEFORM => ChannelKind::Waveform,
        VW_CHANNEL_EVENT => ChannelKind::Event,
        VW_CHANNEL_ALARM => ChannelKind::Alarm,
        _ => return Err(VW_ERROR_BAD_VALUE),
    };
    let mut components = [UNUSED; MAX_WAVEFORM_COMPONENTS];
    let components = components.get_mut(..given.len()).ok_or(VW_ERROR_BAD_DESCRIPTORS)?;
    for (to, from) in components.iter_mut().zip(given) {
        to.metric = from.metric;
        to.unit = from.unit;
        to.scale = Decimal::new(from.scale_mantissa, from.scale_exponent);
        to.offset = Decimal::new(from.offset_mantissa, from.offset_exponent);
    }
    let mut descriptor = ChannelDescriptor::new(channel.number, kind, channel.metric, (&*components).into());
    descriptor.site = channel.site;
    let rate = Rate { numerator: channel.rate_numerator, denominator: channel.rate_denominator };
    descriptor.rate = (rate != Rate { numerator: 0, denominator: 0 }).then_some(rate);
    let start = written.checked_sub(1).ok_or(VW_ERROR_OTHER)?;
    let space = out.get_mut(start..).ok_or(VW_ERROR_BUFFER_TOO_SMALL)?;
    let last = space.first().copied().ok_or(VW_ERROR_BUFFER_TOO_SMALL)?;
    let more = encode_descriptors(&[descriptor], space).map_err(|error| match error {
        EncodeError::BufferTooSmall(_) => VW_ERROR_BUFFER_TOO_SMALL,
        _ => VW_ERROR_BAD_DESCRIPTORS,
    })?;
    if let Some(first) = space.first_mut() {
        *first = last;
    }
    Ok(start.saturating_add(more))
}

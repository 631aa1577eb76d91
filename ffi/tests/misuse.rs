//! What C can do wrong and the layer can tell is an error code, and changes nothing.
#![allow(clippy::undocumented_unsafe_blocks)] // each block hands over memory of this test, or what must be refused

mod common;

use common::{World, channel, encode, rate};
use core::ptr::{null, null_mut};
use vitalwire_c::vw_status::*;
use vitalwire_c::*;

fn made() -> World {
    let mut world = World::new();
    let config = world.config();
    assert_eq!(world.init(&config), VW_OK);
    world
}

fn record(device: *mut vw_device, lane: u8, channel: u8) -> vw_status {
    let value = 72;
    unsafe { vw_record_values(device, 5, lane, 5, channel, &value, 1, null_mut()) }
}

#[test]
fn a_device_that_was_never_made_or_is_destroyed_is_refused() {
    let mut world = World::new();
    let device = world.device();
    world.device.opaque.fill(0xa5a5_a5a5_a5a5_a5a5);
    assert_eq!(record(device, VW_LANE_EVENT, 1), VW_ERROR_NOT_INITIALISED);
    let config = world.config();
    assert_eq!(world.init(&config), VW_OK);
    assert_eq!(record(device, VW_LANE_EVENT, 1), VW_OK);
    assert_eq!(unsafe { vw_device_destroy(device) }, VW_OK);
    assert_eq!(record(device, VW_LANE_EVENT, 1), VW_ERROR_NOT_INITIALISED);
    assert_eq!(unsafe { vw_device_destroy(device) }, VW_ERROR_NOT_INITIALISED);
}

#[test]
fn destruction_wipes_device_outbox_and_backlog() {
    let mut world = World::new();
    let key = [9; 32];
    let mut config = world.config();
    config.storage_key = key.as_ptr();
    config.backlog = world.backlog.as_mut_ptr();
    config.backlog_len = world.backlog.len();
    world.backlog.fill(0x11);
    assert_eq!(world.init(&config), VW_OK);
    assert_eq!(record(world.device(), VW_LANE_EVENT, 1), VW_OK);
    assert!(world.outbox.iter().any(|byte| *byte != 0));
    assert_eq!(unsafe { vw_device_destroy(world.device()) }, VW_OK);
    assert!(world.device.opaque.iter().all(|word| *word == 0));
    assert!(world.outbox.iter().chain(&world.backlog).all(|byte| *byte == 0));
}

#[test]
fn null_and_misaligned_pointers_are_refused() {
    let mut world = made();
    let device = world.device();
    let odd = device.cast::<u8>().wrapping_add(1).cast::<vw_device>();
    let (mut len, mut out) = (0, [0; 600]);
    unsafe {
        assert_eq!(vw_connect(null_mut(), 0), VW_ERROR_NULL);
        assert_eq!(vw_connect(odd, 0), VW_ERROR_MISALIGNED);
        assert_eq!(vw_poll_timeout(device, null_mut()), VW_ERROR_NULL);
        assert_eq!(vw_poll_event(device, null_mut()), VW_ERROR_NULL);
        assert_eq!(vw_poll_event(device, out.as_mut_ptr().wrapping_add(1).cast()), VW_ERROR_MISALIGNED);
        assert_eq!(vw_poll_transmit(device, 0, null_mut(), 512, &mut len), VW_ERROR_NULL);
        assert_eq!(vw_poll_transmit(device, 0, out.as_mut_ptr(), out.len(), null_mut()), VW_ERROR_NULL);
        assert_eq!(vw_handle_packet(device, 0, null_mut(), 10), VW_ERROR_NULL);
        assert_eq!(vw_handle_packet(device, 0, out.as_mut_ptr(), usize::MAX), VW_ERROR_BAD_LENGTH);
        assert_eq!(vw_handle_packet(device, 0, null_mut(), 0), VW_OK, "of no bytes, whatever the pointer");
        assert_eq!(vw_record_alarm(device, 0, 0, 0, null(), null_mut()), VW_ERROR_NULL);
        assert_eq!(vw_record_values(device, 0, 1, 0, 1, null(), 1, null_mut()), VW_ERROR_NULL);
        assert_eq!(
            vw_record_values(device, 0, 1, 0, 1, [1i32; 9].as_ptr(), 9, null_mut()),
            VW_ERROR_BAD_RECORD
        );
    }
}

#[test]
fn a_configuration_that_lacks_something_is_refused() {
    let mut world = World::new();
    let good = world.config();
    let mut size = size_of::<vw_device>();
    type Spoil = fn(&mut vw_config);
    let cases: [(Spoil, vw_status); 14] = [
        (|config| config.size = 0, VW_ERROR_BAD_LENGTH),
        (|config| config.secret_key = null(), VW_ERROR_NULL),
        (|config| config.entropy = None, VW_ERROR_NULL),
        (|config| config.credential_len = 0, VW_ERROR_MALFORMED_CREDENTIAL),
        (|config| config.credential_len = usize::MAX, VW_ERROR_BAD_LENGTH),
        (|config| config.authority_count = 0, VW_ERROR_INVALID_CONFIG), // and there is no pin
        (|config| config.authority_count = 5, VW_ERROR_BAD_ANCHORS),
        (|config| config.descriptors_len -= 1, VW_ERROR_INVALID_CONFIG),
        (|config| config.max_packet = 63, VW_ERROR_INVALID_CONFIG),
        (|config| config.smallest_packet = 63, VW_ERROR_INVALID_CONFIG),
        (|config| config.policies = [3; 4], VW_ERROR_BAD_VALUE),
        (|config| config.policies = [VW_POLICY_DROP_OLDEST; 4], VW_ERROR_INVALID_CONFIG),
        (|config| config.psk = config.secret_key, VW_ERROR_NULL),
        (|config| config.rekey.session_age_ms = u64::MAX, VW_ERROR_INVALID_CONFIG),
    ];
    for (number, (spoil, expected)) in cases.into_iter().enumerate() {
        let mut config = good;
        spoil(&mut config);
        assert_eq!(world.init(&config), expected, "case {number}");
        assert_eq!(record(world.device(), VW_LANE_EVENT, 1), VW_ERROR_NOT_INITIALISED, "case {number}");
    }
    size -= 8;
    let status = unsafe { vw_device_init(world.device(), size, &good, null_mut(), 0) };
    assert_eq!(status, VW_ERROR_BAD_LENGTH);
    assert_eq!(world.init(&good), VW_OK);
}

#[test]
fn memory_that_is_shared_is_refused() {
    let mut world = World::new();
    let mut config = world.config();
    config.descriptors = config.outbox;
    assert_eq!(world.init(&config), VW_ERROR_OVERLAP);
    let mut config = world.config();
    config.outbox = world.device().cast();
    assert_eq!(world.init(&config), VW_ERROR_OVERLAP);
    let mut config = world.config();
    config.max_packet = 1; // there would be something to say
    let (device, outbox) = (world.device(), world.outbox.as_mut_ptr());
    for why in [device.cast(), outbox.cast(), outbox.wrapping_add(4095).cast()] {
        world.outbox.fill(0x22);
        let status = unsafe { vw_device_init(device, size_of::<vw_device>(), &config, why, 80) };
        assert_eq!(status, VW_ERROR_OVERLAP);
        assert!(world.outbox.iter().all(|byte| *byte == 0x22));
    }

    let mut world = made();
    let (device, mut len) = (world.device(), 0);
    unsafe {
        let outbox = world.outbox.as_mut_ptr();
        assert_eq!(vw_handle_packet(device, 0, outbox, 100), VW_ERROR_OVERLAP);
        assert_eq!(vw_poll_transmit(device, 0, device.cast(), 512, &mut len), VW_ERROR_OVERLAP);
        assert_eq!(vw_poll_transmit(device, 0, outbox.wrapping_add(4095), 512, &mut len), VW_ERROR_OVERLAP);
        assert_eq!(vw_poll_timeout(device, device.cast()), VW_ERROR_OVERLAP);
        assert_eq!(vw_poll_event(device, device.cast()), VW_ERROR_OVERLAP);
        let inside = device.cast();
        assert_eq!(vw_record_values(device, 0, 1, 0, 1, inside, 1, null_mut()), VW_ERROR_OVERLAP);
        let mut packet = [0; 40];
        assert_eq!(vw_poll_transmit(device, 0, packet.as_mut_ptr(), 40, device.cast()), VW_ERROR_OVERLAP);
    }
    assert_eq!(record(device, VW_LANE_EVENT, 1), VW_OK);
}

#[test]
fn a_copy_is_no_device() {
    let mut world = made();
    let mut copy = Box::new(vw_device { opaque: world.device.opaque });
    assert_eq!(record(&raw mut *copy, VW_LANE_EVENT, 1), VW_ERROR_MOVED);
    assert_eq!(unsafe { vw_device_destroy(&raw mut *copy) }, VW_ERROR_MOVED);
    assert_eq!(record(world.device(), VW_LANE_EVENT, 1), VW_OK);
}

#[test]
fn codes_that_name_nothing_are_refused() {
    let mut world = made();
    let device = world.device();
    let mut count = 0;
    let text = [0xff, 0xfe];
    let annotation = vw_annotation {
        has_channel: 0,
        channel: 0,
        mode: 0,
        code: 0,
        span_ms: 0,
        text: text.as_ptr(),
        text_len: text.len(),
    };
    let reply = vw_storage_reply { kind: 99, free: 0, number: 0, data: null(), len: 0 };
    let mut measurement = vw_measurement {
        channel: 1,
        mode: 0,
        count: 1,
        values: [vw_value { raw: 1, state: VW_VALUE_VALID }; VW_VALUES_MAX],
    };
    unsafe {
        assert_eq!(record(device, 4, 1), VW_ERROR_BAD_VALUE);
        assert_eq!(record(device, VW_LANE_EVENT, 2), VW_ERROR_BAD_RECORD);
        assert_eq!(vw_discards(device, u16::MAX, &mut count), VW_ERROR_BAD_VALUE);
        assert_eq!(vw_record_annotation(device, 0, 1, 0, &annotation, null_mut()), VW_ERROR_BAD_VALUE);
        assert_eq!(vw_handle_storage(device, 0, &reply), VW_ERROR_BAD_VALUE);
        assert_eq!(vw_record_measurement(device, 0, 1, 0, &measurement, null_mut()), VW_OK);
        measurement.values[0].state = 7;
        assert_eq!(vw_record_measurement(device, 0, 1, 0, &measurement, null_mut()), VW_ERROR_BAD_VALUE);
        measurement.count = 9;
        assert_eq!(vw_record_measurement(device, 0, 1, 0, &measurement, null_mut()), VW_ERROR_BAD_LENGTH);
        measurement.count = 0;
        assert_eq!(vw_record_measurement(device, 0, 1, 0, &measurement, null_mut()), VW_ERROR_BAD_RECORD);
        for known in [1, 2] {
            let status = vw_record_extension(device, 0, 1, 0, known, text.as_ptr(), 2, null_mut());
            assert_eq!(status, VW_ERROR_BAD_RECORD);
        }
    }
    let mut fill = vw_lane_fill { records: 0, queued: 0, used: 0, capacity: 0, dropped: 0, gaps: 0 };
    assert_eq!(unsafe { vw_fill(device, VW_LANE_EVENT, &mut fill) }, VW_OK);
    assert_eq!(fill.records, 1, "nothing but the good one was accepted");
}

#[test]
fn a_pin_that_is_none_is_refused() {
    let mut world = World::new();
    let service = world.service();
    let mut pin = std::mem::MaybeUninit::<vw_pin>::uninit();
    let mut make =
        |key: *const u8, len| unsafe { vw_pin_init(pin.as_mut_ptr(), key, service.credential.as_ptr(), len) };
    let key = service.key.as_ptr();
    assert_eq!(make(null(), service.credential.len()), VW_ERROR_NULL);
    assert_eq!(make(key, 0), VW_ERROR_MALFORMED_CREDENTIAL);
    assert_eq!(make(key, service.credential.len() - 1), VW_ERROR_MALFORMED_CREDENTIAL);
    assert_eq!(make(key, service.credential.len()), VW_OK);
    let pin = unsafe { pin.assume_init() };
    let mut config = world.config();
    config.authority_count = 0;
    config.pin = &raw const pin;
    assert_eq!(world.init(&config), VW_OK);
    let short = vw_pin { credential_len: 0, ..pin };
    config.pin = &raw const short;
    assert_eq!(world.init(&config), VW_ERROR_INVALID_CONFIG, "no authority vouches for it then");
}

#[test]
fn sizes_that_overflow_are_refused() {
    let mut world = made();
    let device = world.device();
    let (offsets, values) = ([0u64], [1i32]);
    let mut trend = vw_trend {
        channel: 1,
        mode: 0,
        quality: 0,
        components: 255,
        absent: [0; VW_VALUES_MAX],
        offsets_ms: offsets.as_ptr(),
        values: values.as_ptr(),
        points: usize::MAX / 2,
    };
    unsafe {
        assert_eq!(vw_record_trend(device, 0, 2, 0, &trend, null_mut()), VW_ERROR_BAD_LENGTH);
        trend.components = 0;
        assert_eq!(vw_record_trend(device, 0, 2, 0, &trend, null_mut()), VW_ERROR_BAD_LENGTH);
        trend.points = 1;
        assert_eq!(vw_record_trend(device, 0, 2, 0, &trend, null_mut()), VW_ERROR_BAD_RECORD);
        trend.components = 1;
        assert_eq!(vw_record_trend(device, 0, 2, 0, &trend, null_mut()), VW_OK);
    }
}

#[test]
fn what_needs_a_session_says_so_without_one() {
    let mut world = made();
    let device = world.device();
    let mut reading = vw_wall_reading { unix_millis: 0, error_ms: 0, quality: 0 };
    let mut number = 0;
    unsafe {
        assert_eq!(vw_command_done(device, 1, null(), 0), VW_ERROR_STALE_HANDLE);
        assert_eq!(vw_sync_time(device, 0), VW_ERROR_NO_SESSION);
        assert_eq!(vw_wall_time(device, 0, &mut reading), VW_ERROR_NOT_KNOWN);
        assert_eq!(vw_is_connected(device), VW_OK);
        assert_eq!(vw_is_drained(device), VW_YES);
        assert_eq!(vw_stored_through(device, VW_LANE_EVENT, &mut number), VW_OK);
        assert_eq!(number, VW_NEVER);
    }
    let set = encode(&[channel(2, &[rate()])]);
    let status = unsafe { vw_extend_descriptors(device, 0, set.as_ptr(), set.len()) };
    assert_eq!(status, VW_ERROR_BAD_DESCRIPTORS, "it lacks channel 1");
    let set = encode(&[channel(1, &[rate()]), channel(2, &[rate()])]);
    assert_eq!(unsafe { vw_extend_descriptors(device, 0, set.as_ptr(), set.len()) }, VW_OK);
    assert_eq!(record(device, VW_LANE_EVENT, 2), VW_OK);
}

#[test]
fn a_set_by_c_is_the_set_by_rust() {
    use vitalwire::framing::{ChannelDescriptor, ChannelKind, Component, Decimal, Rate, encode_descriptors};
    let three = [rate(), rate(), rate()];
    let mut wave = channel(9, &three);
    (wave.kind, wave.rate_numerator, wave.rate_denominator, wave.site) = (VW_CHANNEL_WAVEFORM, 250, 2, 7);
    let mut tenths = rate();
    (tenths.scale_exponent, tenths.offset_mantissa, tenths.offset_exponent) = (-1, 5, 1);
    let made = encode(&[channel(1, &[tenths]), wave]);

    let mut scaled = Component::scaled(147_842, 264_864, -1);
    scaled.offset = Decimal::new(5, 1);
    let scaled = [scaled];
    let axes = [Component::new(147_842, 264_864); 3];
    let first = ChannelDescriptor::new(1, ChannelKind::Numeric, 147_842, (&scaled).into());
    let mut second = ChannelDescriptor::new(9, ChannelKind::Waveform, 147_842, (&axes).into());
    (second.site, second.rate) = (7, Some(Rate { numerator: 250, denominator: 2 }));
    let mut out = [0; 256];
    let len = encode_descriptors(&[first, second], &mut out).unwrap();
    assert_eq!(made, out[..len]);
}

#[test]
fn a_set_that_is_none_is_refused() {
    let one = [rate()];
    let many = [rate(); 13];
    let (mut out, mut len) = ([0; 64], 0);
    let mut encode = |channels: &[vw_channel], room: usize| unsafe {
        vw_descriptors_encode(channels.as_ptr(), channels.len(), out.as_mut_ptr(), room, &mut len)
    };
    assert_eq!(encode(&[channel(2, &one), channel(1, &one)], 64), VW_ERROR_BAD_DESCRIPTORS);
    assert_eq!(encode(&[channel(1, &many)], 64), VW_ERROR_BAD_DESCRIPTORS);
    assert_eq!(encode(&[channel(1, &[])], 64), VW_ERROR_BAD_DESCRIPTORS);
    assert_eq!(encode(&[channel(1, &one)], 5), VW_ERROR_BUFFER_TOO_SMALL);
    assert_eq!(encode(&[channel(1, &one)], 0), VW_ERROR_BUFFER_TOO_SMALL);
    let mut strange = channel(1, &one);
    strange.kind = 9;
    assert_eq!(encode(&[strange], 64), VW_ERROR_BAD_VALUE);
    assert_eq!(encode(&[], 64), VW_OK);
}

#[test]
fn a_devices_credential_is_written_where_there_is_room() {
    let mut world = made();
    let device = world.device();
    let (mut out, mut len) = ([0xeeu8; VW_CREDENTIAL_MAX], 0usize);
    // SAFETY: device and buffers are there, and apart.
    unsafe {
        assert_eq!(vw_credential(device, out.as_mut_ptr(), 10, &mut len), VW_ERROR_BUFFER_TOO_SMALL);
        assert_eq!((len, out), (world.credential.len(), [0xee; VW_CREDENTIAL_MAX]));
        assert_eq!(vw_credential(device, out.as_mut_ptr(), out.len(), &mut len), VW_OK);
        assert_eq!(vw_credential(device, out.as_mut_ptr(), out.len(), null_mut()), VW_ERROR_NULL);
    }
    assert_eq!(&out[..len], &world.credential);
}

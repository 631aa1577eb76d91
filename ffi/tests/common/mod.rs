//! A device by way of the C API, with everything that its configuration points to.
#![allow(dead_code, unreachable_pub)] // each test uses some of it

use core::ffi::c_void;
use std::sync::Arc;
use vitalwire::backend::{Backend, BackendConfig};
use vitalwire::crypto::{ServiceKey, SigningKey, StaticSecret, TicketKey};
use vitalwire::handshake::TicketKeys;
use vitalwire::identity::{
    Authority, CredentialRequest, LocalIdentity, Role, Scopes, SubjectId, Time, TrustAnchors,
};
use vitalwire::{Duration, Entropy, OsEntropy, UnixSeconds};
use vitalwire_c::*;

pub const TODAY: UnixSeconds = UnixSeconds(1_750_000_000);

/// The system's generator, as a C function.
///
/// # Safety
/// `out` has `len` bytes.
pub unsafe extern "C" fn os_entropy(_: *mut c_void, out: *mut u8, len: usize) -> i32 {
    // SAFETY: the device gives a buffer of this length.
    let out = unsafe { std::slice::from_raw_parts_mut(out, len) };
    if OsEntropy.fill(out).is_ok() { 0 } else { -1 }
}

/// Keys and memory of a device.
pub struct World {
    pub authority: Authority,
    pub authority_key: [u8; 32],
    pub secret: [u8; 32],
    pub credential: Vec<u8>,
    pub outbox: Vec<u8>,
    pub backlog: Vec<u8>,
    pub descriptors: Vec<u8>,
    pub device: Box<vw_device>,
}

/// A backend of the same authority, and what a device may be provisioned with to know it.
pub struct Service {
    pub backend: Backend<()>,
    pub key: [u8; 32],
    pub credential: Vec<u8>,
}

pub fn rate() -> vw_component {
    vw_component {
        metric: 147_842,
        unit: 264_864,
        scale_mantissa: 1,
        offset_mantissa: 0,
        scale_exponent: 0,
        offset_exponent: 0,
    }
}

pub fn channel(number: u8, components: &[vw_component]) -> vw_channel {
    vw_channel {
        number,
        kind: VW_CHANNEL_NUMERIC,
        metric: 147_842,
        site: 0,
        rate_numerator: 0,
        rate_denominator: 0,
        components: components.as_ptr(),
        component_count: components.len(),
    }
}

pub fn encode(channels: &[vw_channel]) -> Vec<u8> {
    let (mut out, mut len) = (vec![0; 2048], 0);
    // SAFETY: everything is there.
    let status = unsafe {
        vw_descriptors_encode(channels.as_ptr(), channels.len(), out.as_mut_ptr(), out.len(), &raw mut len)
    };
    assert_eq!(status, vw_status::VW_OK);
    out.truncate(len);
    out
}

impl World {
    pub fn new() -> Self {
        let authority = Authority::new(SigningKey::generate(&mut OsEntropy).unwrap());
        let secret = StaticSecret::generate(&mut OsEntropy).unwrap();
        let request = CredentialRequest {
            serial: 1,
            subject: SubjectId(*b"patch-0000000001"),
            role: Role::Device,
            scopes: Scopes::PUBLISH | Scopes::COMMANDS,
            issued: TODAY,
            not_before: TODAY,
            not_after: UnixSeconds(TODAY.0 + 86_400),
        };
        let credential = authority.issue(&secret.public_key(), &request).unwrap();
        Self {
            authority_key: authority.public_key().0,
            authority,
            secret: *secret.expose(),
            credential: credential.as_bytes().to_vec(),
            outbox: vec![0; 4096],
            backlog: vec![0; 12288],
            descriptors: encode(&[channel(1, &[rate()])]),
            device: Box::new(vw_device { opaque: [0; VW_DEVICE_WORDS] }),
        }
    }

    pub fn service(&self) -> Service {
        let secret = StaticSecret::generate(&mut OsEntropy).unwrap();
        let public = secret.public_key();
        let request = CredentialRequest {
            serial: 2,
            subject: SubjectId(*b"service-00000001"),
            role: Role::Backend,
            scopes: Scopes::PUBLISH,
            issued: TODAY,
            not_before: TODAY,
            not_after: UnixSeconds(TODAY.0 + 86_400),
        };
        let credential = self.authority.issue(&public, &request).unwrap();
        let anchors = TrustAnchors::new(&[self.authority.public_key()]).unwrap();
        let identity = LocalIdentity::new(Arc::new(secret), public, credential);
        let mut config = BackendConfig::new(identity, anchors, Time::known(TODAY));
        config.rekey = config.rekey.dh_interval(Duration::ZERO).unwrap();
        let mut backend = Backend::new(config).unwrap();
        let (service, ticket) = (ServiceKey::from_bytes([3; 32]), TicketKey::from_bytes([4; 32]));
        backend.set_ticket_keys(TicketKeys::new(service, ticket, None));
        Service { backend, key: public.0, credential: credential.as_bytes().to_vec() }
    }

    pub fn config(&mut self) -> vw_config {
        let mut config = std::mem::MaybeUninit::<vw_config>::uninit();
        // SAFETY: there is room for one, and it is made.
        let mut config = unsafe {
            assert_eq!(vw_config_init(config.as_mut_ptr(), size_of::<vw_config>()), vw_status::VW_OK);
            config.assume_init()
        };
        config.secret_key = self.secret.as_ptr();
        config.credential = self.credential.as_ptr();
        config.credential_len = self.credential.len();
        config.authorities = self.authority_key.as_ptr();
        config.authority_count = 1;
        config.wall_clock = TODAY.0;
        config.boot = 1;
        config.outbox = self.outbox.as_mut_ptr();
        config.outbox_len = self.outbox.len();
        config.descriptors = self.descriptors.as_ptr();
        config.descriptors_len = self.descriptors.len();
        config.entropy = Some(os_entropy);
        config
    }

    pub fn device(&mut self) -> *mut vw_device {
        &raw mut *self.device
    }

    pub fn init(&mut self, config: &vw_config) -> vw_status {
        // SAFETY: the world lives longer than the device, and leaves its memory alone.
        unsafe { vw_device_init(self.device(), size_of::<vw_device>(), config, core::ptr::null_mut(), 0) }
    }
}

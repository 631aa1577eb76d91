//! The keys of an authority, a backend and one device, and the page that the device gets.

use crate::Failure;
use crate::page::{PAGE_LEN, Page};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use vitalwire::backend::BackendConfig;
use vitalwire::crypto::{ServiceKey, SigningKey, StaticSecret, TicketKey};
use vitalwire::handshake::TicketKeys;
use vitalwire::identity::{
    Authority, CredentialRequest, Identity, LocalIdentity, Role, Scopes, SubjectId, Time, TrustAnchors,
};
use vitalwire::{Duration, Entropy, EntropyError, OsEntropy, UnixSeconds};

/// What the backend knows.
pub struct Keys {
    identity: LocalIdentity,
    anchors: TrustAnchors,
    made: UnixSeconds,
    service: [u8; 32],
    ticket: [u8; 32],
    pub device: Identity,
}

/// Where keys come from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The operating system's generator.
    Random,
    /// Nowhere: they are the same in each run, for a device that counts what it takes to verify a signature. Never
    /// for one that somebody wears.
    Fixed,
}

/// The time at which fixed keys were made.
const FIXED_TIME: UnixSeconds = UnixSeconds(1_750_000_000);
const CENTURY: u64 = 100 * 365 * 86_400;

/// What a source gives.
struct Generator {
    source: Source,
    given: u8,
}

impl Entropy for Generator {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        match self.source {
            Source::Random => OsEntropy.fill(out),
            Source::Fixed => {
                self.given = self.given.wrapping_add(1);
                out.fill(self.given);
                Ok(())
            }
        }
    }
}

impl Generator {
    fn random<const N: usize>(&mut self) -> Result<[u8; N], Failure> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }
}

impl Keys {
    /// Makes everything, and returns the device's page with it. In a factory the device makes its own key.
    pub fn make(source: Source) -> Result<(Self, Vec<u8>), Failure> {
        let mut rng = Generator { source, given: 0 };
        let made = match source {
            Source::Random => UnixSeconds(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs()),
            Source::Fixed => FIXED_TIME,
        };
        let authority = Authority::new(SigningKey::generate(&mut rng)?);
        let issue = |secret: &StaticSecret, serial, role, subject| {
            let request = CredentialRequest {
                serial,
                subject: SubjectId(subject),
                role,
                scopes: Scopes::PUBLISH | Scopes::COMMANDS,
                issued: made,
                not_before: made,
                not_after: UnixSeconds(made.0 + CENTURY),
            };
            Ok::<_, Failure>(authority.issue(&secret.public_key(), &request)?)
        };
        let device = StaticSecret::from_bytes(rng.random()?);
        let credential = issue(&device, 1, Role::Device, rng.random()?)?;
        let backend = StaticSecret::from_bytes(rng.random()?);
        let own = issue(&backend, 2, Role::Backend, rng.random()?)?;
        let page = Page {
            secret: *device.expose(),
            public: device.public_key().0,
            authority: authority.public_key().0,
            storage_key: rng.random()?,
            made: made.0,
            credential: credential.as_bytes(),
            backend: backend.public_key().0,
            backend_credential: own.as_bytes(),
        };
        let mut bytes = vec![0; PAGE_LEN];
        page.write(&mut bytes).ok_or("the page is too small")?;
        let public = backend.public_key();
        let keys = Self {
            identity: LocalIdentity::new(Arc::new(backend), public, own),
            anchors: TrustAnchors::new(&[authority.public_key()])?,
            made,
            service: rng.random()?,
            ticket: rng.random()?,
            device: credential.claimed_identity().ok_or("the device's identity")?,
        };
        Ok((keys, bytes))
    }

    pub fn backend_config(&self) -> Result<BackendConfig, Failure> {
        let mut config = BackendConfig::new(self.identity.clone(), self.anchors, Time::known(self.made));
        config.rekey = config.rekey.dh_interval(Duration::ZERO)?;
        Ok(config)
    }

    pub fn ticket_keys(&self) -> TicketKeys {
        let (service, ticket) = (ServiceKey::from_bytes(self.service), TicketKey::from_bytes(self.ticket));
        TicketKeys::new(service, ticket, None)
    }
}

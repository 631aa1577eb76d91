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
use vitalwire::{Duration, Entropy, OsEntropy, UnixSeconds};

/// What the backend knows, fresh for each run.
pub struct Keys {
    identity: LocalIdentity,
    anchors: TrustAnchors,
    made: UnixSeconds,
    service: [u8; 32],
    ticket: [u8; 32],
    pub device: Identity,
}

fn random<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    OsEntropy.fill(&mut bytes)?;
    Ok(bytes)
}

impl Keys {
    /// Makes everything, and returns the device's page with it. In a factory the device makes its own key.
    pub fn make() -> Result<(Self, Vec<u8>), Failure> {
        let made = UnixSeconds(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs());
        let authority = Authority::new(SigningKey::generate(&mut OsEntropy)?);
        let issue = |secret: &StaticSecret, serial, role| {
            let request = CredentialRequest {
                serial,
                subject: SubjectId(random()?),
                role,
                scopes: Scopes::PUBLISH | Scopes::COMMANDS,
                issued: made,
                not_before: made,
                not_after: UnixSeconds(made.0 + 365 * 86_400),
            };
            Ok::<_, Failure>(authority.issue(&secret.public_key(), &request)?)
        };
        let device = StaticSecret::from_bytes(random()?);
        let credential = issue(&device, 1, Role::Device)?;
        let backend = StaticSecret::from_bytes(random()?);
        let own = issue(&backend, 2, Role::Backend)?;
        let page = Page {
            secret: *device.expose(),
            public: device.public_key().0,
            authority: authority.public_key().0,
            storage_key: random()?,
            made: made.0,
            credential: credential.as_bytes(),
        };
        let mut bytes = vec![0; PAGE_LEN];
        page.write(&mut bytes).ok_or("the page is too small")?;
        let public = backend.public_key();
        let keys = Self {
            identity: LocalIdentity::new(Arc::new(backend), public, own),
            anchors: TrustAnchors::new(&[authority.public_key()])?,
            made,
            service: random()?,
            ticket: random()?,
            device: credential.claimed_identity().ok_or("the device's identity")?,
        };
        Ok((keys, bytes))
    }

    pub fn backend_config(&self) -> Result<BackendConfig, Failure> {
        let mut config =
            BackendConfig::new(self.identity.clone(), self.anchors, Time::known(self.made));
        config.rekey = config.rekey.dh_interval(Duration::ZERO)?;
        Ok(config)
    }

    pub fn ticket_keys(&self) -> TicketKeys {
        let (service, ticket) = (ServiceKey::from_bytes(self.service), TicketKey::from_bytes(self.ticket));
        TicketKeys::new(service, ticket, None)
    }
}

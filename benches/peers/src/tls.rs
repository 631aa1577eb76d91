//! rustls: TLS 1.3 with ChaCha20-Poly1305, X25519 and Ed25519, both ends with raw public keys, over memory.

use crate::measure::Contender;
use rustls::client::AlwaysResolvesClientRawPublicKeys;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, DistinguishedName, Error, HandshakeKind,
    PeerIncompatible, ServerConfig, ServerConnection, SignatureScheme,
};
use std::hint::black_box;
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

type MakeProvider = fn() -> CryptoProvider;

pub(crate) const PROVIDERS: [(&str, MakeProvider); 2] = [
    ("rustls on ring", rustls::crypto::ring::default_provider),
    ("rustls on AWS-LC", rustls::crypto::aws_lc_rs::default_provider),
];

/// The configurations of both ends.
pub(crate) struct Ends {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

/// One connection.
pub(crate) struct Joined {
    pub(crate) client: ClientConnection,
    pub(crate) server: ServerConnection,
    /// What is on its way.
    wire: Vec<u8>,
}

fn key(provider: &CryptoProvider) -> Arc<CertifiedKey> {
    let random = ring::rand::SystemRandom::new();
    let key = ring::signature::Ed25519KeyPair::generate_pkcs8(&random).expect("the generator works");
    let der = PrivatePkcs8KeyDer::from(key.as_ref().to_vec());
    let key = provider.key_provider.load_private_key(der.into()).expect("it was made here");
    let public = CertificateDer::from(key.public_key().expect("it has one").as_ref().to_vec());
    Arc::new(CertifiedKey::new(vec![public], key))
}

impl Ends {
    /// `resume` keeps tickets; without it every handshake is a full one, and no ticket is made.
    pub(crate) fn new(provider: MakeProvider, resume: bool) -> Self {
        let mut provider = provider();
        provider
            .cipher_suites
            .retain(|suite| suite.suite() == rustls::CipherSuite::TLS13_CHACHA20_POLY1305_SHA256);
        provider.kx_groups.retain(|group| group.name() == rustls::NamedGroup::X25519);
        let provider = Arc::new(provider);
        let (device, service) = (key(&provider), key(&provider));
        let pinned = |key: &CertifiedKey| {
            let algorithms = provider.signature_verification_algorithms;
            Arc::new(Pinned { key: key.cert[0].clone(), algorithms })
        };
        let mut server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&TLS13])
            .expect("TLS 1.3 is there")
            .with_client_cert_verifier(pinned(&device))
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(service.clone())));
        server.send_tls13_tickets = usize::from(resume);
        let client = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&TLS13])
            .expect("TLS 1.3 is there")
            .dangerous()
            .with_custom_certificate_verifier(pinned(&service))
            .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(device)));
        Self { client: Arc::new(client), server: Arc::new(server) }
    }

    /// Runs a handshake; returns what it took of each end.
    pub(crate) fn shake(&self) -> (Joined, [Duration; 2]) {
        let name = ServerName::try_from("service.invalid").expect("a name");
        let start = Instant::now();
        let client = ClientConnection::new(self.client.clone(), name).expect("the configuration is complete");
        let mut took = [start.elapsed(), Duration::ZERO];
        let start = Instant::now();
        let server = ServerConnection::new(self.server.clone()).expect("the configuration is complete");
        took[1] += start.elapsed();
        let mut joined = Joined { client, server, wire: Vec::new() };
        while joined.client.wants_write() || joined.server.wants_write() {
            let Joined { client, server, wire } = &mut joined;
            wire.clear();
            let start = Instant::now();
            while client.wants_write() {
                client.write_tls(wire).expect("memory");
            }
            took[0] += start.elapsed();
            let start = Instant::now();
            let mut left = wire.as_slice();
            while !left.is_empty() {
                server.read_tls(&mut left).expect("memory");
                server.process_new_packets().expect("genuine");
            }
            wire.clear();
            while server.wants_write() {
                server.write_tls(wire).expect("memory");
            }
            took[1] += start.elapsed();
            let start = Instant::now();
            let mut left = wire.as_slice();
            while !left.is_empty() {
                client.read_tls(&mut left).expect("memory");
                client.process_new_packets().expect("genuine");
            }
            took[0] += start.elapsed();
        }
        assert!(!joined.client.is_handshaking() && !joined.server.is_handshaking());
        (joined, took)
    }
}

impl Joined {
    pub(crate) fn is_resumed(&self) -> bool {
        self.server.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    fn pass(&mut self, plaintext: &[u8], opened: &mut [u8]) {
        let Self { client, server, wire } = self;
        wire.clear();
        client.writer().write_all(plaintext).expect("below the buffer's limit");
        client.write_tls(wire).expect("memory");
        server.read_tls(&mut wire.as_slice()).expect("memory");
        server.process_new_packets().expect("genuine");
        server.reader().read_exact(opened).expect("one record");
    }
}

/// Seal and open of so many bytes.
pub(crate) fn passes(len: usize) -> [Contender<'static>; 2] {
    PROVIDERS.map(|(name, provider)| {
        let (mut joined, _) = Ends::new(provider, false).shake();
        let (plaintext, mut opened) = (vec![0x55u8; len], vec![0u8; len]);
        Contender::each(format!("{name}, record layer"), move || {
            joined.pass(&plaintext, black_box(&mut opened));
        })
    })
}

/// Takes one raw public key and no other.
#[derive(Debug)]
struct Pinned {
    key: CertificateDer<'static>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Pinned {
    fn check(&self, key: &CertificateDer<'_>) -> Result<(), Error> {
        let known = key.as_ref() == self.key.as_ref();
        known.then_some(()).ok_or_else(|| rustls::CertificateError::UnknownIssuer.into())
    }

    fn verify(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = SubjectPublicKeyInfoDer::from(key.as_ref());
        verify_tls13_signature_with_raw_key(message, &key, signature, &self.algorithms)
    }

    fn tls12() -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        key: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(key).map(|()| ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Self::tls12()
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, key, signature)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for Pinned {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }
    fn verify_client_cert(
        &self,
        key: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(key).map(|()| ClientCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Self::tls12()
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, key, signature)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

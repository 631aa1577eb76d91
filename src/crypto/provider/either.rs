//! Both providers in one process: each thread of the tests uses AWS-LC, unless it chooses.

use super::{aws_lc, pure};
use crate::crypto::{DhError, Forged, TAG_LEN};
use core::cell::Cell;
use zeroize::{Zeroize, Zeroizing};

pub(in crate::crypto) use aws_lc::NAME;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Provider {
    Pure,
    AwsLc,
}

std::thread_local! {
    static CHOSEN: Cell<Provider> = const { Cell::new(Provider::AwsLc) };
    static CALLS: Cell<[usize; 2]> = const { Cell::new([0; 2]) };
}

/// The provider for the call that now begins, which is counted.
fn called() -> Provider {
    let mut calls = CALLS.get();
    calls[CHOSEN.get() as usize] += 1;
    CALLS.set(calls);
    CHOSEN.get()
}

/// Returns how many calls each provider, in its order of declaration, had on this thread since this was last asked.
pub(crate) fn take_calls() -> [usize; 2] {
    CALLS.take()
}

/// Does `work` with this provider, on this thread.
pub(crate) fn with_provider<T>(provider: Provider, work: impl FnOnce() -> T) -> T {
    struct Restore(Provider);
    impl Drop for Restore {
        fn drop(&mut self) {
            CHOSEN.set(self.0);
        }
    }
    let _restore = Restore(CHOSEN.replace(provider));
    work()
}

macro_rules! dispatch {
    ($function:ident($($argument:expr),*)) => {
        match called() {
            Provider::Pure => pure::$function($($argument),*),
            Provider::AwsLc => aws_lc::$function($($argument),*),
        }
    };
}

pub(in crate::crypto) fn aead_seal(
    key: &[u8; 32],
    counter: u64,
    aad: &[u8],
    body: &mut [u8],
) -> Option<[u8; TAG_LEN]> {
    dispatch!(aead_seal(key, counter, aad, body))
}

pub(in crate::crypto) fn aead_open(
    key: &[u8; 32],
    counter: u64,
    aad: &[u8],
    body: &mut [u8],
    tag: &[u8; TAG_LEN],
) -> Result<(), Forged> {
    dispatch!(aead_open(key, counter, aad, body, tag))
}

pub(in crate::crypto) fn ed25519_public(seed: &[u8; 32]) -> [u8; 32] {
    dispatch!(ed25519_public(seed))
}

pub(in crate::crypto) fn ed25519_sign(seed: &[u8; 32], message: &[u8]) -> [u8; 64] {
    dispatch!(ed25519_sign(seed, message))
}

pub(in crate::crypto) fn ed25519_verify(
    public: &[u8; 32],
    message: &[u8],
    signature: &[u8; 64],
) -> Result<(), Forged> {
    dispatch!(ed25519_verify(public, message, signature))
}

/// What both providers keep.
pub(in crate::crypto) struct PreparedDh {
    pure: pure::PreparedDh,
    aws_lc: aws_lc::PreparedDh,
}

impl PreparedDh {
    pub(in crate::crypto) const fn new() -> Self {
        Self { pure: pure::PreparedDh::new(), aws_lc: aws_lc::PreparedDh::new() }
    }

    pub(in crate::crypto) fn public(&self, secret: &[u8; 32]) -> [u8; 32] {
        match called() {
            Provider::Pure => self.pure.public(secret),
            Provider::AwsLc => self.aws_lc.public(secret),
        }
    }

    pub(in crate::crypto) fn exchange(
        &self,
        secret: &[u8; 32],
        public: &[u8; 32],
    ) -> Result<Zeroizing<[u8; 32]>, DhError> {
        match called() {
            Provider::Pure => self.pure.exchange(secret, public),
            Provider::AwsLc => self.aws_lc.exchange(secret, public),
        }
    }
}

impl Zeroize for PreparedDh {
    fn zeroize(&mut self) {
        self.pure.zeroize();
        self.aws_lc.zeroize();
    }
}

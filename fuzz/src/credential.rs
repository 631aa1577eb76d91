//! Credentials: accepted ⇒ the bytes are kept as they are; verified ⇒ they are exactly what the authority issued.
//!
//! Input: 0 and a mutation of a genuine credential, or anything else and raw bytes.

use crate::input::Input;
use crate::world::{time, world};
use vitalwire::identity::*;

pub fn run(data: &[u8]) {
    let world = world();
    let genuine = [&world.devices[0], &world.devices[1], &world.backend];
    let mut input = Input::new(data);
    let mut mutated = genuine[0].credential().as_bytes().to_vec();
    let bytes = if input.u8() == 0 {
        input.mutate(&mut mutated);
        &mutated
    } else {
        input.rest()
    };
    if let Ok(credential) = Credential::from_bytes(bytes) {
        assert_eq!(credential.as_bytes(), bytes);
        assert!(credential.claimed_identity().is_some());
        let _ = (credential.hash(), credential.claimed_scopes());
    }
    for (local, right) in genuine.iter().zip([Role::Device, Role::Device, Role::Backend]) {
        for role in [Role::Device, Role::Backend] {
            let verified = world.anchors.verify(bytes, &local.public_key(), role, time());
            let issued = role == right && local.credential().as_bytes() == bytes;
            assert_eq!(verified.is_ok(), issued);
            assert!(world.strangers.verify(bytes, &local.public_key(), role, time()).is_err());
        }
    }
}

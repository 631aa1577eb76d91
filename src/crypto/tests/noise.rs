//! The Noise vectors of `tests/vectors/noise`, under snow with our resolver, byte for byte.

use super::party::{Party, Pattern, Role, read, write};
use super::{array, list, text, unhex};
use crate::crypto::hazmat;
use serde_json::Value;

fn party(vector: &Value, pattern: Pattern, role: Role) -> Party {
    let [prologue, identity, ephemeral, remote, psks] = match role {
        Role::Initiator => {
            ["init_prologue", "init_static", "init_ephemeral", "init_remote_static", "init_psks"]
        }
        Role::Responder => {
            ["resp_prologue", "resp_static", "resp_ephemeral", "resp_remote_static", "resp_psks"]
        }
    };
    let key = |field: &str| vector.get(field).map(|key| array(key.as_str().unwrap()));
    let psks: &[Value] = vector.get(psks).map_or(&[], |psks| psks.as_array().unwrap());
    assert_eq!(psks.len(), usize::from(pattern.psk_slot().is_some()));
    assert_eq!(vector.get(identity).is_some(), pattern != Pattern::NnPsk0);
    Party {
        pattern,
        role,
        prologue: unhex(text(vector, prologue)),
        identity: key(identity),
        ephemeral: array(text(vector, ephemeral)),
        remote: key(remote),
        psk: psks.first().map(|psk| array(psk.as_str().unwrap())),
    }
}

/// Runs one vector and tells how many transport messages it held.
fn run(vector: &Value, pattern: Pattern) -> usize {
    let mut initiator = party(vector, pattern, Role::Initiator).build();
    let mut responder = party(vector, pattern, Role::Responder).build();
    let messages = list(vector, "messages");
    let (handshake, transport) = messages.split_at(pattern.messages());

    for (number, message) in handshake.iter().enumerate() {
        let (writer, reader) =
            if number % 2 == 0 { (&mut initiator, &mut responder) } else { (&mut responder, &mut initiator) };
        let [payload, ciphertext] = ["payload", "ciphertext"].map(|field| unhex(text(message, field)));
        assert_eq!(write(writer, &payload).unwrap(), ciphertext, "message {}", number + 1);
        assert_eq!(read(reader, &ciphertext).unwrap(), payload, "message {}", number + 1);
    }
    assert!(initiator.is_handshake_finished() && responder.is_handshake_finished());

    // snow's own vectors, unlike cacophony's, have no handshake hash.
    assert_eq!(vector.get("handshake_hash").is_some(), text(vector, "origin") == "cacophony.txt");
    if let Some(hash) = vector.get("handshake_hash") {
        let hash = unhex(hash.as_str().unwrap());
        assert_eq!(initiator.get_handshake_hash(), hash);
        assert_eq!(responder.get_handshake_hash(), hash);
    }

    // One key and one counter a direction (Noise specification, section 5.2).
    let split = initiator.dangerously_get_raw_split();
    assert_eq!(split, responder.dangerously_get_raw_split());
    let keys = [split.0, split.1];
    let mut counters = [0; 2];
    for (number, message) in transport.iter().enumerate() {
        let direction = (pattern.messages() + number) % 2;
        let [payload, ciphertext] = ["payload", "ciphertext"].map(|field| unhex(text(message, field)));
        let mut body = payload.clone();
        let tag = hazmat::seal(&keys[direction], counters[direction], &[], &mut body).unwrap();
        assert_eq!([&body[..], &tag].concat(), ciphertext);
        hazmat::open(&keys[direction], counters[direction], &[], &mut body, &tag).unwrap();
        assert_eq!(body, payload);
        counters[direction] += 1;
    }
    assert!(counters.iter().all(|counter| *counter > 0), "both directions are used");
    transport.len()
}

fn run_file(file: &str, pattern: Pattern, vectors: usize, transport_messages: usize) {
    let file: Value = serde_json::from_str(file).unwrap();
    let all = list(&file, "vectors");
    assert_eq!(all.len(), vectors);
    assert_eq!(all.iter().map(|vector| run(vector, pattern)).sum::<usize>(), transport_messages);
}

#[test]
fn xx_matches_published_vectors() {
    run_file(include_str!("../../../tests/vectors/noise/XX.json"), Pattern::Xx, 2, 3 + 2);
}

#[test]
fn ik_matches_published_vectors() {
    run_file(include_str!("../../../tests/vectors/noise/IK.json"), Pattern::Ik, 2, 4 + 2);
}

#[test]
fn xxpsk3_matches_published_vectors() {
    run_file(include_str!("../../../tests/vectors/noise/XXpsk3.json"), Pattern::XxPsk3, 1, 3);
}

#[test]
fn ikpsk2_matches_published_vectors() {
    run_file(include_str!("../../../tests/vectors/noise/IKpsk2.json"), Pattern::IkPsk2, 1, 4);
}

#[test]
fn nnpsk0_matches_published_vectors() {
    run_file(include_str!("../../../tests/vectors/noise/NNpsk0.json"), Pattern::NnPsk0, 1, 4);
}

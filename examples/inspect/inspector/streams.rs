//! Descriptor sets, and what the stream indices of a session stand for: SPEC.md, "Streams", "Descriptors frame",
//! "Growing sets".

use super::entry::Labels;
use super::names::{hex, lane};
use std::collections::BTreeMap;
use vitalwire::crypto::hazmat;
use vitalwire::framing::{
    BootTag, DescriptorSet, DescriptorsFrame, Lane, RecordsFrame, SetHash, StreamsFrame,
};
use vitalwire::identity::Identity;

/// What an index of a session stands for: a stream and a set, for the whole session.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stream {
    boot: u32,
    tag: BootTag,
    lane: Lane,
    set: SetHash,
}

/// The sets that are known, of all sessions, and the streams of one.
#[derive(Default)]
pub struct Streams {
    sets: BTreeMap<SetHash, Vec<u8>>,
    /// The set that stood last in the capture by itself.
    latest: Option<SetHash>,
    /// Pieces of sets: each byte, as far as it came.
    pieces: BTreeMap<SetHash, Vec<Option<u8>>>,
    streams: BTreeMap<u8, Stream>,
    /// The device of the session.
    identity: Option<Identity>,
}

impl Streams {
    /// Forgets the streams of the session before.
    pub fn begin_session(&mut self, identity: Option<Identity>) {
        self.streams.clear();
        self.identity = identity;
    }

    /// Takes a set that stands in the capture by itself.
    pub fn take_set(&mut self, bytes: Vec<u8>) -> Result<(), String> {
        self.latest = Some(self.learn(bytes)?);
        Ok(())
    }

    fn learn(&mut self, bytes: Vec<u8>) -> Result<SetHash, String> {
        DescriptorSet::parse(&bytes).map_err(|error| format!("no descriptor set: {error}"))?;
        let hash = hash_of(&bytes);
        self.sets.insert(hash, bytes);
        Ok(hash)
    }

    /// Finds the set with this hash, or else the latest.
    pub fn set(&self, hash: Option<SetHash>) -> Result<Vec<u8>, String> {
        let Some(hash) = hash.or(self.latest) else { return Err("there is no descriptor set yet".into()) };
        let set = self.sets.get(&hash).cloned();
        set.ok_or_else(|| format!("the descriptor set {} is not known yet", hex(&hash.0)))
    }

    /// Takes what a Streams frame says.
    pub fn name(&mut self, frame: &StreamsFrame<'_>) -> Result<(), String> {
        for boot in frame.boots() {
            for entry in boot.streams() {
                let stream = Stream { boot: boot.boot, tag: boot.tag, lane: entry.lane, set: boot.set };
                let known = *self.streams.entry(entry.index).or_insert(stream);
                if known != stream {
                    let (index, boot, lane) = (entry.index, known.boot, lane(known.lane));
                    return Err(format!(
                        "stream {index} has another meaning than before, {lane} of boot {boot} with the set {}",
                        hex(&known.set.0)
                    ));
                }
            }
        }
        Ok(())
    }

    /// Puts a piece of a descriptor set to the others.
    pub fn take_piece(&mut self, piece: &DescriptorsFrame<'_>) -> Result<(), String> {
        let Some(stream) = self.streams.get(&piece.stream) else {
            return Err(format!("a piece of the set of stream {}, which is not known yet", piece.stream));
        };
        let hash = stream.set;
        let total = usize::from(piece.total);
        let whole = self.pieces.entry(hash).or_default();
        if whole.len() != total {
            *whole = vec![None; total];
        }
        for (to, from) in whole.iter_mut().skip(piece.offset.into()).zip(piece.bytes) {
            *to = Some(*from);
        }
        let Some(bytes) = whole.iter().copied().collect::<Option<Vec<u8>>>() else { return Ok(()) };
        self.pieces.remove(&hash);
        if hash_of(&bytes) != hash {
            return Err(format!("the descriptor set {} does not have that hash", hex(&hash.0)));
        }
        self.learn(bytes).map(|_| ())
    }

    /// Finds the set to read a Records frame with, and whose records they are.
    ///
    /// Where the index's set is missing, another one of the same boot does if it can read them all: sets grow, so
    /// both read them alike. Where the index was never named, the latest set of the capture has to do.
    pub fn read_with(&self, frame: &RecordsFrame<'_>) -> Result<(Vec<u8>, Labels), String> {
        let Some(stream) = self.streams.get(&frame.stream) else {
            let set = self.set(None).map_err(|_| format!("stream {} is not known yet", frame.stream))?;
            return Ok((set, Labels { identity: self.identity, ..Labels::default() }));
        };
        let labels = Labels {
            device: None,
            identity: self.identity,
            boot: Some(stream.boot),
            tag: Some(stream.tag),
            lane: Some(stream.lane),
        };
        let reads = |set: &[u8]| {
            DescriptorSet::parse(set).is_ok_and(|set| frame.records(&set).all(|record| record.is_ok()))
        };
        let same_boot = |other: &&Stream| (other.boot, other.tag) == (stream.boot, stream.tag);
        let set = self.set(Some(stream.set)).or_else(|error| {
            let mut others =
                self.streams.values().filter(same_boot).filter_map(|other| self.sets.get(&other.set));
            others.find(|set| reads(set)).cloned().ok_or(error)
        });
        Ok((set?, labels))
    }
}

fn hash_of(set: &[u8]) -> SetHash {
    SetHash::from_digest(hazmat::blake2s(set))
}

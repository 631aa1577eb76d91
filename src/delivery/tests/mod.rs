//! The backend's half against a set of ids, and both halves over a bad link.

mod closing;
mod inbox;
mod link;

use super::*;
use crate::framing::{
    BootTag, Frame, FrameKind, FrameWriter, Frames, Lane, SetHash, StreamEntry, StreamsWriter,
};

const TAG: BootTag = BootTag([1, 2, 3, 4]);

const fn key(boot: u32, lane: Lane) -> StreamKey {
    StreamKey { boot, tag: TAG, lane }
}

/// Writes a Streams frame of (boot, tag, streams), and hands it to `then` as the receiver sees it.
fn with_streams<T>(
    complete: bool,
    boots: &[(u32, BootTag, &[StreamEntry])],
    then: impl FnOnce(&crate::framing::StreamsFrame<'_>) -> T,
) -> T {
    let boots: Vec<_> =
        boots.iter().map(|&(boot, tag, entries)| (boot, tag, SetHash([0; 16]), entries)).collect();
    with_sets(complete, &boots, then)
}

/// The same, with a descriptor set for each boot.
fn with_sets<T>(
    complete: bool,
    boots: &[(u32, BootTag, SetHash, &[StreamEntry])],
    then: impl FnOnce(&crate::framing::StreamsFrame<'_>) -> T,
) -> T {
    let mut payload = [0u8; 512];
    let mut writer = FrameWriter::new(&mut payload);
    writer.frame_with(FrameKind::Streams, |body| {
        let mut streams = StreamsWriter::new(body, complete).ok()?;
        for (boot, tag, set, entries) in boots {
            streams.push(*boot, *tag, *set, entries).ok()?;
        }
        Some(streams.finish())
    });
    let payload = writer.finish();
    let Some(Frame::Streams(frame)) = Frames::parse(payload).unwrap().next() else {
        panic!("one Streams frame")
    };
    then(&frame)
}

/// An inbox that knows one stream per lane of boot 1.
fn inbox() -> Inbox {
    let mut ledger = Ledger::default();
    for lane in Lane::ALL {
        ledger.settle_below(key(1, lane), 0).unwrap();
    }
    Inbox::new(ledger, 0)
}

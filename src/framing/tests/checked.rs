//! What a backend reads of records only to check them, against what it reads to hand them out.

use super::records::any_record;
use super::*;
use proptest::prelude::*;

/// Calls `with` with the same set with its channels' shapes at hand.
fn with_shapes<R>(set: &DescriptorSet<'_>, with: impl FnOnce(&DescriptorSet<'_>) -> R) -> R {
    let shapes = set.shapes();
    with(&DescriptorSet::checked_before(set.as_bytes(), &shapes))
}

#[test]
fn shapes_at_hand_are_those_of_the_channels() {
    with_set(|set| {
        with_shapes(set, |shaped| {
            assert_eq!(set, shaped);
            for number in 0..=u8::MAX {
                assert_eq!(shaped.shape(number), set.shape(number), "{number}");
                let channel = set.channel(number);
                assert_eq!(channel.map(|channel| channel.kind), shaped.shape(number).map(|shape| shape.kind));
            }
        });
    });
}

proptest! {
    /// A record that is checked and then passed over when it is read would be lost.
    #[test]
    fn what_is_checked_is_what_is_decoded(
        records in proptest::collection::vec(any_record(), 1..8),
        changes in proptest::collection::vec(any::<(prop::sample::Index, u8)>(), 0..3),
        count in 1u8..10,
    ) {
        with_set(|set| {
            let encoded: Vec<_> = records.iter().map(|record| encode(record, set).unwrap()).collect();
            let mut body = batch(&encoded);
            for (at, change) in &changes {
                let at = at.index(body.len());
                body[at] ^= change;
            }
            let Ok(frame) = RecordsFrame::parse(&body) else { return Ok(()) };
            // Sometimes there are more or fewer than it says.
            let frame = RecordsFrame { count: if changes.len() == 1 { count } else { frame.count }, ..frame };
            let mut decoded = frame.records(set);
            with_shapes(set, |shaped| {
                let mut checked = frame.records(shaped);
                loop {
                    let mut seen = None;
                    let verdict = checked.check_next(|other| {
                        seen = Some(other.cloned());
                        true
                    });
                    match (verdict, decoded.next()) {
                        (None, None) => return Ok(()),
                        (Some(Err(one)), Some(Err(other))) => prop_assert_eq!(one, other),
                        (Some(Ok(true)), Some(Ok(BatchRecord { record, .. }))) => match seen.flatten() {
                            Some(other) => prop_assert_eq!(record, other),
                            None => prop_assert!(matches!(record, Record::Measurement(_))),
                        },
                        (one, other) => prop_assert!(false, "{one:?} and {other:?}"),
                    }
                }
            })
        })?;
    }
}

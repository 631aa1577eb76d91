//! Claims of tickets: each is used once (SPEC.md, "Claims").

use crate::handshake::TicketId;
use crate::identity::Identity;
use crate::time::UnixSeconds;
use alloc::collections::BTreeMap;

/// A ticket that a device wants to use: what the store that the nodes share has to claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct TicketClaim {
    /// Whom the ticket is for.
    pub identity: Identity,
    /// Its id.
    pub id: TicketId,
    /// BLAKE2s-256 of the Hello.
    pub hello: [u8; 32],
    /// When the full handshake was from which the ticket descends.
    pub origin: UnixSeconds,
    /// So long the claim must be kept: to the last second of the ticket's life, and 300 s more, as the clocks of the
    /// nodes differ.
    pub expires: UnixSeconds,
    /// The serial number of the device's credential.
    pub serial: u32,
    /// The number of the revocation list that the full handshake was checked against.
    pub revocation: u64,
}

/// What the store says of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ClaimOutcome {
    /// Nobody has claimed the ticket before: it is claimed now.
    New,
    /// It was claimed with the same Hello before: the Reply was lost, or the Hello came twice.
    Same,
    /// It was claimed with another Hello, or is void since another ticket of its origin was: two have it.
    Other,
    /// The store does not answer.
    Unavailable,
}

/// The claims of a service with one node, or of a test: in memory, bounded, and gone with the process.
///
/// After a restart it does not know what was claimed before, so give a restarted service new ticket keys, without a
/// previous one: then no ticket from before opens. Several nodes need a store that they share: one
/// table with the id as its key, an insert that fails if the key is there, and per device the latest origin that is
/// void.
///
/// ```
/// use vitalwire::UnixSeconds;
/// use vitalwire::backend::{ClaimOutcome, Claims, TicketClaim};
/// use vitalwire::handshake::TicketId;
/// use vitalwire::identity::{Identity, IssuerId, SubjectId};
/// let now = UnixSeconds(1_750_000_000);
/// let claim = TicketClaim {
///     identity: Identity { issuer: IssuerId([1; 8]), subject: SubjectId([2; 16]) },
///     id: TicketId([3; 16]),
///     hello: [4; 32],
///     origin: now,
///     expires: UnixSeconds(now.0 + 3600),
///     serial: 1,
///     revocation: 0,
/// };
/// let mut claims = Claims::new(1000);
/// assert_eq!(claims.claim(now, &claim), ClaimOutcome::New);
/// assert_eq!(claims.claim(now, &claim), ClaimOutcome::Same);
/// let thief = TicketClaim { hello: [5; 32], ..claim };
/// assert_eq!(claims.claim(now, &thief), ClaimOutcome::Other);
/// assert!(claims.is_misused(&claim.identity));
/// ```
#[derive(Debug)]
pub struct Claims {
    cap: usize,
    claimed: BTreeMap<TicketId, Claimed>,
    void: BTreeMap<Identity, Void>,
    /// There was no room in `void` for a device with a ticket of this origin.
    forgotten: Option<UnixSeconds>,
}

#[derive(Debug)]
struct Claimed {
    hello: [u8; 32],
    expires: UnixSeconds,
}

#[derive(Debug)]
struct Void {
    /// Tickets of this origin and earlier ones are void.
    origin: UnixSeconds,
    /// The last second of such a ticket's life.
    expires: UnixSeconds,
    /// The device was told: it has used a ticket since that came with the news.
    told: bool,
}

impl Claims {
    /// Makes a store for at most `cap` claims of tickets whose time is not over, and as many devices with void ones.
    pub const fn new(cap: usize) -> Self {
        Self { cap, claimed: BTreeMap::new(), void: BTreeMap::new(), forgotten: None }
    }

    /// Claims a ticket; `now` is the wall clock.
    //= SPEC.md#claims
    //# The store MUST keep a claim until its ticket has expired.
    pub fn claim(&mut self, now: UnixSeconds, claim: &TicketClaim) -> ClaimOutcome {
        let known = self.claimed.get(&claim.id).map(|known| known.hello == claim.hello);
        match self.void.get_mut(&claim.identity) {
            // Before all else: the thief may have been the first, and sends his own Hello again.
            Some(void) if claim.origin <= void.origin => return self.misused(now, claim),
            _ if self.forgotten.is_some_and(|forgotten| claim.origin <= forgotten) => {
                return ClaimOutcome::Unavailable;
            }
            _ if known == Some(true) => return ClaimOutcome::Same,
            _ if known.is_some() => return self.misused(now, claim),
            // It has a ticket of a later origin, so it has read what came with that.
            Some(void) => void.told = true,
            None => {}
        }
        if self.claimed.len() >= self.cap {
            self.claimed.retain(|_, claimed| claimed.expires >= now);
        }
        if self.claimed.len() >= self.cap {
            // None is forgotten before its time: it could be used again.
            return ClaimOutcome::Unavailable;
        }
        self.claimed.insert(claim.id, Claimed { hello: claim.hello, expires: claim.expires });
        ClaimOutcome::New
    }

    /// Voids all tickets of the origin and earlier ones.
    //= SPEC.md#claims
    //# After other the store MUST answer other to every ticket of the device with that origin or an earlier one.
    fn misused(&mut self, now: UnixSeconds, claim: &TicketClaim) -> ClaimOutcome {
        if self.void.len() >= self.cap {
            self.void.retain(|_, void| void.expires >= now);
        }
        if self.void.len() >= self.cap && !self.void.contains_key(&claim.identity) {
            // Nobody's tickets of that time are taken any more: it costs their devices a full handshake.
            self.forgotten = self.forgotten.max(Some(claim.origin));
            return ClaimOutcome::Other;
        }
        let (origin, expires) = (claim.origin, claim.expires);
        let void = self.void.entry(claim.identity).or_insert(Void { origin, expires, told: false });
        void.told &= void.origin >= origin;
        void.origin = void.origin.max(origin);
        void.expires = void.expires.max(expires);
        ClaimOutcome::Other
    }

    /// Tells whether a ticket of the device was misused, and it has not shown yet that it knows: for
    /// [`Grant::ticket_misused`](super::Grant::ticket_misused).
    pub fn is_misused(&self, identity: &Identity) -> bool {
        self.void.get(identity).is_some_and(|void| !void.told)
    }

    /// Returns how many claims are kept.
    pub fn len(&self) -> usize {
        self.claimed.len()
    }

    /// Tells whether there is no claim.
    pub fn is_empty(&self) -> bool {
        self.claimed.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{IssuerId, SubjectId};

    const NOW: UnixSeconds = UnixSeconds(1000);

    fn claim(id: u8) -> TicketClaim {
        TicketClaim {
            identity: Identity { issuer: IssuerId([1; 8]), subject: SubjectId([2; 16]) },
            id: TicketId([id; 16]),
            hello: [id; 32],
            origin: UnixSeconds(900),
            expires: UnixSeconds(2000),
            serial: 1,
            revocation: 0,
        }
    }

    #[test]
    fn a_misuse_voids_all_tickets_of_its_origin_and_no_later_one() {
        //= SPEC.md#claims
        //= type=test
        //# After other the store MUST answer other to every ticket of the device with that origin or an earlier one.
        let mut claims = Claims::new(10);
        assert_eq!(claims.claim(NOW, &claim(1)), ClaimOutcome::New);
        assert_eq!(claims.claim(NOW, &TicketClaim { hello: [9; 32], ..claim(1) }), ClaimOutcome::Other);
        assert_eq!(claims.claim(NOW, &claim(2)), ClaimOutcome::Other);
        assert_eq!(
            claims.claim(NOW, &TicketClaim { origin: UnixSeconds(899), ..claim(3) }),
            ClaimOutcome::Other
        );
        assert_eq!(
            claims.claim(NOW, &claim(1)),
            ClaimOutcome::Other,
            "the thief may have been the first: his own Hello opens no session again"
        );
        let other = Identity { subject: SubjectId([3; 16]), ..claim(1).identity };
        assert_eq!(claims.claim(NOW, &TicketClaim { identity: other, ..claim(4) }), ClaimOutcome::New);
        assert!(claims.is_misused(&claim(1).identity) && !claims.is_misused(&other));
        // A later full handshake was told, and gave new tickets.
        assert_eq!(
            claims.claim(NOW, &TicketClaim { origin: UnixSeconds(901), ..claim(5) }),
            ClaimOutcome::New
        );
        assert!(!claims.is_misused(&claim(1).identity));
    }

    #[test]
    fn keeps_claims_for_the_life_of_their_tickets_and_refuses_when_full() {
        //= SPEC.md#claims
        //= type=test
        //# The store MUST keep a claim until its ticket has expired.
        let mut claims = Claims::new(2);
        assert_eq!(claims.claim(NOW, &claim(1)), ClaimOutcome::New);
        assert_eq!(
            claims.claim(NOW, &TicketClaim { expires: UnixSeconds(1500), ..claim(2) }),
            ClaimOutcome::New
        );
        assert_eq!(claims.claim(UnixSeconds(1500), &claim(3)), ClaimOutcome::Unavailable);
        assert_eq!(claims.claim(UnixSeconds(1501), &claim(3)), ClaimOutcome::New);
        assert_eq!(claims.claim(UnixSeconds(1501), &claim(1)), ClaimOutcome::Same);
        assert_eq!(claims.len(), 2);
    }

    #[test]
    fn a_misuse_that_finds_no_room_stops_the_tickets_of_its_time() {
        let mut claims = Claims::new(1);
        let of = |subject: u8, id: u8, origin: u64| TicketClaim {
            identity: Identity { subject: SubjectId([subject; 16]), ..claim(1).identity },
            origin: UnixSeconds(origin),
            ..claim(id)
        };
        assert_eq!(claims.claim(NOW, &of(1, 1, 900)), ClaimOutcome::New);
        for subject in [1, 2] {
            let other = TicketClaim { hello: [9; 32], ..of(subject, 1, 900) };
            assert_eq!(claims.claim(NOW, &other), ClaimOutcome::Other);
        }
        // Nobody knows any more whose it was.
        assert_eq!(claims.claim(UnixSeconds(2001), &of(2, 2, 900)), ClaimOutcome::Unavailable);
        assert_eq!(claims.claim(UnixSeconds(2001), &of(2, 3, 901)), ClaimOutcome::New);
    }
}

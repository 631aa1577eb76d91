//! Every constant of the protocol, each with the section of SPEC.md that fixes it.

use crate::time::Duration;

/// The protocol version in every handshake packet (SPEC.md, "Packets").
pub const VERSION: u8 = 1;
/// The longest connection id, in bytes (SPEC.md, "Packets").
pub const MAX_CONNECTION_ID: usize = 8;
/// The longest packet of any kind, in bytes: a Noise message's limit (SPEC.md, "Handshake payload").
pub const MAX_PACKET: usize = 65_535;
/// The smallest "largest packet" that an end may announce, in bytes (SPEC.md, "Handshake payload").
pub const MIN_MAX_PACKET: usize = 64;
/// The shortest Hello, in bytes; shorter ones are discarded, so that no Reply is more than three times its Hello
/// (SPEC.md, "Hello").
pub const MIN_HELLO: usize = 96;
/// The longest Hello or Finish, in bytes (SPEC.md, "Hello").
pub const MAX_HELLO: usize = 512;
/// The longest Reply, in bytes: three times [`MIN_HELLO`] (SPEC.md, "Reply, Finish").
pub const MAX_REPLY: usize = 288;
/// What a handshake needs of the heap in one piece when it begins, in bytes: measured by `tests/heap.rs`, and rounded up.
/// Where there is less, it says so before it has begun. No part of the protocol.
pub const HANDSHAKE_HEAP: usize = if cfg!(target_pointer_width = "64") { 1664 } else { 1280 };
/// How many times the bytes received on a path may be sent there before the path is validated (SPEC.md, "Admission").
pub const AMPLIFICATION: u64 = 3;
/// The length of a ticket, in bytes (SPEC.md, "Hello").
pub const TICKET_LEN: usize = 122;
/// The longest life of a ticket, counted from its origin: the full handshake before it (SPEC.md, "Tickets").
pub const MAX_TICKET_AGE: Duration = Duration::from_secs(7 * 24 * 3600);
/// How often a resumption's Hello is sent before the attempt goes on with a full handshake (SPEC.md, "Resumption").
pub const RESUME_SENDS: u8 = 3;
/// How often a backend sends a ticket of which no receipt is seen, per session and DH ratchet (SPEC.md, "Tickets").
pub const TICKET_SENDS: u8 = 4;
/// The longest encoded credential, in bytes (SPEC.md, "Credentials").
pub const MAX_CREDENTIAL: usize = 130;
/// The largest time in a credential, exclusive, in seconds since 1970 (SPEC.md, "Credentials").
pub const MAX_UNIX_SECONDS: u64 = 1 << 35;
/// How far ahead of the local clock `not_before` may be, in seconds (SPEC.md, "Validity").
pub const CLOCK_TOLERANCE_SECS: u64 = 300;
/// How many authorities one end may trust at once (SPEC.md, "Credentials").
pub const MAX_AUTHORITIES: usize = 4;
/// How many authorities one end may trust in all, the intermediate ones included: each takes 49 bytes of a device's memory
/// (SPEC.md, "Intermediate authorities").
pub const MAX_ANCHORS: usize = if cfg!(feature = "backend") { 16 } else { MAX_AUTHORITIES };
/// The longest certificate of an intermediate authority, in bytes (SPEC.md, "Intermediate authorities").
pub const MAX_INTERMEDIATE: usize = 131;
/// The longest revocation list, in bytes: room for 64 000 serials in a row with gaps below 64, for 32 000 with gaps below
/// 8 192 (SPEC.md, "Revocation lists").
pub const MAX_REVOCATION_LIST: usize = 65_536;
/// The longest part of a revocation list that concerns backends, in bytes: a device gets it in one packet
/// (SPEC.md, "Revocation lists").
pub const MAX_BACKENDS_PART: usize = 256;
/// How often a backend sends a renewed credential of which no receipt comes (SPEC.md, "Renewal").
pub const RENEWAL_SENDS: u8 = 4;
/// Break-glass grants in force on one shard, at the most (SPEC.md, "Authorisation").
pub const MAX_BREAK_GLASS: usize = 256;
/// The longest life of a break-glass grant (SPEC.md, "Authorisation").
pub const MAX_BREAK_GLASS_LIFE: Duration = Duration::from_secs(12 * 3600);
/// Room for the events of break-glass that wait or are to come, beside that for all others (SPEC.md, "Authorisation").
pub const RESERVED_EVENTS: usize = 2 * MAX_BREAK_GLASS;
/// Credentials of which a backend remembers that their signature has verified, at the most: 32 MiB. No part of the protocol.
pub const MAX_REMEMBERED_CREDENTIALS: u32 = 1 << 20;
/// Issuers that one revocation list names, at the most (SPEC.md, "Revocation lists").
pub const MAX_REVOKED_ISSUERS: usize = 16;
/// How many Replies or Finishes that fail to read one handshake survives (SPEC.md, "Handshake errors").
pub const MAX_FAILED_READS: u8 = 16;

/// Samples in a row that pass the tests before a random source is used (NIST SP 800-90B, section 4.3).
pub const START_UP_SAMPLES: u16 = 1024;
/// The least assessed min-entropy of a sample of noise, in thousandths of a bit: below, 32 bytes would take more than
/// 3200 samples ([`HealthLimits`](crate::health::HealthLimits)).
pub const MIN_SAMPLE_ENTROPY: u16 = 100;

/// Packets sealed or opened per epoch, at the most (SPEC.md, "Hard stops").
pub const MAX_PACKETS_PER_EPOCH: u64 = 1 << 24;
/// Failed opens per session, at the most (SPEC.md, "Hard stops"; RFC 8439's forgery bound with a wide margin).
pub const MAX_FAILED_OPENS: u64 = 1 << 36;
/// The longest life of a session, counted from its full handshake (SPEC.md, "Hard stops").
pub const MAX_SESSION_AGE: Duration = Duration::from_secs(24 * 3600);
/// Packets after which the hash ratchet moves, at the latest (SPEC.md, "Rekey").
pub const HASH_RATCHET_PACKETS: u64 = 1 << 16;
/// Time after which the hash ratchet moves (SPEC.md, "Rekey").
pub const HASH_RATCHET_AGE: Duration = Duration::from_secs(15 * 60);
/// Packets after which the DH ratchet moves, at the latest (SPEC.md, "Rekey").
pub const DH_RATCHET_PACKETS: u64 = 1 << 20;
/// Time after which the DH ratchet moves (SPEC.md, "Rekey").
pub const DH_RATCHET_AGE: Duration = Duration::from_secs(12 * 3600);
/// The shortest time between two DH ratchets that a backend answers (SPEC.md, "Rekey").
pub const DH_RATCHET_INTERVAL: Duration = Duration::from_secs(60);
/// How long the previous epoch's receive key lives after the new epoch's first packet (SPEC.md, "Epochs").
pub const PREVIOUS_KEY_LIFE: Duration = Duration::from_secs(120);
/// The replay window of a device, in packets (SPEC.md, "Replay window").
pub const DEVICE_WINDOW: u16 = 128;
/// The replay window of a backend, in packets (SPEC.md, "Replay window").
pub const BACKEND_WINDOW: u16 = 1024;
/// The largest replay window that an end may announce, in packets (SPEC.md, "Handshake payload").
pub const MAX_WINDOW: u16 = 8192;

/// The most channels of one descriptor set (SPEC.md, "Descriptors").
pub const MAX_CHANNELS: usize = 64;
/// The longest encoded descriptor set, in bytes (SPEC.md, "Descriptors").
pub const MAX_DESCRIPTOR_SET: usize = 2048;
/// The most values of one compound measurement (SPEC.md, "Descriptors").
pub const MAX_COMPONENTS: usize = 8;
/// The most components of a waveform channel (SPEC.md, "Descriptors").
pub const MAX_WAVEFORM_COMPONENTS: usize = 12;
/// The most points of one trend block, and rows of samples of one waveform block (SPEC.md, "Blocks").
pub const MAX_BLOCK_SAMPLES: usize = 1024;
/// The most records of one batch (SPEC.md, "Records frame").
pub const MAX_BATCH_RECORDS: usize = 64;
/// The longest encoded record, in bytes (SPEC.md, "Records").
pub const MAX_RECORD: usize = 1024;
/// The longest text of an annotation, in bytes of UTF-8. SPEC.md, "Annotation".
pub const MAX_ANNOTATION_TEXT: usize = 128;

/// The most streams named in one session (SPEC.md, "Streams").
pub const MAX_STREAMS: usize = 16;
/// How far a record's sequence may be above the stream's first uncommitted one (SPEC.md, "Ledger").
pub const LEDGER_WINDOW: u64 = 256;
/// The most batches that are delivered and not yet committed, per device (SPEC.md, "Commit").
pub const MAX_OUTSTANDING_BATCHES: usize = 64;
/// The most Records frames that a device has in flight (SPEC.md, "Batches").
pub const MAX_FLIGHTS: usize = 32;
/// How many of [`MAX_FLIGHTS`] only the alarm lane may take (SPEC.md, "Batches").
pub const ALARM_FLIGHTS: usize = 8;
/// How many of [`MAX_OUTSTANDING_BATCHES`] only the alarm lane may take (SPEC.md, "Commit").
pub const ALARM_BATCHES: usize = 16;
/// What a full lane gives up at once where its policy is to drop the oldest: so many-th of it (SPEC.md, "Full lanes").
pub const DROP_SHARE: usize = 8;
/// How many gaps of a lane are told apart before their records are written (SPEC.md, "Full lanes").
pub const MAX_PENDING_GAPS: usize = 8;
/// The smallest lane that drops its oldest records, in bytes: below, there is no room for gap records
/// (SPEC.md, "Full lanes").
pub const MIN_DROPPING_LANE: usize = 320;
/// The credit of a session before its first Credit frame (SPEC.md, "Batches").
pub const INITIAL_CREDIT: u16 = 8;
/// The most streams that a ledger keeps of one device: those of [`MAX_STORED_BOOTS`] boots and as many again, which
/// ran from RAM or were emptied since a complete Streams frame (SPEC.md, "Ledger").
pub const MAX_LEDGER_STREAMS: usize = 128;
/// The most boots of which a device keeps entries in its storage (SPEC.md, "Stored boots").
pub const MAX_STORED_BOOTS: usize = 16;
/// After a failure of its storage a device waits so long before it asks again (SPEC.md, "Storage").
pub const STORAGE_RETRY: Duration = Duration::from_secs(10);
/// A boot reads a table of boots that it cannot open so often, before that counts as none (SPEC.md, "Stored boots").
pub const TABLE_READS: u8 = 4;
/// A boot reads its stored pin at most so often, if that fails or brings what cannot be opened (SPEC.md, "Stored pin").
pub const PIN_READS: u8 = 4;
/// The retransmission time-out before anything was measured (SPEC.md, "Retransmission"; RFC 6298, section 2.1).
pub const INITIAL_RTO: Duration = Duration::from_secs(1);
/// The shortest retransmission time-out (SPEC.md, "Retransmission").
pub const MIN_RTO: Duration = Duration::from_millis(200);
/// The longest retransmission time-out (SPEC.md, "Retransmission").
pub const MAX_RTO: Duration = Duration::from_secs(60);

/// The longest body of a command, in bytes (SPEC.md, "Commands").
pub const MAX_COMMAND_BODY: usize = 256;
/// The longest body of a command's result, in bytes (SPEC.md, "Commands").
pub const MAX_COMMAND_RESULT: usize = 64;
/// How many commands of a session a device remembers with their results, and a backend has under way (SPEC.md,
/// "Commands").
pub const MAX_COMMANDS: usize = 4;
/// The longest time for which a command may be valid (SPEC.md, "Commands").
pub const MAX_COMMAND_LIFE: Duration = Duration::from_secs(3600);
/// How long a backend goes on asking for a command's result after its deadline (SPEC.md, "Commands").
pub const COMMAND_RESULT_WAIT: Duration = Duration::from_secs(60);
/// By how much a device's clock may go wrong, in parts per million: the worst that Bluetooth permits a sleep clock
/// (Core Specification 5.4, volume 6, part B, section 4.2.2). SPEC.md, "Time".
pub const CLOCK_DRIFT_PPM: u64 = 500;
/// By how much a device's drift may change once it was measured, in parts per million: what the temperature does to
/// a 32 kHz crystal between 5 and 45 degrees and beyond (0.034 ppm per square degree). SPEC.md, "Time".
pub const CLOCK_DRIFT_CHANGE_PPM: u64 = 50;
/// How many boots of a device a clock map keeps (SPEC.md, "Time").
pub const MAX_CLOCK_BOOTS: usize = 8;
/// How many readings of one boot a clock map keeps (SPEC.md, "Time").
pub const MAX_CLOCK_READINGS: usize = 16;
/// How often one end asks for a stamp that does not come, before it gives up (SPEC.md, "Time").
pub const MAX_TIME_ASKS: u32 = 4;
/// The largest wall-clock time in a TimeSync frame, exclusive, in milliseconds since 1970 (SPEC.md, "Time").
pub const MAX_UNIX_MILLIS: u64 = 1 << 45;

/// The first wait for a Reply or a session packet during a handshake; doubles with each repeat (SPEC.md, "Handshake timers").
pub const HANDSHAKE_RTO: Duration = Duration::from_secs(1);
/// How often a handshake packet is sent before the attempt is given up (SPEC.md, "Handshake timers").
pub const HANDSHAKE_SENDS: u8 = 4;
/// How often a link that comes up may cut a wait for the next handshake packet short (SPEC.md, "Handshake timers").
pub const HURRY_INTERVAL: Duration = Duration::from_secs(10);
/// The longest pause between two attempts (SPEC.md, "Handshake timers").
pub const MAX_RECONNECT_PAUSE: Duration = Duration::from_secs(300);
/// How long a backend keeps a half-open handshake, or a session that is not proved, and recognises the copies of
/// their packets (SPEC.md, "Handshake timers").
pub const HALF_OPEN_LIFE: Duration = Duration::from_secs(20);
/// How long the application may take to accept (SPEC.md, "Handshake timers").
pub const PENDING_LIFE: Duration = Duration::from_secs(30);
/// How many copies of a Finish a backend answers (SPEC.md, "Handshake timers").
pub const MAX_FINISH_ANSWERS: u8 = 16;
/// Half-open handshakes per identity for a Hello that may be a replay; as many more for one with a cookie, and for XX (SPEC.md,
/// "Admission").
pub const MAX_HALF_OPEN_PER_IDENTITY: usize = 2;
/// At the cap of half-open handshakes, one that has waited so long for its Finish makes room (SPEC.md, "Admission").
pub const HALF_OPEN_GRACE: Duration = Duration::from_secs(2);
/// How often the application is told that a limit of the admission is reached, for each limit. No part of the protocol.
pub const LIMIT_REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// How many parallel handshakes Resets may start in [`RESET_INTERVAL`] (SPEC.md, "Reset").
pub const RESET_STARTS: usize = 3;
/// The time in which Resets may start [`RESET_STARTS`] parallel handshakes (SPEC.md, "Reset").
pub const RESET_INTERVAL: Duration = Duration::from_secs(180);
/// The time between two Resets that make a device ask at once (SPEC.md, "Reset").
pub const RESET_ASK_INTERVAL: Duration = Duration::from_secs(10);
/// For how long a validated path that a session has left needs no new validation (SPEC.md, "Paths").
pub const PATH_MEMORY: Duration = Duration::from_secs(600);
/// How long a cookie key is used for new cookies; it verifies for as long again (SPEC.md, "Retry").
pub const COOKIE_KEY_LIFE: Duration = Duration::from_secs(120);
/// Without any authenticated packet for this long while an answer is owed, the device starts a new handshake
/// (SPEC.md, "Liveness").
pub const DEAD_BACKEND: Duration = Duration::from_secs(60);
/// As [`DEAD_BACKEND`], while an alarm waits for its acknowledgement (SPEC.md, "Liveness").
pub const DEAD_BACKEND_ALARM: Duration = Duration::from_secs(15);
/// While an alarm waits and an answer is owed, a device asks again after this time (SPEC.md, "Liveness").
pub const ALARM_PROBE: Duration = Duration::from_secs(4);
/// A session without an authenticated packet for this long ends (SPEC.md, "Liveness").
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(2 * 3600);

/// The most usual events that wait for an audit log (SPEC.md, "Audit log").
pub const AUDIT_QUEUE: usize = 4096;
/// The most essential events that wait for an audit log beside those (SPEC.md, "Audit log").
pub const AUDIT_ESSENTIAL_QUEUE: usize = 512;
/// How many events of a kind that anybody can cause are noted per [`AUDIT_INTERVAL`]; more are counted (SPEC.md, "Audit log").
pub const AUDIT_ALIKE: u64 = 32;
/// How often counts are noted and checkpoints signed, if there is anything to note or sign (SPEC.md, "Audit log").
pub const AUDIT_INTERVAL: Duration = Duration::from_secs(60);
/// After so many entries a checkpoint is signed at the latest (SPEC.md, "Audit log").
pub const AUDIT_CHECKPOINT_ENTRIES: u64 = 256;
/// A file of an audit log is at most so long, in bytes, unless its owner says otherwise: some 600 000 events.
pub const AUDIT_FILE_LEN: u64 = 64 << 20;
/// The least that a file of an audit log may be bounded to, in bytes: room for a header, the longest entry and a checkpoint.
pub const AUDIT_MIN_FILE_LEN: u64 = 8 << 10;
/// The longest body of an audit log's entry, in bytes (SPEC.md, "Audit log").
pub const AUDIT_MAX_ENTRY: usize = 4096;
/// By how much a wall clock may differ from what its last reading and the drift allow before that is a jump, in
/// milliseconds (SPEC.md, "Audit log").
pub const CLOCK_JUMP_MILLIS: u64 = 2000;

/// The smallest piece that a link with fragments must carry, in bytes: what BLE carries at least (SPEC.md, "Fragments").
pub const MIN_LINK_PACKET: usize = 20;
/// The most fragments of one packet (SPEC.md, "Fragments").
pub const MAX_FRAGMENTS: usize = 32;
/// How long half a packet is kept after its latest fragment (SPEC.md, "Fragments").
pub const FRAGMENT_LIFE: Duration = Duration::from_secs(10);
/// How many packets before the newest one are too late to be put together (SPEC.md, "Fragments").
pub const STALE_PACKETS: u8 = 4;

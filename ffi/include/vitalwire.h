// vitalwire: the C API of the device end. Made by cbindgen of the crate ffi: do not edit. README.md beside it explains.
//
// - Memory is the caller's. A device is a `vw_device` that never moves; buffers that it was given are left alone until
//   vw_device_destroy.
// - Calls return a vw_status: 0 or VW_YES, or an error, which is negative. After an error nothing has changed, unless the
//   call says so. vw_error_name() has the name.
// - Times are milliseconds of a monotonic clock since boot.
// - One task uses an object at a time: a second one, an interrupt or a callback gets VW_ERROR_BUSY.

#ifndef VITALWIRE_H
#define VITALWIRE_H

#include <stddef.h>
#include <stdint.h>

#if UINTPTR_MAX > 0xffffffff
#define VW_64BIT
#else
#define VW_32BIT
#endif

// Define what the library was built with: VW_HEAP for the feature `heap`, VW_HEAP_HOOKS for `heap-hooks`,
// VW_PANIC_HANDLER for `panic-handler`.

// A device's share of the heap, in bytes, storage included: twice what it takes at the most, as a heap gets holes.
#define VW_HEAP_PER_DEVICE 18432

// The length of a key, in bytes.
#define VW_KEY_LEN 32

// The longest credential, in bytes.
#define VW_CREDENTIAL_MAX 130

// How many lanes there are: alarm, event, trend, waveform.
#define VW_LANES 4

// For `vw_config.spill_after_ms`: never.
#define VW_SPILL_NEVER 4294967295

// Bytes for `vw_poll_transmit` that always do for a handshake.
#define VW_HANDSHAKE_PACKET_MAX 512

#if defined(VW_64BIT)
// The size of a device's opaque storage, in words of 64 bits.
#define VW_DEVICE_WORDS 608
#endif

#if defined(VW_32BIT)
// The size of a device's opaque storage, in words of 64 bits.
#define VW_DEVICE_WORDS 536
#endif

// Measurements and trends: 1 to 8 components.
#define VW_CHANNEL_NUMERIC 1

// Waveforms: 1 to 12 components, and a rate.
#define VW_CHANNEL_WAVEFORM 2

// Events: at most 1 component.
#define VW_CHANNEL_EVENT 3

// Nothing but alarms: at most 8 components.
#define VW_CHANNEL_ALARM 4

// There is no event.
#define VW_EVENT_NONE 0

// A session is confirmed: `backend`, `pattern`, `time_floor`. Store backend and floor; with storage the device does.
#define VW_EVENT_CONNECTED 1

// The session has ended: `reason` is a `VW_CLOSE_…`. What was in flight is sent again in the next one.
#define VW_EVENT_DISCONNECTED 2

// An attempt to connect has failed: `reason` is a discard (`vw_discard_name`), or `VW_NO_ANSWER`.
#define VW_EVENT_CONNECT_FAILED 3

// The backend refused records for good: `boot`, `lane`, `sequence` of the first, `count`; `reason` 1 for out of scope, 2
// for undecodable.
#define VW_EVENT_RECORDS_REFUSED 4

// Three quarters of `lane` are in use.
#define VW_EVENT_LANE_NEARLY_FULL 5

// No more than half of `lane` is in use again.
#define VW_EVENT_LANE_EASED 6

// `lane` has given up `count` records, as its policy says: the lowest is `sequence`.
#define VW_EVENT_RECORDS_DROPPED 7

// All records of `lane` up to `sequence`, of this boot, survive a power cut, or are settled.
#define VW_EVENT_STORED 8

// Something is wrong with the storage: `reason` is a `VW_TROUBLE_…`, and `lane` the lane of `VW_TROUBLE_FULL`.
#define VW_EVENT_STORAGE_TROUBLE 9

// A command was refused, and not handed out: `command`; `reason` 1 out of scope, 2 for another boot, 3 too late, 4
// superseded.
#define VW_EVENT_COMMAND_REFUSED 10

// A ticket of this device was used by two: somebody has read or copied its memory.
#define VW_EVENT_TICKET_MISUSED 11

// `count` events came that had no room.
#define VW_EVENT_EVENTS_LOST 12

// The device has another credential, by which it connects from now on: store `vw_credential` in the place of the one
// before.
#define VW_EVENT_CREDENTIAL_RENEWED 13

// An event that this header does not know.
#define VW_EVENT_OTHER 255

// For `VW_EVENT_CONNECT_FAILED`: nothing answered.
#define VW_NO_ANSWER 65535

// The application ended the session.
#define VW_CLOSE_APPLICATION 1

// The other end sent frames that this version does not understand.
#define VW_CLOSE_PROTOCOL_VIOLATION 2

// The application refused the device.
#define VW_CLOSE_REFUSED 3

// A newer session of the device was proved.
#define VW_CLOSE_REPLACED 4

// Nothing came for too long.
#define VW_CLOSE_IDLE 5

// The session reached its greatest age.
#define VW_CLOSE_SESSION_AGE 6

// A packet limit was reached and no rekey came in time.
#define VW_CLOSE_PACKET_LIMIT 7

// Too many packets failed to authenticate.
#define VW_CLOSE_FORGERY_LIMIT 8

// The backend sends its devices to another node.
#define VW_CLOSE_DRAINING 9

// The device was revoked.
#define VW_CLOSE_REVOKED 10

// A ticket was used twice.
#define VW_CLOSE_TICKET_CONFLICT 11

// The storage failed as the boot was noted: this boot keeps its records in RAM only.
#define VW_TROUBLE_UNAVAILABLE 1

// The table of boots could not be opened: what earlier boots stored is lost.
#define VW_TROUBLE_UNREADABLE 2

// Too many boots have entries: this one stores nothing before one of them is drained.
#define VW_TROUBLE_TOO_MANY_BOOTS 3

// A lane's region is full: its records stay in RAM until something is trimmed.
#define VW_TROUBLE_FULL 4

// A request failed, and is asked again later.
#define VW_TROUBLE_FAILED 5

// Something stored is damaged and was skipped.
#define VW_TROUBLE_CORRUPT 6

// The stored pin could not be read: this boot goes on with what its configuration demands.
#define VW_TROUBLE_PIN_UNREADABLE 7

// The random source failed: what needs a fresh salt is not stored before it works again.
#define VW_TROUBLE_NO_ENTROPY 8

// Something to do: `id`, `code`, `body`, `deadline`. Answer it with `vw_command_done` or `vw_command_failed`.
#define VW_RECEIVED_COMMAND 1

// A frame of a type that the library does not know: `code`, `body`.
#define VW_RECEIVED_EXTENSION 2

// The version of this header. A library of another one refuses its structs with `VW_ERROR_BAD_LENGTH` at the latest;
// compare with `vw_api_version()` at the start.
#define VW_API_VERSION 1

// The size of a `vw_health`, in words of 64 bits.
#define VW_HEALTH_WORDS 18

// Neither health test has failed.
#define VW_HEALTH_GOOD 0

// One sample came too often in a row.
#define VW_HEALTH_STUCK 1

// One sample came too often within a window.
#define VW_HEALTH_BIASED 2

// A failure that this header does not know.
#define VW_HEALTH_OTHER 255

// The longest packet that `vw_cobs` and `vw_reassembler` take: set `vw_config.max_packet` to no more.
#define VW_LINK_PACKET_MAX 512

// The size of a `vw_cobs`, in words of 64 bits.
#define VW_COBS_WORDS 80

// The size of a `vw_fragmenter`, in words of 64 bits.
#define VW_FRAGMENTER_WORDS 16

// The size of a `vw_reassembler`, in words of 64 bits.
#define VW_REASSEMBLER_WORDS 88

// No time, no number: something never happens, or there is none.
#define VW_NEVER 18446744073709551615ull

// Alarms: never dropped, never behind anything else.
#define VW_LANE_ALARM 0

// Events and single measurements.
#define VW_LANE_EVENT 1

// Trends: series of measurements.
#define VW_LANE_TREND 2

// Waveforms.
#define VW_LANE_WAVEFORM 3

// A full lane refuses: `VW_ERROR_LANE_FULL`.
#define VW_POLICY_REFUSE 0

// A full lane gives up its oldest records, and a gap record names them.
#define VW_POLICY_DROP_OLDEST 1

// A fuller lane takes fewer records: `VW_ERROR_THINNED`. When it is full, the oldest are dropped.
#define VW_POLICY_THIN 2

// The most values of a measurement, and components of a trend.
#define VW_VALUES_MAX 8

// The most components of a waveform.
#define VW_WAVEFORM_COMPONENTS_MAX 12

// The most points of one trend, and rows of samples of one waveform that are given at once.
#define VW_BLOCK_MAX 1024

// Measured on the patient.
#define VW_MODE_REAL 0

// Made by a test of the device.
#define VW_MODE_TEST 1

// Made for a demonstration.
#define VW_MODE_DEMONSTRATION 2

// There is a value, and it is valid.
#define VW_VALUE_VALID 0

// There is a value, and it is doubtful.
#define VW_VALUE_QUESTIONABLE 1

// There is a value, taken while the sensor calibrates.
#define VW_VALUE_CALIBRATING 2

// There is a value that is known to be wrong.
#define VW_VALUE_INVALID 3

// There is no value, and no reason is known.
#define VW_ABSENT_UNKNOWN 16

// There is no value: it was not measured.
#define VW_ABSENT_NOT_MEASURED 17

// There is no value: the sensor is off, or not on the patient.
#define VW_ABSENT_SENSOR_OFF 18

// There is no value: the measurement failed.
#define VW_ABSENT_FAILED 19

// There is no value: it is above what the device can measure.
#define VW_ABSENT_OVERFLOW 20

// There is no value: it is below what the device can measure.
#define VW_ABSENT_UNDERFLOW 21

// There is no value: it is withheld on purpose.
#define VW_ABSENT_WITHHELD 22

// The patient is the cause of an alarm.
#define VW_ALARM_PHYSIOLOGICAL 0

// The equipment is.
#define VW_ALARM_TECHNICAL 1

// Priority of an alarm: for information.
#define VW_PRIORITY_INFORMATIONAL 0

// Priority of an alarm: low.
#define VW_PRIORITY_LOW 1

// Priority of an alarm: medium.
#define VW_PRIORITY_MEDIUM 2

// Priority of an alarm: high.
#define VW_PRIORITY_HIGH 3

// Phase of an alarm: it has begun.
#define VW_PHASE_START 0

// Phase of an alarm: it goes on.
#define VW_PHASE_CONTINUE 1

// Phase of an alarm: it is over.
#define VW_PHASE_END 2

// Phase of an alarm: it is over, and signalled until somebody resets it.
#define VW_PHASE_LATCHED 3

// Phase of an alarm: somebody has acknowledged it.
#define VW_PHASE_ACKNOWLEDGED 4

// Phase of an alarm: its signal is paused or off.
#define VW_PHASE_INACTIVATED 5

// There is nothing to ask.
#define VW_STORAGE_NONE 0

// Append `data` to the region of `lane`. Answer with APPENDED, FULL or FAILED.
#define VW_STORAGE_APPEND 1

// Hand out the oldest entry of `lane`'s region whose number is above `number`, or, unless `has_number`, the oldest of all.
// Answer with ENTRY, END or FAILED.
#define VW_STORAGE_READ 2

// The entries of `lane`'s region up to `number`, and it too, are not needed any more. Answer with DONE or FAILED.
#define VW_STORAGE_TRIM 3

// Keep `data` under `item`, in the place of what was there. Answer with DONE, FULL or FAILED.
#define VW_STORAGE_PUT 4

// Hand out what is kept under `item`. Answer with VALUE, NO_VALUE or FAILED.
#define VW_STORAGE_GET 5

// Erase what is kept under `item`, in the hardware where that can be done. Answer with DONE or FAILED.
#define VW_STORAGE_DELETE 6

// A request that this header does not know. Answer with FAILED.
#define VW_STORAGE_OTHER 255

// The item of the boots of which entries may be stored.
#define VW_ITEM_BOOTS 0

// The item of the ticket for the next resumption.
#define VW_ITEM_TICKET 1

// The item of the backend's pin and the time floor.
#define VW_ITEM_PIN 2

// The first of the items of descriptor sets: `VW_ITEMS` - 3 of them.
#define VW_ITEM_DESCRIPTORS 3

// How many items there are: their numbers go from 0 up.
#define VW_ITEMS 19

// It is done, and survives a power cut.
#define VW_REPLY_DONE 1

// The entry is stored under `number`, above that of every earlier one of the region, also over power cuts; the region
// will still take `free` bytes, 2^32 - 1 if nobody knows.
#define VW_REPLY_APPENDED 2

// The entry `number`: `data`.
#define VW_REPLY_ENTRY 3

// There is no such entry.
#define VW_REPLY_END 4

// The value: `data`.
#define VW_REPLY_VALUE 5

// There is no value.
#define VW_REPLY_NO_VALUE 6

// There is no room; nothing has changed.
#define VW_REPLY_FULL 7

// The hardware has failed; what was asked may be done or not.
#define VW_REPLY_FAILED 8

// What a call returns: zero, one for the yes of a question, or an error, which is negative. After an error nothing has
// changed, unless the call says so.
enum vw_status
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // It is done; for a question: no.
  VW_OK = 0,
  // For a question: yes.
  VW_YES = 1,
  // A pointer is NULL that must not be.
  VW_ERROR_NULL = -1,
  // A pointer to a struct is misaligned.
  VW_ERROR_MISALIGNED = -2,
  // A length that this memory cannot have, or a struct of another size than the library's: header and library are
  // not of one version.
  VW_ERROR_BAD_LENGTH = -3,
  // There is nothing in this storage: it was never initialised, or was destroyed.
  VW_ERROR_NOT_INITIALISED = -4,
  // The object was copied or moved in memory.
  VW_ERROR_MOVED = -5,
  // The object is in another call: this one comes from a callback, an interrupt or another thread.
  VW_ERROR_BUSY = -6,
  // A number that names nothing: a lane, a mode, a kind, a state, or text that is no UTF-8.
  VW_ERROR_BAD_VALUE = -7,
  // Two buffers share memory that must not.
  VW_ERROR_OVERLAP = -8,
  // A fault of the library. The object can only be destroyed.
  VW_ERROR_INTERNAL = -9,
  // The heap has too little room: for another device, or for a handshake. A session that there is goes on, and the
  // handshake is tried again after a second.
  VW_ERROR_OUT_OF_MEMORY = -10,
  // The buffer is too small; the call tells how much it needs.
  VW_ERROR_BUFFER_TOO_SMALL = -20,
  // The random source failed or is not ready.
  VW_ERROR_ENTROPY = -21,
  // A value in the configuration is outside its range.
  VW_ERROR_INVALID_CONFIG = -22,
  // The lane has no space: serve the storage, or wait for acknowledgements.
  VW_ERROR_LANE_FULL = -23,
  // The record was left out, as the lane is rather full and thins out its records.
  VW_ERROR_THINNED = -24,
  // The channel holds its share of the lane already.
  VW_ERROR_QUOTA_EXCEEDED = -25,
  // The record would never fit into a packet or its lane.
  VW_ERROR_RECORD_TOO_LONG = -26,
  // The record does not fit a channel of the descriptor set.
  VW_ERROR_BAD_RECORD = -27,
  // The descriptor set is malformed, or does not extend the present one.
  VW_ERROR_BAD_DESCRIPTORS = -28,
  // The credentials do not permit it.
  VW_ERROR_OUT_OF_SCOPE = -29,
  // The handle belongs to something that has ended.
  VW_ERROR_STALE_HANDLE = -30,
  // The result of the command is too long.
  VW_ERROR_BAD_COMMAND = -31,
  // Too many commands are under way.
  VW_ERROR_TOO_MANY_COMMANDS = -32,
  // There is no session for this.
  VW_ERROR_NO_SESSION = -33,
  // It is not known yet: the storage has not answered, or there is no clock.
  VW_ERROR_NOT_KNOWN = -34,
  // A credential is malformed.
  VW_ERROR_MALFORMED_CREDENTIAL = -40,
  // A time in a credential is out of range.
  VW_ERROR_CREDENTIAL_TIME = -41,
  // Between one and four distinct authorities are needed.
  VW_ERROR_BAD_ANCHORS = -42,
  // There is no packet without a byte.
  VW_ERROR_EMPTY_PACKET = -50,
  // The packet is longer than this link can carry.
  VW_ERROR_PACKET_TOO_LONG = -51,
  // The link carries fewer than 20 bytes.
  VW_ERROR_LINK_TOO_SMALL = -52,
  // An error of the library that this layer does not know.
  VW_ERROR_OTHER = -99,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum vw_status vw_status;
#else
typedef int32_t vw_status;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// Computes X25519 of the device's static key and `public_key` into `shared` (32 bytes each) and returns 0, or returns
// anything else if it cannot.
typedef int32_t (*vw_dh_fn)(void *context, const uint8_t *public_key, uint8_t *shared);

// Where the device's static key is kept, if that shows it to nobody: a secure element.
typedef struct vw_key_store {
  // Does what needs the key; NULL if `vw_config.secret_key` has it.
  vw_dh_fn diffie_hellman;
  // What `diffie_hellman` is called with.
  void *context;
  // 32 secret bytes that hedge ephemeral keys against a weak generator; copied. NULL: there are none.
  const uint8_t *hedge_key;
} vw_key_store;

// Whom a credential names.
typedef struct vw_identity {
  // The authority: the first 8 bytes of BLAKE2s-256 of its key.
  uint8_t issuer[8];
  // The name that it gave.
  uint8_t subject[16];
} vw_identity;

// A backend that the device knows: store it as it is, it holds no secret.
typedef struct vw_pin {
  // Its static key.
  uint8_t key[32];
  // Whom its credential names.
  struct vw_identity identity;
  // How long its credential is; 0: not stored.
  uint8_t credential_len;
  // Its credential.
  uint8_t credential[VW_CREDENTIAL_MAX];
} vw_pin;

// When sessions rekey and end. `vw_config_init` sets the protocol's maxima; a value is only ever lowered, and none but
// `dh_interval_ms` may be 0.
typedef struct vw_rekey_policy {
  // Packets after which the hash ratchet moves; at most 65536.
  uint64_t hash_after_packets;
  // Time after which it does; at most 15 minutes.
  uint64_t hash_after_ms;
  // Packets after which the DH ratchet moves; at most 2^20.
  uint64_t dh_after_packets;
  // Time after which it does; at most 12 hours.
  uint64_t dh_after_ms;
  // The shortest time between two DH ratchets; at most 60 s. The backend has one too.
  uint64_t dh_interval_ms;
  // Packets of an epoch; at most 2^24.
  uint64_t epoch_packets;
  // The longest life of a session; at most 24 hours.
  uint64_t session_age_ms;
  // Packets that failed to authenticate, after which a session ends; at most 2^36.
  uint64_t failed_opens;
} vw_rekey_policy;

// Fills `out` with `len` random bytes and returns 0, or returns anything else if it cannot: then nothing in `out` is
// used, and the call that needed it returns `VW_ERROR_ENTROPY`.
//
// It must be a hardware generator that passed its health tests, or a DRBG seeded from one. It may be called in
// `vw_poll_transmit` and `vw_poll_storage` only, and must not call back into the device.
typedef int32_t (*vw_entropy_fn)(void *context, uint8_t *out, size_t len);

// What came in a packet for the application. It is gone when the callback returns: copy what you need.
typedef struct vw_received {
  // `VW_RECEIVED_…`.
  uint8_t kind;
  // What to do: the application's own code.
  uint16_t code;
  // What to answer.
  uint32_t id;
  // From when on a command must not be begun any more, in milliseconds of the device's clock. Who does not act at once
  // looks again.
  uint64_t deadline;
  // How to do it.
  const uint8_t *body;
  // Its length, at most 256 bytes.
  size_t body_len;
} vw_received;

// Takes what came. It is called inside `vw_handle_packet` and must not call back into the device: keep what it says,
// and act after the call.
typedef void (*vw_received_fn)(void *context, const struct vw_received *received);

// What a device needs to know. Begin with `vw_config_init`, and fill in at least `secret_key`, `credential`,
// `authorities` (or `pin`), `boot`, `outbox`, `descriptors` and `entropy`.
//
// Keys and credentials are copied: wipe yours. `outbox`, `backlog` and `descriptors` stay in use until
// `vw_device_destroy`.
typedef struct vw_config {
  // Set by `vw_config_init`.
  size_t size;
  // The device's X25519 static key, 32 bytes. NULL: `key_store` has it.
  const uint8_t *secret_key;
  // Where the key is kept otherwise.
  struct vw_key_store key_store;
  // The public half, 32 bytes; with NULL it is computed from `secret_key`, which costs some milliseconds.
  const uint8_t *public_key;
  // The device's own credential.
  const uint8_t *credential;
  // Its length in bytes.
  size_t credential_len;
  // The authorities that are trusted: Ed25519 public keys of 32 bytes, one behind the other.
  const uint8_t *authorities;
  // How many, 1 to 4. 0: none, and no signature is ever verified; `pin` with a credential is needed then, and this
  // backend is trusted until somebody provisions the device anew. A library without the feature `authorities` takes 0
  // only.
  size_t authority_count;
  // The only backend that may answer; NULL: any that an authority vouches for.
  const struct vw_identity *expected;
  // The backend, as the last `VW_EVENT_CONNECTED` told it; NULL: not known. With storage the device keeps it itself.
  const struct vw_pin *pin;
  // A pre-shared key of 32 bytes that every handshake must prove; NULL: none.
  const uint8_t *psk;
  // Its id, 8 bytes.
  const uint8_t *psk_id;
  // The wall clock in seconds since 1970, if the device has one that it trusts; 0: it has none.
  uint64_t wall_clock;
  // The time floor, as the last `VW_EVENT_CONNECTED` told it.
  uint64_t time_floor;
  // This boot's number: one more than at the boot before. With storage it counts only if that is empty.
  uint32_t boot;
  // The connection id to receive on; of no bytes on a link of one's own.
  const uint8_t *connection_id;
  // Its length, 0 to 8 bytes.
  size_t connection_id_len;
  // The longest packet that the device accepts, in bytes, 64 or more. Usually 1232.
  uint16_t max_packet;
  // The replay window, in packets, 64 to 8192. Usually 128.
  uint16_t window;
  // After so many seconds without a packet of the backend a session ends. Usually 7200.
  uint32_t idle_seconds;
  // The smallest `max_packet` that any link of this device will have: no record is made longer. 64 or more.
  uint16_t smallest_packet;
  // For how long the device listens after each of its packets, if its radio is off otherwise; 0: it always listens.
  uint32_t listen_ms;
  // When to rekey.
  struct vw_rekey_policy rekey;
  // How `outbox` is shared among the lanes, in bytes; all 0: as usual.
  size_t lane_bytes[VW_LANES];
  // How long each lane's records may wait for more of them to share a packet.
  uint32_t linger_ms[VW_LANES];
  // What happens when a lane is full: `VW_POLICY_…`. Usually REFUSE, REFUSE, DROP_OLDEST, DROP_OLDEST.
  uint8_t policies[VW_LANES];
  // How much of a lane one channel may take, in percent, 1 to 100.
  uint8_t quotas[VW_LANES];
  // What storage is sealed with, 32 bytes; NULL: there is no storage, records are kept in RAM only.
  const uint8_t *storage_key;
  // The longest entry in storage, in bytes; 0: as usual.
  size_t entry_len;
  // Bytes for a descriptor set that is stored or read; 0: as usual.
  size_t set_len;
  // How the rest of `backlog` is shared among the lanes, in bytes; all 0: as usual.
  size_t backlog_bytes[VW_LANES];
  // How long each lane's records may wait for their acknowledgement before they are stored: 0 at once,
  // `VW_SPILL_NEVER` never. Usually 0, 5000, 5000, 5000.
  uint32_t spill_after_ms[VW_LANES];
  // Where records wait until they are committed.
  uint8_t *outbox;
  // Its length.
  size_t outbox_len;
  // The encoded descriptor set, from `vw_descriptors_encode`.
  const uint8_t *descriptors;
  // Its length.
  size_t descriptors_len;
  // For what is written to and read from storage; of no bytes without storage.
  uint8_t *backlog;
  // Its length.
  size_t backlog_len;
  // The random source.
  vw_entropy_fn entropy;
  // What it is called with.
  void *entropy_context;
  // Takes the backend's commands; NULL: they are left to expire.
  vw_received_fn received;
  // What it is called with.
  void *received_context;
} vw_config;

// A device: opaque, in the caller's memory, and never moved. Its size is `sizeof (vw_device)`.
//
// Declare it static, or on a stack that outlives it. One task uses it at a time; a second one gets `VW_ERROR_BUSY`.
typedef struct vw_device {
  // Not for use.
  uint64_t opaque[VW_DEVICE_WORDS];
} vw_device;

// One quantity of a channel: physical = offset + scale * raw, both mantissa * 10^exponent.
typedef struct vw_component {
  // What it is: an ISO/IEEE 11073-10101 code, partition * 65536 + term.
  uint32_t metric;
  // Its unit: likewise.
  uint32_t unit;
  // The scale's digits, not 0: 1 for whole units.
  int32_t scale_mantissa;
  // The offset's digits.
  int32_t offset_mantissa;
  // The scale's power of ten: -1 for tenths.
  int8_t scale_exponent;
  // The offset's power of ten.
  int8_t offset_exponent;
} vw_component;

// What a channel's records mean.
typedef struct vw_channel {
  // The number that its records name it by.
  uint8_t number;
  // `VW_CHANNEL_…`.
  uint8_t kind;
  // What it is as a whole: an ISO/IEEE 11073-10101 code, partition * 65536 + term.
  uint32_t metric;
  // Where on the body: likewise; 0 if it is not said.
  uint32_t site;
  // Its samples: `rate_numerator` in `rate_denominator` seconds; 0 in both: no rate.
  uint32_t rate_numerator;
  // See `rate_numerator`.
  uint32_t rate_denominator;
  // Its quantities.
  const struct vw_component *components;
  // How many.
  size_t component_count;
} vw_channel;

// Something that the firmware should know. Fields that its kind does not name are zero.
typedef struct vw_event {
  // `VW_EVENT_…`.
  uint8_t kind;
  // `VW_LANE_…`.
  uint8_t lane;
  // The handshake's pattern: 1 XX, 2 IK, 3 XXpsk3, 4 IKpsk2, 5 resumption.
  uint8_t pattern;
  // Why; what it means depends on the kind.
  uint16_t reason;
  // The kind of a command: the application's own code.
  uint16_t command;
  // A boot's number.
  uint32_t boot;
  // How many.
  uint32_t count;
  // A record's sequence.
  uint64_t sequence;
  // The time floor, in seconds since 1970: never go below it.
  uint64_t time_floor;
  // The backend, verified.
  struct vw_pin backend;
} vw_event;

// How full a lane is.
typedef struct vw_lane_fill {
  // Records in the lane.
  uint32_t records;
  // Records that wait to be sent, or sent again.
  uint32_t queued;
  // Bytes in use.
  size_t used;
  // The lane's bytes.
  size_t capacity;
  // Records that were given up since the boot.
  uint64_t dropped;
  // Gaps of which no record is written yet.
  uint32_t gaps;
} vw_lane_fill;

// A reading of the backend's clock.
typedef struct vw_wall_reading {
  // Milliseconds since 1970-01-01T00:00:00Z.
  uint64_t unix_millis;
  // By how much it is off at most, in milliseconds. Means nothing if `quality` is below 2.
  uint64_t error_ms;
  // 0 unknown, 1 set by hand, 2 estimated, 3 synchronised.
  uint8_t quality;
} vw_wall_reading;

// A tested random source: opaque, in the caller's memory, and never moved.
typedef struct vw_health {
  // Not for use.
  uint64_t opaque[VW_HEALTH_WORDS];
} vw_health;

// Waits, not for ever, for the generator's next raw sample, stores it in `sample` and returns 0, or returns anything else
// if there is none.
typedef int32_t (*vw_sample_fn)(void *context, uint32_t *sample);

// Takes packets from a serial line: opaque, in the caller's memory, and never moved.
typedef struct vw_cobs {
  // Not for use.
  uint64_t opaque[VW_COBS_WORDS];
} vw_cobs;

// Cuts packets so that they fit a small link: opaque, in the caller's memory, and never moved.
typedef struct vw_fragmenter {
  // Not for use.
  uint64_t opaque[VW_FRAGMENTER_WORDS];
} vw_fragmenter;

// Puts packets together again: opaque, in the caller's memory, and never moved.
typedef struct vw_reassembler {
  // Not for use.
  uint64_t opaque[VW_REASSEMBLER_WORDS];
} vw_reassembler;

// The ids of records that were accepted: `count` consecutive sequences of the lane.
typedef struct vw_accepted {
  // The first one's sequence.
  uint64_t first;
  // How many.
  uint32_t count;
} vw_accepted;

// One value of a measurement.
typedef struct vw_value {
  // The value in the scale of its component, if there is one.
  int32_t raw;
  // `VW_VALUE_…` or `VW_ABSENT_…`.
  uint8_t state;
} vw_value;

// The values of a numeric channel at one time.
typedef struct vw_measurement {
  // The channel's number.
  uint8_t channel;
  // `VW_MODE_…`.
  uint8_t mode;
  // How many values, 1 to 8: one for each component of the channel.
  uint8_t count;
  // The values.
  struct vw_value values[VW_VALUES_MAX];
} vw_measurement;

// A series of values of a numeric channel.
typedef struct vw_trend {
  // The channel's number.
  uint8_t channel;
  // `VW_MODE_…`.
  uint8_t mode;
  // How far the values can be trusted: `VW_VALUE_…`.
  uint8_t quality;
  // How many components each point has, as the channel.
  uint8_t components;
  // 0 for a component that is there, or `VW_ABSENT_…` for one that is missing in the whole series.
  uint8_t absent[VW_VALUES_MAX];
  // The points' times since the record's time, in milliseconds, ascending.
  const uint64_t *offsets_ms;
  // The values: those of all components at the first time, then those at the next.
  const int32_t *values;
  // How many points, 1 to 1024.
  size_t points;
} vw_trend;

// A run of samples of a waveform channel.
typedef struct vw_waveform {
  // The channel's number.
  uint8_t channel;
  // `VW_MODE_…`.
  uint8_t mode;
  // How far the samples can be trusted: `VW_VALUE_…`.
  uint8_t quality;
  // How many components each row has, as the channel.
  uint8_t components;
  // 0 for a component that is there, or `VW_ABSENT_…` for one that is missing in the whole run.
  uint8_t absent[VW_WAVEFORM_COMPONENTS_MAX];
  // The index of the first row, counted since boot.
  uint64_t first_sample;
  // The samples: those of all components at the first time, then those at the next.
  const int32_t *samples;
  // How many rows.
  size_t rows;
} vw_waveform;

// Something that happened.
typedef struct vw_event_record {
  // The number of an event channel.
  uint8_t channel;
  // `VW_MODE_…`.
  uint8_t mode;
  // Whether `value` counts, 0 or 1.
  uint8_t has_value;
  // What happened: an ISO/IEEE 11073-10101 code, or one of the channel's own.
  uint32_t code;
  // How much, in the scale of the channel's first component.
  int32_t value;
} vw_event_record;

// An alarm condition, or a change of one (IEC 60601-1-8).
typedef struct vw_alarm {
  // The number of the channel that is the source.
  uint8_t channel;
  // `VW_MODE_…`.
  uint8_t mode;
  // `VW_ALARM_…`.
  uint8_t kind;
  // `VW_PRIORITY_…`.
  uint8_t priority;
  // `VW_PHASE_…`.
  uint8_t phase;
  // Whether `value` counts, 0 or 1.
  uint8_t has_value;
  // Whether `low_limit` counts, 0 or 1.
  uint8_t has_low_limit;
  // Whether `high_limit` counts, 0 or 1.
  uint8_t has_high_limit;
  // What it is: an ISO/IEEE 11073-10101 code, or one of the channel's own.
  uint32_t code;
  // The value that raised it, in the scale of the channel's first component.
  int32_t value;
  // The low limit, in the same scale.
  int32_t low_limit;
  // The high limit, in the same scale.
  int32_t high_limit;
} vw_alarm;

// A remark on the signal. Nothing that tells who the patient is belongs into it.
typedef struct vw_annotation {
  // Whether it is about `channel` only, 0 or 1.
  uint8_t has_channel;
  // The channel's number.
  uint8_t channel;
  // `VW_MODE_…`.
  uint8_t mode;
  // What it says: an ISO/IEEE 11073-10101 code, or a private one; 0 if only the text says it.
  uint32_t code;
  // How long what it is about lasted, from the record's time on.
  uint32_t span_ms;
  // More in words, UTF-8.
  const uint8_t *text;
  // Its length, at most 128 bytes.
  size_t text_len;
} vw_annotation;

// The limits at which the device raises alarms from here on.
typedef struct vw_alarm_limits {
  // The channel's number.
  uint8_t channel;
  // Which of its components, from 0 on.
  uint8_t component;
  // `VW_MODE_…`.
  uint8_t mode;
  // Whether there is a low limit, 0 or 1.
  uint8_t has_low;
  // Whether there is a high limit, 0 or 1.
  uint8_t has_high;
  // The low limit, in the scale of the component.
  int32_t low;
  // The high limit, in the scale of the component.
  int32_t high;
} vw_alarm_limits;

// What the device asks of its storage. All of it is sealed already.
typedef struct vw_storage_request {
  // `VW_STORAGE_…`.
  uint8_t kind;
  // `VW_LANE_…`: which region.
  uint8_t lane;
  // `VW_ITEM_…`: which item, 0 to `VW_ITEMS` - 1.
  uint8_t item;
  // Whether `number` counts, 0 or 1.
  uint8_t has_number;
  // The number of an entry.
  uint64_t number;
  // What to store, in `backlog`: valid until the next call with this device.
  const uint8_t *data;
  // Its length.
  size_t len;
} vw_storage_request;

// What the storage answers.
typedef struct vw_storage_reply {
  // `VW_REPLY_…`.
  uint8_t kind;
  // How many bytes the region will still take.
  uint32_t free;
  // The number of an entry.
  uint64_t number;
  // What was read. Not in the device's own memory.
  const uint8_t *data;
  // Its length.
  size_t len;
} vw_storage_reply;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Fills a configuration with the usual values; `size` is `sizeof (vw_config)`.
vw_status vw_config_init(struct vw_config *config, size_t size);

// Makes a device in `device`, of `size` bytes: `sizeof (vw_device)`. What was in that memory is forgotten.
//
// With `VW_ERROR_INVALID_CONFIG`, `why` says in words which value is wrong; it may be NULL. 80 bytes do. It is none of the
// device's memory.
vw_status vw_device_init(struct vw_device *device,
                         size_t size,
                         const struct vw_config *config,
                         char *why,
                         size_t why_len);

// Ends the device at once, and wipes it, its outbox and its backlog. It says nothing to the backend: `vw_disconnect`
// does.
vw_status vw_device_destroy(struct vw_device *device);

// Writes a descriptor set of up to 64 channels, in ascending order of their numbers, and its length; NULL channels give
// the empty set. `VW_ERROR_BAD_DESCRIPTORS` if kind, rate and components of one do not go together, or the
// order is wrong. What is in `out` after an error is no set.
vw_status vw_descriptors_encode(const struct vw_channel *channels,
                                size_t count,
                                uint8_t *out,
                                size_t out_len,
                                size_t *len);

// Takes a packet from the backend, and decrypts it in place. What it has for the application goes to
// `vw_config.received`.
//
// Hostile input is no error: it is counted (`vw_discards`) and changes nothing else. `now` is monotonic time since boot
// in milliseconds, here and everywhere.
vw_status vw_handle_packet(struct vw_device *device,
                           uint64_t now,
                           uint8_t *packet,
                           size_t len);

// Writes the next packet to send into `out`, and its length into `len`: 0 if there is nothing to send now. Call it until
// then. Random bytes are drawn here, and the handshake's heap is used here and in `vw_handle_packet`.
//
// With `VW_ERROR_BUFFER_TOO_SMALL`, `len` says how much is needed. 512 bytes always do for a handshake, and the link's
// `max_packet` for data.
vw_status vw_poll_transmit(struct vw_device *device,
                           uint64_t now,
                           uint8_t *out,
                           size_t out_len,
                           size_t *len);

// Does what time requires. Early, late and repeated calls are harmless.
vw_status vw_handle_timeout(struct vw_device *device, uint64_t now);

// Tells until when the device may sleep if nothing else happens; it may have passed already. `VW_NEVER`: only a
// record, a packet or the link gives it anything to do.
vw_status vw_poll_timeout(struct vw_device *device,
                          uint64_t *when);

// Tells until when the radio has to listen: 0 if it may be off, `VW_NEVER` as long as nothing else is said. Ask
// when `vw_poll_transmit` has nothing more.
vw_status vw_poll_radio(struct vw_device *device,
                        uint64_t now,
                        uint64_t *until);

// Writes the next event; of kind `VW_EVENT_NONE` if there is none.
vw_status vw_poll_event(struct vw_device *device, struct vw_event *event);

// Says that the link is up and how large packets it carries, 64 bytes or more; or, with 0, that it is down.
vw_status vw_handle_link(struct vw_device *device, uint64_t now, uint16_t max_packet);

// Asks for a session, and for a new one whenever it ends, until `vw_disconnect`.
vw_status vw_connect(struct vw_device *device, uint64_t now);

// Ends the session with a packet that says so, and asks for no other.
vw_status vw_disconnect(struct vw_device *device);

// Asks for new keys from a fresh Diffie-Hellman exchange. Does nothing without a session.
vw_status vw_rekey(struct vw_device *device);

// Tells how often the present session has rekeyed: by hashing, and by Diffie-Hellman. Each may be NULL.
vw_status vw_ratchets(struct vw_device *device, uint32_t *hash, uint32_t *dh);

// Writes the device's own credential, of at most `VW_CREDENTIAL_MAX` bytes; `credential_len` tells how many.
//
// `VW_ERROR_BUFFER_TOO_SMALL`: nothing was written but how many they are. `VW_ERROR_NOT_KNOWN` from a library without the
// feature `authorities`: its devices take no other credential than that of their configuration.
vw_status vw_credential(struct vw_device *device,
                        uint8_t *out,
                        size_t out_len,
                        size_t *credential_len);

// Forgets the backend that the device is pinned to, and its ticket. Only where somebody has physical access, or by an
// authorised command.
vw_status vw_forget_backend(struct vw_device *device);

// Takes a larger descriptor set: every channel of the present one unchanged, and more. It stays in use until
// `vw_device_destroy`; the old one's memory is free.
vw_status vw_extend_descriptors(struct vw_device *device,
                                uint64_t now,
                                const uint8_t *descriptors,
                                size_t len);

// Answers a command: it was done, and `body`, at most 64 bytes, says more.
vw_status vw_command_done(struct vw_device *device, uint32_t id, const uint8_t *body, size_t len);

// Answers a command: it was not done; `code` is the application's own.
vw_status vw_command_failed(struct vw_device *device, uint32_t id, uint16_t code);

// Asks: is there a confirmed session?
vw_status vw_is_connected(struct vw_device *device);

// Asks: has the backend committed every record, those in storage included?
vw_status vw_is_drained(struct vw_device *device);

// Tells how full a lane is.
vw_status vw_fill(struct vw_device *device, uint8_t code, struct vw_lane_fill *fill);

// Tells for how long a lane's oldest record has waited, in milliseconds; `VW_NEVER` if there is none.
vw_status vw_longest_wait(struct vw_device *device, uint64_t now, uint8_t code, uint64_t *wait);

// Tells this boot's number; `VW_ERROR_NOT_KNOWN` before storage has answered.
vw_status vw_boot(struct vw_device *device, uint32_t *boot);

// Tells how often packets, or parts of them, were discarded for this reason (`vw_discard_name`).
vw_status vw_discards(struct vw_device *device, uint16_t discard, uint32_t *count);

// Tells the device the wall clock, in seconds since 1970, from a source that it trusts; 0: it has none. Credentials are
// judged by it.
vw_status vw_set_wall_clock(struct vw_device *device,
                            uint64_t unix_seconds);

// Tells the time floor, in seconds since 1970: store it, and never go below it.
vw_status vw_time_floor(struct vw_device *device, uint64_t *unix_seconds);

// Asks the backend for the wall-clock time; `vw_wall_time` has it when the answer came.
vw_status vw_sync_time(struct vw_device *device, uint64_t now);

// Tells the wall-clock time as the backend told it: for displays, never for credentials. `VW_ERROR_NOT_KNOWN` before.
vw_status vw_wall_time(struct vw_device *device,
                       uint64_t now,
                       struct vw_wall_reading *reading);

// Makes the pin of a backend for `vw_config.pin`, from its static key (32 bytes) and its credential, as whoever provisions
// the device has verified them: neither is verified here.
vw_status vw_pin_init(struct vw_pin *pin,
                      const uint8_t *key,
                      const uint8_t *credential,
                      size_t credential_len);

// Returns the `VW_API_VERSION` that the library was built with.
uint32_t vw_api_version(void);

// Returns the library's version, such as `"0.1.0"`. Static.
const char *vw_version(void);

// Makes a tested random source in `health`, of `size` bytes: `sizeof (vw_health)`. Its samples have `sample_bits` bits, 1 to
// 32, of which an assessment of the hardware (NIST SP 800-90B) has found `entropy_millibits` thousandths of a bit of
// min-entropy, 100 or more.
//
// The health tests of SP 800-90B, section 4.4, look at each sample, and 1024 of them must pass before the first byte. Where
// a test fails, the source is not used again. What passes is hashed. It finds a generator that breaks, not one that was
// never good: take raw samples, from before any conditioning in hardware.
vw_status vw_health_init(struct vw_health *health,
                         size_t size,
                         vw_sample_fn sample,
                         void *context,
                         uint8_t sample_bits,
                         uint16_t entropy_millibits);

// Runs the start-up test, or what is left of it; `vw_health_fill` does it otherwise. `VW_ERROR_ENTROPY` if a test fails, or
// the generator has no sample.
vw_status vw_health_start_up(struct vw_health *health);

// Fills `out` with random bytes: give it as `vw_config.entropy`, with the `vw_health` as `vw_config.entropy_context`. Returns
// `VW_OK`, which is 0, or an error: then `out` has zeros, or is as it was.
int32_t vw_health_fill(void *health,
                       uint8_t *out,
                       size_t len);

// Tells what a test has found: a `VW_HEALTH_…`.
vw_status vw_health_failure(struct vw_health *health, uint8_t *failure);

// Ends the source, and wipes its state. A device that it feeds ends first.
vw_status vw_health_destroy(struct vw_health *health);

#if (defined(VW_HEAP) && !defined(VW_STD))
// Gives the library its heap, once, before the first device: `VW_HEAP_PER_DEVICE` bytes for each device that lives at
// the same time. The memory is the library's for good. A second call returns `VW_ERROR_BUSY`.
vw_status vw_heap_init(uint8_t *memory,
                       size_t len);
#endif

#if (defined(VW_HEAP) && !defined(VW_STD))
// Returns how many bytes of the heap are in use.
size_t vw_heap_used(void);
#endif

#if (defined(VW_HEAP) && !defined(VW_STD))
// Returns how many bytes of the heap were in use at the most.
size_t vw_heap_peak(void);
#endif

#if (defined(VW_HEAP_HOOKS) && !defined(VW_HEAP) && !defined(VW_STD))
// The firmware defines this: hands out `size` bytes at a multiple of `align` (a power of two, at most 16), or NULL.
extern void *vw_malloc(size_t size,
                       size_t align);
#endif

#if (defined(VW_HEAP_HOOKS) && !defined(VW_HEAP) && !defined(VW_STD))
// The firmware defines this: takes back what `vw_malloc` has handed out, with the same size and alignment.
extern void vw_free(void *block, size_t size, size_t align);
#endif

// Returns the most bytes that `vw_cobs_write` makes of a packet of `len` bytes.
size_t vw_cobs_len(size_t len);

// Writes a packet as a serial line carries it, with a zero before and after it, and its length.
// `VW_ERROR_BUFFER_TOO_SMALL` below `vw_cobs_len` bytes at the latest.
vw_status vw_cobs_write(const uint8_t *packet, size_t packet_len, uint8_t *out, size_t out_len, size_t *len);

// Makes a decoder in `decoder`, of `size` bytes: `sizeof (vw_cobs)`.
vw_status vw_cobs_init(struct vw_cobs *decoder, size_t size);

// Takes bytes of the line until a packet is whole: `taken` says how many it took, `packet` and `packet_len` where the
// packet is, until the next call; of length 0 if there is none. Call it again with the rest.
//
// Garbage is no error. The packet is the decoder's memory, to be given to `vw_handle_packet` as it is.
vw_status vw_cobs_next(struct vw_cobs *decoder,
                       const uint8_t *bytes,
                       size_t len,
                       size_t *taken,
                       uint8_t **packet,
                       size_t *packet_len);

// Makes a fragmenter for a link that carries `max_packet` bytes in a piece, 20 or more: on BLE the ATT MTU less 3.
// `size` is `sizeof (vw_fragmenter)`.
vw_status vw_fragmenter_init(struct vw_fragmenter *fragmenter,
                             size_t size,
                             uint16_t max_packet);

// Says that the link carries pieces of another size now.
vw_status vw_fragmenter_resize(struct vw_fragmenter *fragmenter, uint16_t max_packet);

// Begins with a packet, in the place of one that was on its way. It stays in use until `vw_fragmenter_next` has
// nothing more of it; NULL with length 0 gives up the one that is on its way.
vw_status vw_fragmenter_split(struct vw_fragmenter *fragmenter,
                              const uint8_t *packet,
                              size_t len);

// Writes the next piece for the link, and its length: 0 if all were handed out.
vw_status vw_fragmenter_next(struct vw_fragmenter *fragmenter, uint8_t *out, size_t out_len, size_t *len);

// Makes a reassembler in `reassembler`, of `size` bytes: `sizeof (vw_reassembler)`.
vw_status vw_reassembler_init(struct vw_reassembler *reassembler, size_t size);

// Takes what came over the link in one piece: `packet` and `packet_len` say where a packet is that is whole now, in
// `bytes` or in the reassembler, until the next call; of length 0 if there is none.
vw_status vw_reassembler_handle(struct vw_reassembler *reassembler,
                                uint64_t now,
                                uint8_t *bytes,
                                size_t len,
                                uint8_t **packet,
                                size_t *packet_len);

// Forgets half a packet: for a link that was made anew.
vw_status vw_reassembler_reset(struct vw_reassembler *reassembler);

// Returns the name of a status, such as `"VW_ERROR_LANE_FULL"`; for a number that is none, `"?"`. Static.
const char *vw_error_name(int32_t status);

// Writes what a reason for a discard is in words, with a zero behind it; cut off if `out` is too short.
// `VW_ERROR_BAD_VALUE` for a number that is none: they go from 0 up, without a gap.
vw_status vw_discard_name(uint16_t discard, char *out, size_t len);

#if (defined(VW_PANIC_HANDLER) && !defined(VW_STD))
// The firmware defines this: it is called when the library has a fault, or its heap runs out, and it does not return:
// it resets the device. If it does return, the library spins for the watchdog.
extern void vw_panic(void);
#endif

// Accepts valid values of a numeric channel, 1 to 8 of them, measured at `time`. `accepted` may be NULL, as in
// all calls that accept a record.
vw_status vw_record_values(struct vw_device *device,
                           uint64_t now,
                           uint8_t lane,
                           uint64_t time,
                           uint8_t channel,
                           const int32_t *values,
                           size_t count,
                           struct vw_accepted *accepted);

// Accepts a measurement, of which each value may have a quality, or be absent.
vw_status vw_record_measurement(struct vw_device *device,
                                uint64_t now,
                                uint8_t lane,
                                uint64_t time,
                                const struct vw_measurement *measurement,
                                struct vw_accepted *accepted);

// Accepts a trend; `time` is that of offset 0.
vw_status vw_record_trend(struct vw_device *device,
                          uint64_t now,
                          uint8_t lane,
                          uint64_t time,
                          const struct vw_trend *trend,
                          struct vw_accepted *accepted);

// Accepts a run of samples; `time` is the first one's. What is too long for a packet becomes several records.
vw_status vw_record_waveform(struct vw_device *device,
                             uint64_t now,
                             uint8_t lane,
                             uint64_t time,
                             const struct vw_waveform *waveform,
                             struct vw_accepted *accepted);

// Accepts an event.
vw_status vw_record_event(struct vw_device *device,
                          uint64_t now,
                          uint8_t lane,
                          uint64_t time,
                          const struct vw_event_record *event,
                          struct vw_accepted *accepted);

// Accepts an alarm.
vw_status vw_record_alarm(struct vw_device *device,
                          uint64_t now,
                          uint8_t lane,
                          uint64_t time,
                          const struct vw_alarm *alarm,
                          struct vw_accepted *accepted);

// Accepts an annotation.
vw_status vw_record_annotation(struct vw_device *device,
                               uint64_t now,
                               uint8_t lane,
                               uint64_t time,
                               const struct vw_annotation *annotation,
                               struct vw_accepted *accepted);

// Accepts alarm limits.
vw_status vw_record_alarm_limits(struct vw_device *device,
                                 uint64_t now,
                                 uint8_t lane,
                                 uint64_t time,
                                 const struct vw_alarm_limits *limits,
                                 struct vw_accepted *accepted);

// Accepts a record of which only the application and its backend know what the content means. `VW_ERROR_BAD_RECORD` for a
// kind that has a call of its own: 1 and 2, `vw_record_annotation` and `vw_record_alarm_limits`; later versions go on from
// 3. `VW_ERROR_OUT_OF_SCOPE` unless the credential permits records of every kind.
vw_status vw_record_extension(struct vw_device *device,
                              uint64_t now,
                              uint8_t lane,
                              uint64_t time,
                              uint8_t kind,
                              const uint8_t *bytes,
                              size_t len,
                              struct vw_accepted *accepted);

// Writes what is to be asked of the storage now, the same again until `vw_handle_storage` has the answer; of kind
// `VW_STORAGE_NONE` if there is nothing to ask. Serve it until then: after a start, nothing is sent before.
vw_status vw_poll_storage(struct vw_device *device,
                          uint64_t now,
                          struct vw_storage_request *request);

// Takes the storage's answer to the last request. One that nobody asked for is counted, and changes nothing else; one of
// the wrong kind counts as `VW_REPLY_FAILED`.
vw_status vw_handle_storage(struct vw_device *device,
                            uint64_t now,
                            const struct vw_storage_reply *reply);

// Stores every record at once from now on: before a reboot or a power-off. Serve `vw_poll_storage` until
// `vw_is_all_stored`. Does nothing without storage.
vw_status vw_store_all(struct vw_device *device);

// Asks: does every record that is not committed survive a power cut?
vw_status vw_is_all_stored(struct vw_device *device);

// Tells the highest sequence of this boot such that this record of the lane and all before it survive a power cut, or are
// committed; `VW_NEVER` if there is none.
vw_status vw_stored_through(struct vw_device *device,
                            uint8_t code,
                            uint64_t *sequence);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* VITALWIRE_H */

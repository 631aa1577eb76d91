// What the example devices measure, and some of it.
#ifndef EXAMPLE_CHANNELS_H
#define EXAMPLE_CHANNELS_H

#include "vitalwire.h"

enum { HEART_RATE = 1, ECG = 2, KEYS = 3 };

// Writes the descriptor set of three channels.
vw_status channels_encode(uint8_t *out, size_t out_len, size_t *len);

// Gives the device at least one record of each lane: four of heart rate, half a second of ECG, and so on.
vw_status channels_record_all(vw_device *device, uint64_t now);

#endif
